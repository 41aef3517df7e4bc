"""The simulated disk: what a power failure leaves of what was synced, and of what was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from falcon_mnist.clock import Clock

from .disk import ProcessDisk, SharedDisk
from .world import Crashed, Interrupts, Process, World

FILE = Path("/file")


def left(seed: int, *, sync: bool, sync_folder: bool) -> bytes | None:
    """What is left of a file that was written under one name and renamed."""
    world, shared = World(seed), SharedDisk()
    disk = ProcessDisk(shared, Process(world, "a process"), Clock(), Interrupts())
    with disk.create(Path("/temporary")) as file:
        file.write(b"whole")
        if sync:
            disk.sync(file)
    disk.rename(Path("/temporary"), FILE)
    if sync_folder:
        disk.sync_folder(Path("/"))
    shared.lose_unsynced(world)
    return shared.file(FILE, lasting=False)


def test_what_was_synced_with_its_name_stays() -> None:
    assert {left(seed, sync=True, sync_folder=True) for seed in range(100)} == {b"whole"}


def test_a_name_that_was_not_synced_may_be_lost() -> None:
    assert {left(seed, sync=True, sync_folder=False) for seed in range(100)} == {b"whole", None}


def test_bytes_that_were_not_synced_may_be_cut_or_zeros_or_lost() -> None:
    found = {left(seed, sync=False, sync_folder=True) for seed in range(100)}
    assert {b"whole", b"", b"who", bytes(5)} <= found
    assert None not in found


def test_a_process_that_has_ended_changes_nothing() -> None:
    shared, process = SharedDisk(), Process(World(0), "a process")
    interrupts = Interrupts()
    disk = ProcessDisk(shared, process, Clock(), interrupts)
    interrupts.add(process.crash, Path("/"), after=1)
    disk.make_folder(Path("/a"))
    for _ in range(2):
        with pytest.raises(Crashed):
            disk.make_folder(Path("/b"))
    assert shared.root.entries.keys() == {"a"}
