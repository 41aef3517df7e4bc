"""One part of the cluster: a process and what it starts, which can be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 300.0  # on a machine that does much else
END_SECONDS = 30.0


class PartError(Exception):
    """A part did not start; the message holds the end of its log."""


@dataclass
class Part:
    """`ready` says whether it can be used."""

    name: str
    command: Sequence[str | Path]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    end_by: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    begin: int = 0  # where in its log the present process began

    def start(self) -> None:
        """Returns when it is ready; one that ends before is started again. Raises `PartError`."""
        end = time.monotonic() + START_SECONDS
        self._spawn()
        while not self.ready():
            if time.monotonic() > end:
                raise PartError(f"{self.name} did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)
            if not self.lives:  # Ray, for one, gives itself 30 seconds, which a busy machine may not
                self.kill()  # what it has left, which may hold its port
                self._spawn()

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self.begin = log.tell()
            self.process = subprocess.Popen(
                list(map(str, self.command)), env=os.environ | dict(self.environment), cwd="/",
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def has_said(self, text: str) -> bool:
        """Whether its present process has written this."""
        return text.encode() in self.log.read_bytes()[self.begin :]

    @property
    def lives(self) -> bool:
        """Whether its first process does."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it to every process of this part."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """As a machine that loses its power ends it."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait(END_SECONDS)
            self.signal(signal.SIGKILL)  # what was started meanwhile

    def end(self) -> None:
        """As an operator ends it."""
        if self.process is not None and self.lives:
            self.process.send_signal(self.end_by)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        self.kill()

    def processes(self) -> list[int]:
        """Its process and all that came of it: its descendants, and those of its session whose parent has ended."""
        found = set() if self.process is None else {self.process.pid}
        others = _parents_and_sessions()
        while came := {pid for pid, origins in others.items() if pid not in found and found.intersection(origins)}:
            found |= came
        return sorted(found)


def _parents_and_sessions() -> dict[int, tuple[int, int]]:
    """Of each process of the machine."""
    origins = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            _, parent, _, session, *_ = file.read_text().rpartition(")")[2].split()
            origins[int(file.parent.name)] = int(parent), int(session)
    return origins


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody uses at the moment."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def listens(host: str, port: int) -> bool:
    """Whether connections to it are taken."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
