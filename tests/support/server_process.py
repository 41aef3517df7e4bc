"""A server in a process of its own, and what the system says of processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import forking
from asking import PATIENCE, READ, WRITE, until
from on_disk import OnDisk

COMMANDS = Path(sys.executable).parent


def environment(home: Path, **settings: object) -> dict[str, str]:
    """This process's environment with these settings of the service, written in small letters, and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
    given = {"home": home, "tokens": WRITE} | settings
    return kept | {f"FALCON_MNIST_{name.upper()}": str(value) for name, value in given.items() if value is not None}


class Server:
    """A server in a process of its own: one as `falcon-mnist serve` starts, or what `main`, or `command`, names."""

    def __init__(
        self,
        variables: Mapping[str, str],
        *command: str,
        main: str = "forked_workers:serve",
        arguments: Sequence[str] = (),
    ) -> None:
        self.home = Path(variables["FALCON_MNIST_HOME"])
        self.on_disk = OnDisk(self.home)
        self.home.mkdir(parents=True, exist_ok=True)
        self._output = (self.home / "stdout.txt").open("ab")
        self._log = (self.home / "stderr.txt").open("ab")
        self._skip = self._output.tell()  # an earlier server of this home may have printed to the file
        # Its own session, so that a signal to its group is what Ctrl-C in its terminal is.
        self.process: subprocess.Popen[bytes] | forking.Program
        if command:
            self.process = subprocess.Popen(
                command, env=dict(variables), stdout=self._output, stderr=self._log, start_new_session=True
            )
        else:
            files = (None, self._output.fileno(), self._log.fileno())
            self.process = forking.Program(main, *arguments, env=variables, files=files)

    def output(self) -> str:
        """What this server has printed so far."""
        return (self.home / "stdout.txt").read_text()[self._skip :]

    def log(self) -> str:
        return (self.home / "stderr.txt").read_text()

    def url(self) -> str:
        """The address that it prints."""

        def printed() -> re.Match[str] | None:
            assert self.process.poll() is None, self.log()
            return re.search(r"^Serving at (http://[\d.]+:\d+)/api ", self.output(), re.MULTILINE)

        return str(until(printed, "the server prints its address")[1])

    def workers(self) -> list[int]:
        """The ids of its worker processes."""
        spawned = [pid for pid in children(self.process.pid) if b"spawn_main" in command_line(pid)]
        return spawned + forking.forked_by(self.process.pid)

    def pause(self, pid: int) -> None:
        """Stop one of its processes where it keeps nobody from the database."""
        until(lambda: self._stopped_apart(pid), "it is stopped and holds no lock")

    def _stopped_apart(self, pid: int) -> bool:
        """Whether it has been stopped so; it goes on if it has not."""
        with self.on_disk.locked():
            os.kill(pid, signal.SIGSTOP)
            until(lambda: stopped(pid), "all its threads have stopped")  # until then one of them may take a lock
        if self.on_disk.opens():
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    def stop(self, how: signal.Signals | None = signal.SIGTERM) -> int:
        """End it, or wait for its end, and give its exit code; no token may have come into its log."""
        if how is not None and self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=PATIENCE)
        self._output.close()
        self._log.close()
        for secret in (WRITE, READ):
            assert secret not in self.output() + self.log()
        return code


def children(pid: int) -> list[int]:
    """The ids of the processes that this one has started and that have not ended."""
    found: list[int] = []
    with suppress(FileNotFoundError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # this thread has ended since
                found += map(int, (thread / "children").read_text().split())
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def cpu_seconds(pid: int) -> float:
    """What a process has computed since it started, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stopped(pid: int) -> bool:
    """Whether all threads of a process are."""
    try:
        threads = [thread.read_text() for thread in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # a thread has ended since
        return False
    return all(thread.rpartition(")")[2].split()[0] == "T" for thread in threads)


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is not just waiting for its parent to notice that it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
