"""Bounds on what requests do at the same time: large work by its memory, writes by their number.

A request that has to wait keeps a thread. So few may wait for long, and the others give up soon: some threads
are always free for small requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from falcon_mnist.api.errors import Problem
from falcon_mnist.api.memory import give_back

# One request waits for its turn for up to the first, all others for the second, which is what a burst takes.
PATIENT_SECONDS = 1.0
BRIEF_SECONDS = 0.2


class Turns:
    """A budget that requests share: each takes its cost of it for as long as it works."""

    def __init__(
        self,
        capacity: int,
        *,
        most_waiting: int | None = None,
        patient_seconds: float = PATIENT_SECONDS,
        brief_seconds: float = BRIEF_SECONDS,
        released: Callable[[int], None] | None = None,
    ) -> None:
        """`most_waiting` requests may wait for room at the same time (None: any number); others give up at once.

        `released` is told each cost that was released.
        """
        self.capacity = capacity
        self.free = capacity
        self._most_waiting = most_waiting
        self._patient_seconds = patient_seconds
        self._brief_seconds = brief_seconds
        self._released = released
        self.waiting = 0  # requests
        self._changed = threading.Condition()

    def take(self, cost: int) -> int:
        """Wait for room, and return what is to be released afterwards; a larger cost than the capacity takes it all.

        Raises a 503 `Problem` if there is no room in time.
        """
        cost = min(cost, self.capacity)
        with self._changed:
            if self.free >= cost:
                self.free -= cost
                return cost
            seconds = self._brief_seconds if self.waiting else self._patient_seconds
            if self._most_waiting is not None and self.waiting >= self._most_waiting:
                seconds = 0.0
            self.waiting += 1
            try:
                if not self._changed.wait_for(lambda: self.free >= cost, seconds):
                    detail = "Too much is being done at the same time: try again in a moment."
                    raise Problem("busy", detail, headers={"Retry-After": "1"})
                self.free -= cost
            finally:
                self.waiting -= 1
        return cost

    def release(self, taken: int) -> None:
        """Make room for others."""
        with self._changed:
            self.free += taken
            self._changed.notify_all()
        if self._released is not None:
            self._released(taken)

    @contextmanager
    def held(self, cost: int) -> Iterator[None]:
        """Take a turn for as long as the block runs."""
        taken = self.take(cost)
        try:
            yield
        finally:
            self.release(taken)


class Released:
    """Chunks of an answer that release their turn when the server closes them, to the end or not (PEP 3333)."""

    def __init__(self, chunks: Iterable[bytes], release: Callable[[], None]) -> None:
        self._chunks = iter(chunks)
        self._release = release

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Called by the server, once or more often."""
        release, self._release = self._release, _nothing
        self._chunks = iter(())
        release()


def _nothing() -> None:
    pass


# A body that is not clean takes up to twenty times its bytes while its fault is looked for; a clean one five times.
_BODY_EXPANSION = 20
_CLEAN_SHARE = 4
# Smaller bodies never wait: 512 rows of bytes, or one of JSON.
SMALL_BODY = 2**20
_MEMORY = 320 * 2**20  # bytes, for bodies
_ANSWERS = 160 * 2**20  # bytes, for answers


@dataclass(frozen=True)
class Limits:
    """The budgets of one service: bytes of memory, or numbers of writes (SQLite has one writer) and of long work."""

    bodies: Turns = field(default_factory=lambda: Turns(_MEMORY, released=lambda cost: give_back(cost // _CLEAN_SHARE)))
    answers: Turns = field(default_factory=lambda: Turns(_ANSWERS, most_waiting=2, released=give_back))
    writes: Turns = field(default_factory=lambda: Turns(1))
    removals: Turns = field(default_factory=lambda: Turns(3))  # that of a large model takes a thread for seconds
    # While a parameter set is read it takes several times its bytes; from a slow storage it takes long.
    loads: Turns = field(default_factory=lambda: Turns(1, brief_seconds=0.5))
    evaluations: Turns = field(default_factory=lambda: Turns(1, most_waiting=2))

    def take_body(self, length: int) -> int:
        """A turn to read a body of so many bytes, to be released when it is answered."""
        return self.bodies.take(length * _BODY_EXPANSION)

    def load(self) -> AbstractContextManager[None]:
        """A turn to read a parameter set into memory."""
        return self.loads.held(1)

    def write(self) -> AbstractContextManager[None]:
        """A turn to write to the database, so that a lock on it holds one thread, and others briefly."""
        return self.writes.held(1)
