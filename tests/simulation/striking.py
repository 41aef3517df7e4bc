"""How a fault finds whom to strike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from .files import CHECKPOINTS, PARAMETERS
from .promises import Promises
from .servers import Server
from .shared import Shared
from .workers import Worker
from .world import Process

OPERATIONS = 6  # as many as put a file and delete the one before

Struck = TypeVar("Struck", bound=Process)


class Striking:
    """Base of the classes of faults."""

    def __init__(self, shared: Shared, promises: Promises, servers: list[Server]) -> None:
        self._shared = shared
        self._world = shared.world
        self._promises = promises
        self._servers = servers

    def _one(self, of: Sequence[Struck], fault: str, *, hits: bool = True) -> list[Struck]:
        """One of them, or none if there is none."""
        one = [self._world.random.choice(of)] if of else []
        for process in one:
            process.hit |= hits
            self._world.note(f"fault: {fault} {process.name}")
        return one

    def _interrupt(self, worker: Worker, interrupt: Callable[[], None]) -> None:
        """Have it happen in one of the worker's next operations in one of the two folders."""
        random = self._world.random
        worker.files.interrupts.add(interrupt, random.choice([PARAMETERS, CHECKPOINTS]), random.randrange(OPERATIONS))
