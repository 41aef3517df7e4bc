"""Ctrl-C at any moment of a command ends it, and its workers, in one line."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from serving import PATIENCE, OnDisk, environment, until

from falcon_mnist.cli.watch import STOPPING

# Ctrl-C is a signal to the group. It comes when the command does what is named first in its arguments.
BEGIN = """if True:
    import os, signal, sys

    moment = sys.argv.pop(1)

    def watch(event, arguments):
        global moment
        if moment in (event, f"{event} {arguments[0] if arguments else ''}"):
            moment = None
            os.killpg(os.getpid(), signal.SIGINT)

    def see(frame, event, argument):
        if event == "return":
            watch(f"end of {frame.f_code.co_qualname}", ())

    sys.addaudithook(watch)
    if moment.startswith("end of"):
        sys.setprofile(see)
    from falcon_mnist.cli.entry import main
    main()
"""

# Before anything large is imported, in the middle of that, when files are made, at the first use of the network, when
# the queue's thread has been started, when that starts a worker, and when it trains.
LOADS, IMPORTS, OPENS = "import falcon_mnist.cli.main", "import numpy", "sqlite3.connect"
QUEUES = "end of Executor.start"
BINDS, SPAWNS, TRAINS = "socket.bind", "import multiprocessing.popen_spawn_posix", "trains"

MOMENTS = {
    "train": (LOADS, IMPORTS, OPENS, QUEUES, SPAWNS, TRAINS),
    "demo": (LOADS, BINDS, SPAWNS, TRAINS),
    "serve": (LOADS, OPENS, BINDS),
}
ARGUMENTS = {"train": ("--epochs", "1000"), "demo": ("--epochs", "1000"), "serve": ("--port=0",)}


@pytest.mark.parametrize(("command", "moment"), [(command, each) for command in MOMENTS for each in MOMENTS[command]])
def test_ctrl_c_ends_a_command_in_one_line(tmp_path: Path, digits: Path, command: str, moment: str) -> None:
    home = OnDisk(tmp_path / "home")
    variables = environment(home.home, dataset=digits, workers=2, tokens=None)
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, moment, command, *ARGUMENTS[command]],
        env=variables,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if moment == TRAINS:
        until(lambda: trains(home), "an epoch has ended")
        os.killpg(process.pid, signal.SIGINT)
    lines = process.communicate(timeout=PATIENCE)[1].decode().splitlines()
    if moment == TRAINS and process.returncode == 0:  # it has stopped after an epoch, and kept what was learned
        assert lines == [STOPPING]
    elif command == "serve" and process.returncode == 0:  # it was serving already, and logs
        assert all(line.startswith("{") for line in lines), lines
    else:
        assert process.returncode == 130
        assert len(lines) == 1, "\n".join(lines)
        assert lines[0].startswith("falcon-mnist: interrupted")
    until(lambda: not in_group(process.pid), "nothing of it is left")


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
