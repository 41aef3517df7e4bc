"""The real folders of files, on the simulated disk, or the simulated bucket."""

from __future__ import annotations

from pathlib import Path

from falcon_mnist.storage.files import LocalFolder, Storage, Sweeper
from falcon_mnist.storage.parameter_files import file_name
from falcon_mnist.storage.store import Store

from .bucket import ProcessBucket
from .disk import ProcessDisk
from .shared import Shared
from .world import Interrupts, Machine, Process

PARAMETERS, CHECKPOINTS = Path("/storage/parameters"), Path("/storage/checkpoints")


class Files:
    """The stored files, as one process sees them."""

    def __init__(self, shared: Shared, process: Process, machine: Machine) -> None:
        self.interrupts = Interrupts()
        self._disk = ProcessDisk(shared.disk, process, machine.clock, self.interrupts)
        self.parameters = self._storage(PARAMETERS, shared, process, machine)
        self.checkpoints = self._storage(CHECKPOINTS, shared, process, machine)
        self._sweepers = Sweeper(self.parameters), Sweeper(self.checkpoints)

    def _storage(self, folder: Path, shared: Shared, process: Process, machine: Machine) -> Storage:
        if shared.in_bucket:
            return ProcessBucket(shared, folder, process, machine.clock, self.interrupts)
        return LocalFolder(folder, clock=machine.clock, disk=self._disk)

    def sweep(self, store: Store) -> None:
        """As the executor does."""
        for sweeper, recorded in zip(self._sweepers, recorded_files(store), strict=True):
            sweeper.sweep(recorded)

    def names(self) -> tuple[set[str], set[str]]:
        """The names of all files of parameters, and of checkpoints."""
        return {entry.name for entry in self.parameters.list()}, {entry.name for entry in self.checkpoints.list()}


def recorded_files(store: Store) -> tuple[set[str], set[str]]:
    """The names of all files of parameters, and of checkpoints, that a row names."""
    parameters = {file_name(row.id) for row in store.all_parameters()}
    return parameters, {checkpoint["file"] for checkpoint in store.recorded_checkpoints()}
