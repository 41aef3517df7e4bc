"""Two servers on one home, and workers that were taken for dead and are not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from asking import until
from checking_client import Client
from faulty_servers import HOLD, RUN, Faulty, check_whole, expire
from on_disk import OnDisk

Start = Callable[..., Faulty]


def kept_of(on_disk: OnDisk, run_id: str) -> tuple[object, ...]:
    """All that there is of a run."""
    rows = [
        on_disk.query(f"SELECT * FROM {table} WHERE {column} = ?", run_id)
        for table, column in (("runs", "id"), ("epochs", "run_id"), ("parameter_sets", "run_id"))
    ]
    return *rows, sorted(path.name for path in (on_disk.storage / "parameters").iterdir())


def test_each_run_is_executed_once_and_a_stopped_worker_writes_nothing_when_it_wakes(
    start: Start, undisturbed: str
) -> None:
    first = start()
    first.switch(HOLD)
    with ExitStack() as stack:
        client = stack.enter_context(Client(first.url()))
        run_id = first.held(client)
        (worker,) = first.workers()
        first.pause(worker)
        first.switch(HOLD, on=False)
        second = start()
        expire(first.on_disk)
        other = stack.enter_context(Client(second.url()))
        run = other.wait(run_id)
        check_whole(run)
        assert other.digest_of_parameters(run) == undisturbed
        before = kept_of(first.on_disk, run_id)
        os.kill(worker, signal.SIGCONT)
        until(lambda: first.logged("run stopped: it is no longer this worker's", run_id), "the worker gives up")
        assert kept_of(first.on_disk, run_id) == before
        assert len(first.on_disk.query("SELECT id FROM parameter_sets")) == 1
        assert first.logged("run claimed", run_id) == 2
        until(lambda: first.logged("run succeeded", run_id), "the end is logged")  # a moment after it is recorded
        assert first.logged("run succeeded", run_id) == 1
        # Both servers are idle now, and both look at the same queue.
        model_id = client.model(epochs=1)
        runs = [(client, other)[i % 2].train(model_id) for i in range(8)]
        for run_id in runs:
            check_whole(client.wait(run_id), epochs=1)
        assert [first.logged("run claimed", run_id) for run_id in runs] == [1] * 8
        assert client.run(runs[0]) == other.run(runs[0])
        assert len(first.on_disk.query("SELECT id FROM parameter_sets")) == 9
        assert len(list((first.on_disk.storage / "parameters").iterdir())) == 9


@pytest.mark.parametrize(("switch", "kind"), [("hold-saved", "checkpoints"), ("hold-written", "parameters")])
def test_a_worker_that_wakes_between_a_file_and_its_row_takes_the_file_back(
    start: Start, undisturbed: str, switch: str, kind: str
) -> None:
    """It was stopped there, with its server, until its lease had really run out."""
    first = start(switch, "brief-leases")
    with Client(first.url()) as client:
        run_id = client.train(client.model(RUN))
        folder = first.on_disk.storage / kind
        (file,) = until(lambda: list(folder.glob("*.safetensors")), "the file is written")
        (worker,) = first.workers()
        for pid in (first.process.pid, worker):
            first.pause(pid)
        first.switch(switch, on=False)
        second = start("brief-leases")
        with Client(second.url()) as other:
            run = other.wait(run_id)
            check_whole(run)
            assert other.digest_of_parameters(run) == undisturbed
        assert file.exists()
        before = kept_of(first.on_disk, run_id)
        os.kill(worker, signal.SIGCONT)
        until(lambda: first.logged("run stopped: it is no longer this worker's", run_id), "the worker gives up")
        os.kill(first.process.pid, signal.SIGCONT)
        assert not file.exists()
        rows, names = kept_of(first.on_disk, run_id)[:-1], kept_of(first.on_disk, run_id)[-1]
        assert (rows, names) == (before[:-1], [f"{run['param_id']}.safetensors"])
        until(lambda: not list((first.on_disk.storage / "checkpoints").iterdir()), "no checkpoint is left")
