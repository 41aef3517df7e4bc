"""What all processes of one simulation share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from falcon_mnist.storage.store import Store

from . import training
from .bucket import SharedBucket
from .database import SimulatedDatabase
from .disk import SharedDisk
from .world import Machine, Process, World

if TYPE_CHECKING:
    from .ray_cluster import RayCluster
    from .workers import Worker


@dataclass
class Shared:
    """What all processes of one simulation share."""

    world: World
    database: SimulatedDatabase
    disk: SharedDisk
    bucket: SharedBucket

    def __post_init__(self) -> None:
        self.workers: list[Worker] = []  # living or not
        self.ray: RayCluster | None = None  # without one, servers have workers of their own
        self.quiet = False  # no faults any more
        # What servers may have: an attempt on another data set or instruction set than the one before starts anew.
        random = self.world.random
        self.in_bucket = random.random() < 0.3  # whether files are there, or on the disk
        self.datasets = training.DATASETS if random.random() < 0.3 else training.DATASETS[:1]
        self.isas = list(training.FACTORS) if random.random() < 0.3 else list(training.FACTORS)[:1]

    @property
    def actor(self) -> Process | None:
        """Who acts in this event."""
        return self.database.acting

    def file(self, path: Path, *, lasting: bool) -> bytes | None:
        """What is read there, or with `lasting` what a power failure leaves at the least; None for no file."""
        if self.in_bucket:
            return self.bucket.files.get(path, (None, 0.0))[0]
        return self.disk.file(path, lasting=lasting)

    def living(self) -> list[Worker]:
        """The workers that have not ended."""
        return [worker for worker in self.workers if worker.alive]

    def act_as(self, process: Process) -> None:
        """What happens in this event is this process's doing."""
        self.database.acting = process

    def store(self, machine: Machine) -> Store:
        """A process's store."""
        return Store(self.database, clock=machine.clock, new_id=self.world.new_id)
