"""Several server processes on one port: they answer as one, lose one of them, and end together."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import forking
import pytest
from asking import READ, WRITE, until
from checking_client import Client
from faulty_servers import expire
from interrupting import INTERRUPTED, saved
from server_process import COMMANDS, Server, alive, children, environment
from several import EXECUTES, OTHER, both_started, clients, only, spawned
from small_networks import ENDLESS, RESTING, SMALL, pixels

Serve = Callable[..., Server]


def family(server: Server) -> list[int]:
    """All that a server started, and what these have started."""
    servers = spawned(server.process.pid)
    return [*children(server.process.pid), *servers, *(pid for child in servers for pid in spawned(child))]


def test_a_run_that_any_process_has_queued_is_executed_by_the_first(pair: Server) -> None:
    first, other = spawned(pair.process.pid)
    with clients(pair) as asked:
        run_id = asked[OTHER].train(asked[OTHER].model(), epochs=1)
        run = asked[EXECUTES].wait(run_id, "succeeded")
        assert len(spawned(first)) == 1
        assert spawned(other) == []
        answers = [client.infer(run["param_id"], (pixels(3) / 255).tolist())["outputs"] for client in asked]
        assert answers[0] == answers[1]
        assert asked[OTHER].run(run_id) == run


def test_what_one_process_removes_no_other_answers_from(pair: Server) -> None:
    with clients(pair) as asked:
        for removing, other in ((0, 1), (1, 0)):
            run = asked[removing].trained(epochs=1)
            rows = {"param_id": run["param_id"], "inputs": (pixels(1) / 255).tolist()}
            for client in asked:
                assert client.post("/api/infer", rows).status_code == 200
            assert asked[removing].request("DELETE", f"/api/runs/{run['run_id']}").status_code == 204
            assert asked[other].post("/api/infer", rows).status_code == 404


def test_replaced_tokens_hold_in_all_processes(serve: Serve, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{WRITE}\n")
    server = both_started(serve(processes=2, tokens=None, tokens_file=tokens))
    with clients(server) as asked:
        replacing = tmp_path / "new"
        replacing.write_text(f"{READ} read\n")
        replacing.replace(tokens)
        for client in asked:
            until(lambda client=client: client.get("/api/runs").status_code == 401, "the old token is refused")
            assert client.get("/api/runs", token=READ).status_code == 200


@pytest.mark.parametrize("number", [EXECUTES, OTHER])
def test_a_process_that_is_killed_is_replaced_and_no_run_is_lost(pair: Server, undisturbed: str, number: int) -> None:
    before = spawned(pair.process.pid)
    with clients(pair) as asked:
        kept = asked[1 - number]
        run_id = kept.train(kept.model(INTERRUPTED))
        until(lambda: saved(kept, run_id), "it has been saved")
        workers = spawned(before[EXECUTES])
        os.kill(before[number], signal.SIGKILL)
        assert kept.get("/readyz", token=None).status_code == 200

        def replaced() -> list[int]:
            now = spawned(pair.process.pid)
            return [pid for pid in now if pid not in before] if len(now) == 2 and before[number] not in now else []

        (new,) = until(replaced, "another is started")
        if number == EXECUTES:
            until(lambda: not any(map(alive, workers)), "its workers end with it")
            expire(pair.on_disk)
        with only(pair, new):
            client = Client(pair.url())
        queued = kept.train(kept.model(), epochs=1)
        with client:
            assert client.digest_of_parameters(client.wait(run_id, "succeeded")) == undisturbed
            client.wait(queued, "succeeded")
    assert f"server process {number} is replaced" in pair.log()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_processes_and_saves_the_runs(serve: Serve, how: signal.Signals) -> None:
    """Ctrl-C goes to all of them, SIGTERM to the parent; each answers the request that has begun to come in."""
    command = (str(COMMANDS / "falcon-mnist"), "serve", "--port", "0", "--processes", "2")
    pair = both_started(serve(*command) if how == signal.SIGINT else serve(processes=2))
    body = json.dumps({"architecture": SMALL}).encode()
    head = (
        f"POST /api/models HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {WRITE}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with clients(pair) as asked:
        run_id = asked[OTHER].train(asked[OTHER].model(ENDLESS if how == signal.SIGINT else RESTING))
        asked[OTHER].wait(run_id, "running")
        begun: list[socket.socket] = []
        for client, pid in zip(asked, spawned(pair.process.pid), strict=True):
            with only(pair, pid):
                begun.append(client.connect())
                begun[-1].sendall(head + body[:10])
                client.get("/healthz", token=None)  # so the server has read the half of the one before
        left = family(pair)
        (os.killpg if how == signal.SIGINT else os.kill)(pair.process.pid, how)
        for client, connection in zip(asked, begun, strict=True):
            until(lambda client=client: client.get("/readyz", token=None).status_code == 503, "it says that it ends")
            with connection:
                connection.sendall(body[10:])
                assert client.received(connection, head).status_code == 200
    assert pair.stop(None) == 0
    until(lambda: not any(map(alive, left)), "nothing is left")
    assert pair.on_disk.query("SELECT state, owner, worker_losses FROM runs") == [("queued", None, 0)]
    assert len(pair.on_disk.query("SELECT id FROM models")) == 3


def test_nothing_outlives_a_parent_that_is_killed(pair: Server, digits: Path) -> None:
    url = pair.url()
    with clients(pair) as asked:
        asked[OTHER].wait(asked[OTHER].train(asked[OTHER].model(RESTING)), "running")
        left = family(pair)
        assert len(left) >= 3
        pair.stop(signal.SIGKILL)
    until(lambda: not any(map(alive, left)), "all have ended")
    # A server alone shares its port with nobody.
    variables = environment(pair.home, dataset=digits, workers=1)
    alone = Server(variables, main=forking.COMMAND, arguments=("serve", "--port", url.rpartition(":")[2]))
    try:
        assert alone.url() == url
        with Client(url) as client:
            assert client.get("/readyz", token=None).status_code == 200
    finally:
        assert alone.stop() == 0


def test_a_process_that_ends_by_itself_is_no_end_of_the_server(pair: Server) -> None:
    """SIGTERM to one of them, from an administrator, say: it drains, and is replaced."""
    with clients(pair):
        before = spawned(pair.process.pid)
        os.kill(before[OTHER], signal.SIGTERM)
        until(lambda: len(set(spawned(pair.process.pid)) - set(before)) == 1, "another is started")
        until(lambda: not alive(before[OTHER]), "the one before has ended")
    assert pair.stop() == 0
