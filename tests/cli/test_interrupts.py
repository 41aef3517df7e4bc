"""Ctrl-C at any moment of a command ends it, and its workers, in one line."""

from __future__ import annotations

import array
import fcntl
import json
import os
import signal
import sqlite3
import termios
from contextlib import suppress
from pathlib import Path

import forking
import pytest
from asking import PATIENCE, until
from commands import Command, Fresh
from on_disk import OnDisk
from server_process import environment

from falcon_mnist.cli.watch import STOPPING

# Before anything large is imported, in the middle of that, when files are made, at the first use of the network, when
# the queue's thread has been started, when that starts a worker, and when it trains.
LOADS, IMPORTS, OPENS = "import falcon_mnist.cli.main", "import numpy", "sqlite3.connect"
QUEUES = "end of Executor.start"
BINDS, SPAWNS, TRAINS = "socket.bind", "import multiprocessing.popen_spawn_posix", "trains"

MOMENTS = {
    "train": (LOADS, IMPORTS, OPENS, QUEUES, SPAWNS),
    "demo": (LOADS, BINDS, SPAWNS, TRAINS),
    "serve": (LOADS, OPENS, BINDS),
}
# So many epochs take some five seconds, of which a test needs one: with a small network they would be half a second.
LONG = ("--hidden", "512", "--epochs", "1000")
ARGUMENTS = {"train": LONG, "demo": LONG, "serve": ("--port=0",)}
IN_A_NEW_INTERPRETER = (LOADS, IMPORTS)  # to another one these have been imported before


@pytest.mark.parametrize(("command", "moment"), [(command, each) for command in MOMENTS for each in MOMENTS[command]])
def test_ctrl_c_ends_a_command_in_one_line(tmp_path: Path, digits: Path, command: str, moment: str) -> None:
    home = OnDisk(tmp_path / "home")
    variables = environment(home.home, dataset=digits, workers=1, tokens=None)
    started = (Fresh if moment in IN_A_NEW_INTERPRETER else Command)(
        moment, command, *ARGUMENTS[command], env=variables, main="at_moment:main"
    )
    if moment == TRAINS:
        until(lambda: trains(home), "an epoch has ended")
        os.killpg(started.process.pid, signal.SIGINT)
    ended = started.end()
    lines = ended.stderr.splitlines()
    if moment == TRAINS and ended.returncode == 0:  # it has stopped after an epoch, and kept what was learned
        assert lines == [STOPPING]
    elif command == "serve" and ended.returncode == 0:  # it was serving already, and logs
        assert all(line.startswith("{") for line in lines), lines
    else:
        assert ended.returncode == 130
        assert len(lines) == 1, "\n".join(lines)
        assert lines[0].startswith("falcon-mnist: interrupted")
    until(lambda: not in_group(started.process.pid), "nothing of it is left")


def test_ctrl_c_while_a_complaint_is_prepared_does_not_replace_it(tmp_path: Path, digits: Path) -> None:
    home = tmp_path / "home"
    (home / "falcon-mnist.db").mkdir(parents=True)
    variables = environment(home, dataset=digits, workers=1, tokens=None)
    ended = Command("import falcon_mnist.cli.complaints", "train", env=variables, main="at_moment:main").end()
    assert ended.returncode == 1
    assert ended.stderr.startswith("falcon-mnist: "), ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_who_has_read_where_it_serves_may_end_it(tmp_path: Path, digits: Path, processes: int) -> None:
    """The pipe has room for the server's first line only, so that it waits right after that is printed."""
    variables = environment(tmp_path / "home", dataset=digits, workers=1, tokens=None, processes=processes)
    ours, its = os.pipe()
    filled = fcntl.fcntl(its, fcntl.F_SETPIPE_SZ, 4096) - 100
    os.write(its, b"\n" * filled)
    process = forking.Program("forked_workers:serve", env=variables, files=(None, its, its))
    os.close(its)
    try:
        until(lambda: unread(ours) > filled, "it has said where it serves")
        os.kill(process.pid, signal.SIGTERM)
        assert b"\nServing at " in os.read(ours, 4096)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        os.close(ours)


def unread(pipe: int) -> int:
    """How many bytes."""
    number = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, number)
    return number[0]


def test_ctrl_c_keeps_what_was_learned(tmp_path: Path, digits: Path) -> None:
    home = OnDisk(tmp_path / "home")
    variables = environment(home.home, dataset=digits, workers=2, tokens=None)
    started = Command("train", *LONG, "--json", env=variables)
    until(lambda: trains(home), "an epoch has ended")
    os.killpg(started.process.pid, signal.SIGINT)
    ended = started.end()
    assert (ended.returncode, ended.stderr.splitlines()) == (0, [STOPPING])
    result = json.loads(ended.stdout.splitlines()[-1])
    assert 0 < result["epochs"] < 1000
    assert home.parameter_file(result["param_id"]).exists()
    until(lambda: not in_group(started.process.pid), "nothing of it is left")


def trains(home: OnDisk) -> bool:
    with suppress(sqlite3.OperationalError):  # there is no database yet
        return home.query("SELECT 1 FROM runs WHERE epoch > 0") != []
    return False


def in_group(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
