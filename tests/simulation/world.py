"""Simulated time: events in order, clocks that differ, processes that stop or end, and a trace of all that happens."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable
from pathlib import Path

from falcon_mnist.clock import Clock

Act = Callable[[], object]


class Crashed(BaseException):
    """The process that was acting has ended in the middle of it: nothing may catch this."""


START = 1.7e9  # the time of a right clock when a simulation begins


class World:
    """All that happens under one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0  # seconds
        self.trace: list[str] = []
        self.after_each: Callable[[], None] = lambda: None
        self.waiting = 0  # how many processes wait in the middle of an event
        self._failure: Exception | None = None  # raised within an event
        self._events: list[tuple[float, int, Act]] = []
        self._order = itertools.count()
        self._ids = itertools.count(1)

    def after(self, seconds: float, act: Act) -> None:
        """Have `act` called `seconds` from now."""
        heapq.heappush(self._events, (self.now + seconds, next(self._order), act))

    def run(self, over: Callable[[], bool], *, until: float) -> bool:
        """Let events happen until it is `over`; False if it is not by the time `until`."""
        while not over():
            if self._events[0][0] > until:
                self.now = max(self.now, until)
                return False
            self.now, _, act = heapq.heappop(self._events)
            act()
            if self._failure is not None:
                raise self._failure
            self.after_each()
        return True

    def run_within(self, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """In the middle of an event, let others happen for so long or until it is `over`, while this one waits."""
        self.waiting += 1
        try:
            self.after_each()
            self.run(over, until=self.now + seconds)
        except Exception as error:  # not that process's to handle
            self._failure = error
            raise Crashed from error
        finally:
            self.waiting -= 1

    def wait(self, process: Process, seconds: float) -> None:
        """As `run_within`, for one thread of the process alone; if that is stopped then, for longer."""
        self.run_within(seconds)
        while process.alive and not process.awake:
            self.run_within(1.0)

    def note(self, line: str) -> None:
        """Add to the trace."""
        self.trace.append(f"{self.now:8.3f} {line}")

    def digest(self) -> str:
        """Equal for equal traces."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()

    def new_id(self, prefix: str) -> str:
        """As `clock.new_id`, in order."""
        return f"{prefix}_{next(self._ids)}"

    def chance(self, probability: float) -> bool:
        """True so often."""
        return self.random.random() < probability


class Machine:
    """What the processes of one machine share: its clocks."""

    def __init__(self, world: World) -> None:
        self.wall_offset = world.random.uniform(-300, 300)
        started = world.random.uniform(0, 1e6)
        self.clock = Clock(wall=lambda: START + world.now + self.wall_offset, monotonic=lambda: started + world.now)


class Interrupts:
    """What is to happen in the middle of what a process does in a folder."""

    def __init__(self) -> None:
        self._due: dict[Path, tuple[Act, int]] = {}  # and after how many operations

    def add(self, interrupt: Act, folder: Path, after: int) -> None:
        """Have `interrupt` called before an operation that changes something there, after so many others."""
        self._due[folder] = interrupt, after

    def strike(self, folder: Path) -> None:
        """An operation is about to begin."""
        interrupt, before = self._due.pop(folder, (None, 0))
        if interrupt and before:
            self._due[folder] = interrupt, before - 1
        elif interrupt:
            interrupt()


class Process:
    """What a fault can stop for a while, or end. Its threads are the chains of events that it starts."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.hit = False  # whether a fault has hit it
        self._stop: object = None  # the last one, unless it is over
        self._waiting: list[Act] = []  # for this process to wake

    def stop(self, seconds: float) -> None:
        """Let it do nothing for so long, or until it is woken."""
        self.hit = True
        self._stop = stop = object()
        self.world.after(seconds, lambda: self.wake() if self._stop is stop else None)

    @property
    def awake(self) -> bool:
        """Whether it acts now if it is asked to."""
        return self.alive and self._stop is None

    def wake(self) -> None:
        """Which of its threads continues first is drawn."""
        self._stop = None
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            self.after(self.world.random.random(), act)

    def crash(self) -> None:
        """End it, wherever it is."""
        self.hit = True
        self.alive = False

    def after(self, seconds: float, act: Act) -> None:
        """Have this process do something later, if it lives then; when it wakes, if it is stopped then."""
        self.world.after(seconds, lambda: self._continue(act))

    def _continue(self, act: Act) -> None:
        if self._stop is not None:
            self._waiting.append(act)
        elif self.alive:
            act()
