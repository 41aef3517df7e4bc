"""The real folders of files, on the simulated disk."""

from __future__ import annotations

from pathlib import Path

from falcon_mnist.storage.files import LocalFolder, Sweeper
from falcon_mnist.storage.parameter_files import file_name
from falcon_mnist.storage.store import Store

from .disk import ProcessDisk
from .shared import Shared
from .world import Machine, Process

PARAMETERS, CHECKPOINTS = Path("/storage/parameters"), Path("/storage/checkpoints")


class Files:
    """The stored files, as one process sees them."""

    def __init__(self, shared: Shared, process: Process, machine: Machine) -> None:
        self.disk = ProcessDisk(shared.disk, process, machine.clock)
        self.parameters = LocalFolder(PARAMETERS, clock=machine.clock, disk=self.disk)
        self.checkpoints = LocalFolder(CHECKPOINTS, clock=machine.clock, disk=self.disk)
        self._sweepers = Sweeper(self.parameters), Sweeper(self.checkpoints)

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
