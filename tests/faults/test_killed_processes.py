"""Workers and servers that are killed, at once or after each other: every run ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from asking import WRITE, until
from checking_client import Client
from faulty_servers import HOLD, RUN, Faulty, check_whole, expire, followed, kill
from server_process import alive, children
from small_networks import SMALL

from falcon_mnist.client import ClientError

Start = Callable[..., Faulty]

# What is promised to take a second or so; a machine that is busy may need more.
SOON = 10.0


def gone_soon(pid: int) -> None:
    end = time.monotonic() + SOON
    while alive(pid):
        assert time.monotonic() < end, "a worker has outlived its server"
        time.sleep(0.02)


def ends_undisturbed(client: Client, run_id: str, undisturbed: str) -> None:
    """The run ends whole, and with the bits of one that nothing happened to."""
    run = followed(client, run_id, least=2)
    check_whole(run)
    assert client.digest_of_parameters(run) == undisturbed


def test_runs_whose_workers_are_killed_go_on_from_their_checkpoints(start: Start, undisturbed: str) -> None:
    """First one of two workers, then both at once, after which Pebble's pool is of no use any more."""
    server = start(workers=2)
    server.switch(HOLD)
    with Client(server.url()) as client:
        first, second = (client.train(client.model(RUN)) for _ in range(2))
        for run_id in (first, second):
            server.wait_held(run_id)
        workers = until(lambda: len(found := server.workers()) == 2 and found, "there are two workers")
        kill(workers[0])
        until(lambda: sum(server.logged("resuming run at epoch 3", run) for run in (first, second)) == 1, "one goes on")
        workers = until(lambda: len(found := server.workers()) == 2 and found, "there are two workers")
        kill(*workers)
        until(lambda: sum(server.logged("resuming run at epoch 3", run) for run in (first, second)) == 3, "both go on")
        server.switch(HOLD, on=False)
        for run_id in (first, second):
            ends_undisturbed(client, run_id, undisturbed)
        folder = server.on_disk.storage / "checkpoints"
        until(lambda: not list(folder.iterdir()), "the last checkpoints are removed")


@pytest.mark.parametrize("workers_too", [False, True])
def test_runs_whose_server_is_killed_go_on_with_the_next(start: Start, undisturbed: str, workers_too: bool) -> None:
    server = start()
    server.switch(HOLD)
    with Client(server.url()) as client:
        run_id = server.held(client)
    workers = server.workers()
    kill(server.process.pid, *(workers if workers_too else ()))
    assert server.stop(None) == -signal.SIGKILL
    for worker in workers:
        gone_soon(worker)
    assert server.on_disk.query("SELECT state, epoch FROM runs") == [("running", 2)]
    server.switch(HOLD, on=False)
    expire(server.on_disk)
    server = start()
    with Client(server.url()) as client:
        ends_undisturbed(client, run_id, undisturbed)
    assert server.logged("resuming run at epoch 3", run_id) == 1


def test_a_run_that_takes_its_server_down_three_times_has_failed(start: Start) -> None:
    server = start("deadly", "brief-leases")
    with Client(server.url()) as client, suppress(ClientError):  # it may be gone before it answers
        client.train(client.model(RUN))
    for losses in range(3):
        assert server.stop(None) == -signal.SIGKILL
        assert server.on_disk.query("SELECT state, worker_losses FROM runs") == [("running", losses)]
        if losses < 2:
            expire(server.on_disk)  # the last lease runs out by itself
        server = start("deadly", "brief-leases")
    ((run_id,),) = server.on_disk.query("SELECT id FROM runs")
    with Client(server.url()) as client:
        run = client.wait(run_id)
        assert run["error"]["code"] == "worker_lost"
        until(lambda: server.logged("run failed: worker_lost", run_id), "it is logged")  # a moment after it is recorded
        assert server.logged("run failed: worker_lost", run_id) == 1
        server.switch("deadly", on=False)
        check_whole(client.trained(RUN))


def test_a_run_that_gets_further_is_not_blamed_for_servers_that_are_killed(start: Start, undisturbed: str) -> None:
    """As often as a run may lose its worker."""
    places = [(1, 0), (1, 200), (2, 200)]
    server = start("hold-1-0", "hold-1-200", "hold-2-200")
    with Client(server.url()) as client:
        run_id = client.train(client.model(RUN))
    for epoch, done in places:
        server.wait_held(run_id, at=(epoch, done))
        kill(server.process.pid, *server.workers())
        server.stop(None)
        server.switch(f"hold-{epoch}-{done}", on=False)
        expire(server.on_disk)
        server = start()
    with Client(server.url()) as client:
        ends_undisturbed(client, run_id, undisturbed)
    assert server.logged("run claimed", run_id) == 4


def test_workers_that_are_slow_to_start_are_given_more_time(start: Start, undisturbed: str) -> None:
    server = start("slow-start")
    with Client(server.url()) as client:
        run = client.trained(RUN)
        check_whole(run)
        assert client.digest_of_parameters(run) == undisturbed
    assert "worker replaced: it did not claim its run" in server.log()
    assert server.on_disk.query("SELECT worker_losses FROM runs") == [(0,)]


def test_sigterm_answers_what_is_in_flight_and_saves_what_is_running(start: Start, undisturbed: str) -> None:
    server = start()
    server.switch(HOLD)
    with Client(server.url()) as client:
        run_id = server.held(client)
        workers = server.workers()
        body = json.dumps({"architecture": SMALL}).encode()
        head = (
            f"POST /api/models HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {WRITE}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        with client.connect() as connection:
            connection.sendall(head + body[:10])
            client.get("/healthz", token=None)  # so the server has read the half of the one before
            os.kill(server.process.pid, signal.SIGTERM)
            until(lambda: client.get("/readyz", token=None).status_code == 503, "the server says that it is to end")
            until(lambda: server.on_disk.query("SELECT state FROM runs") == [("queued",)], "the run is given back")
            until(lambda: not any(alive(worker) for worker in workers), "the workers are gone")
            time.sleep(1)  # in which a server that did not wait for the other half would end
            connection.sendall(body[10:])
            assert client.received(connection, head).status_code == 200
        # An idle connection, as this client's, is not waited for.
        assert server.stop(None) == 0
    assert not any(alive(worker) for worker in workers)
    ((state, owner, losses, epoch, checkpoint),) = server.on_disk.query(
        "SELECT state, owner, worker_losses, epoch, checkpoint FROM runs"
    )
    assert (state, owner, losses, epoch) == ("queued", None, 0, 2)
    assert (server.on_disk.storage / "checkpoints" / json.loads(checkpoint)["file"]).is_file()
    assert len(server.on_disk.query("SELECT id FROM models")) == 2
    server.switch(HOLD, on=False)
    server = start()
    with Client(server.url()) as client:
        ends_undisturbed(client, run_id, undisturbed)
    assert server.logged("resuming run at epoch 3", run_id) == 1


@pytest.mark.parametrize("at", ["starting", "computing", "idle"])
def test_nothing_outlives_a_server_that_is_killed(start: Start, at: str) -> None:
    server = start("deaf", workers=2) if at == "computing" else start(workers=2)
    with Client(server.url()) as client:
        run_id = client.train(client.model(RUN))
        if at == "computing":
            until(lambda: server.logged("run trains", run_id), "the worker is at it")
        if at == "idle":
            client.wait(run_id)
        until(lambda: server.workers(), "there are workers")
    left = [*children(server.process.pid), *server.workers()]
    kill(server.process.pid)
    server.stop(None)
    for pid in left:
        gone_soon(pid)


def test_a_server_that_something_keeps_from_ending_ends_all_the_same(start: Start) -> None:
    server = start("stuck", HOLD)
    with Client(server.url()) as client:
        server.held(client)
        (worker,) = server.workers()
        assert server.stop() == 1
    gone_soon(worker)
    assert "ending at once" in server.events()[-1]["event"]


def test_a_server_whose_log_nobody_reads_ends_all_the_same(start: Start) -> None:
    server = start("unread-log", "stuck")
    server.url()
    assert server.stop() == 1


def test_workers_that_cannot_save_their_runs_in_time_end_all_the_same(start: Start, undisturbed: str) -> None:
    """They are in the middle of a batch, say, that takes longer than the server may wait."""
    server = start("deaf", workers=3)
    with Client(server.url()) as client:
        runs = [client.train(client.model(RUN)) for _ in range(3)]
        until(lambda: all(server.logged("run trains", run_id) for run_id in runs), "the workers are at it")
        workers = server.workers()
        assert server.stop() == 0
    assert not any(map(alive, workers))
    assert server.on_disk.query("SELECT state, worker_losses FROM runs") == [("queued", 0)] * 3
    server.switch("deaf", on=False)
    server = start()
    with Client(server.url()) as client:
        for run_id in runs:
            assert client.digest_of_parameters(client.wait(run_id)) == undisturbed
