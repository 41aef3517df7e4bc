"""A Ray cluster of the tests' own on this machine: one node, two CPUs, no dashboard."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from asking import PATIENCE, until
from server_process import COMMANDS, alive, children, command_line

CPUS = 2
OBJECT_STORE_BYTES = 100_000_000
SUPPORT = os.path.dirname(__file__)
SETTINGS = {
    # Workers that have nothing to do stay: one of them takes the place of one that is killed.
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    "RAY_worker_niceness": "0",  # else the other tests of a busy machine keep them from the CPU
    "RAY_worker_maximum_startup_concurrency": "1",  # else Ray starts one more than there are CPUs
    "PYTHONPATH": f"{SUPPORT}/ray_processes:{SUPPORT}",
}


def missing() -> str:
    """What the tests with Ray need and do not find here; empty if nothing."""
    return "" if find_spec("ray") else "Ray is not installed"


class RayCluster:
    """A head that can be killed and started again, at the same address."""

    def __init__(self, folder: Path, taken_port: int) -> None:
        self._folder = folder
        self._taken_port = taken_port
        self._host = socket.gethostbyname(socket.gethostname())
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self._host}:{self._port}"

    def start(self) -> None:
        """Returns when it can be connected to."""
        self._spawn()
        until(self._answers, "Ray has started")

    def _spawn(self) -> None:
        command = [
            *(str(COMMANDS / "ray"), "start", "--head", "--block", "--disable-usage-stats", f"--port={self._port}"),
            # Even so the dashboard's process would start, a second of a CPU: a port that is taken keeps it from that.
            *("--include-dashboard=false", f"--dashboard-port={self._taken_port}", f"--temp-dir={self._folder}"),
            *(f"--node-ip-address={self._host}", "--min-worker-port=0", "--max-worker-port=0"),
            *(f"--num-cpus={CPUS}", f"--object-store-memory={OBJECT_STORE_BYTES}"),
            *("--no-monitor", "--include-log-monitor=false"),  # processes that take seconds of a CPU to start
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | SETTINGS, stdout=log, stderr=log, start_new_session=True
            )

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:  # Ray gives itself 30 seconds, which a busy machine may not
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # what it has left, which may hold its port
            self._spawn()
        with socket.socket() as connection:
            return connection.connect_ex((self._host, self._port)) == 0 and bool(self._raylets())

    def kill(self) -> None:
        """Kill every process of it, workers too."""
        if self._process is None:
            return
        everything = [self._process.pid, *_descendants(self._process.pid)]
        for pid in everything:
            with suppress(ProcessLookupError):  # some end by themselves when others do
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        until(lambda: not any(alive(pid) for pid in everything), "Ray is gone")
        self._process = None

    def _raylets(self) -> list[int]:
        assert self._process is not None
        return [pid for pid in _descendants(self._process.pid) if b"/raylet\0" in command_line(pid)]

    def workers(self) -> list[int]:
        """The processes that execute a run at the moment."""
        found = [pid for raylet in self._raylets() for pid in children(raylet)]
        return [pid for pid in found if command_line(pid).startswith(b"ray::run-of-")]

    def log_of_workers(self) -> str:
        """What all worker processes have written, also those of earlier heads."""
        return "".join(path.read_text() for path in sorted(self._folder.glob("session_*/logs/worker-*.err")))


def _descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *_descendants(child))]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@contextmanager
def cluster() -> Iterator[RayCluster]:
    """One that runs while the block does."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # a short name: it is the beginning of those of sockets
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = RayCluster(folder, taken.getsockname()[1])
        try:
            running.start()
            yield running
        finally:
            running.kill()
            shutil.rmtree(folder, ignore_errors=True)
