"""Workers, as the worker process drives the real attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from falcon_mnist.runs.attempt import Attempt, Parts
from falcon_mnist.runs.backend import Outcome
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.runs.pulse import BEAT_SECONDS
from falcon_mnist.storage.database import DatabaseBusyError, DatabaseFullError
from falcon_mnist.storage.parameter_files import ParameterFiles

from . import training
from .files import Files
from .shared import Shared
from .world import Crashed, Machine, Process

WATCH_SECONDS = 2.0  # coarser than the real 0.5 s, for fewer events

Result = TypeVar("Result")

TROUBLE = (DatabaseBusyError, DatabaseFullError)


class Basis(NamedTuple):
    """What the workers of a server train on and with."""

    dataset: str
    isa: str


class Worker(Process):
    """A worker process: its main thread takes the steps of an attempt, another one keeps the lease."""

    def __init__(self, shared: Shared, machine: Machine, basis: Basis, run_id: str, owner: str) -> None:
        super().__init__(shared.world, owner)
        self.hit = shared.database.in_trouble
        self.run_id = run_id
        self.started_at = shared.world.now
        self.outcome: Outcome | None = None
        self.renewals: int | None = None  # as `Store.claim`
        self.requeues = False  # whether it requeues what an earlier try of it has claimed
        self._shared = shared
        self.files = Files(shared, self, machine)
        self._parts = Parts(
            store=shared.store(machine),
            checkpoints=Checkpoints(self.files.checkpoints, new_id=shared.world.new_id),
            parameters=ParameterFiles(self.files.parameters),
            open_data=lambda: training.dataset(basis.dataset),
            train=self._train,
            evaluate=training.evaluate,
            isa=basis.isa,
            clock=machine.clock,
            new_id=shared.world.new_id,
            sleep=lambda seconds: None,  # a step takes as long
            progress_write_seconds=1.5,  # of some epochs, one and of others several are recorded at a time
        )
        self.slow_seconds = 0.0  # how long the next step takes besides
        self.fails_with: Exception | None = None  # what its next training step raises

        self._isa = basis.isa

    def _train(self, *args: Any, **options: Any) -> Iterator[Any]:
        for metrics in training.train(self._isa, *args, **options):
            if self.fails_with is not None:
                raise self.fails_with
            yield metrics

    @property
    def beats(self) -> int:
        """As `Pulse.beats`: one that is stopped shows the same at each look."""
        return 1 + int(self.world.now / BEAT_SECONDS) if self.awake else 1

    def claim(self) -> None:
        """Claim the run, and start both threads."""
        with_run = self._do(lambda: self._parts.store.claim(self.run_id, self.name, self.renewals))
        if not self.alive:
            return
        if with_run is None:
            self._claimed_by_another()
            return
        self._attempt = Attempt(self._parts, with_run, self.name)
        self._steps = self._attempt.run_to_completion()
        self.after(self.world.random.uniform(0.1, 1), self._step)
        self.after(WATCH_SECONDS, self._beat)

    def _claimed_by_another(self) -> None:
        self.end(Outcome.FINISHED)

    def _step(self) -> None:
        if self._do(self._next) is self:
            self.end(Outcome.FINISHED)
        seconds, self.slow_seconds = self.slow_seconds, 0.0
        self.after(seconds + self.world.random.uniform(0.1, 1), self._step)

    def _next(self) -> Any:
        return next(self._steps, self)

    def _beat(self) -> None:
        if self._do(lambda: self._attempt.lease.beat(WATCH_SECONDS)):
            self.after(WATCH_SECONDS, self._beat)

    def _do(self, act: Callable[[], Result]) -> Result | None:
        self._shared.act_as(self)
        try:
            return act()
        except Crashed:
            self.end(Outcome.LOST)
        except TROUBLE:
            self.end(Outcome.FAILED)
        return None

    def crash(self) -> None:
        """Its backend finds it gone."""
        super().crash()
        self.end(Outcome.LOST)

    def end(self, outcome: Outcome) -> None:
        """It is over."""
        self.alive = False
        self.outcome = self.outcome or outcome
        self.world.note(f"{self.name} {self.outcome.name}")
