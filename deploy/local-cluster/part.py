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

START_SECONDS = 120.0
END_SECONDS = 30.0


class PartError(Exception):
    """A part did not start; the message holds the end of its log."""


@dataclass
class Part:
    """`ready` says whether it can be used. It runs as `user`, if one is given."""

    name: str
    command: Sequence[str | Path]
    log: Path
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    end_by: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it is ready. Raises `PartError`."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(map(str, self.command)), env=os.environ | dict(self.environment), cwd="/", user=self.user,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise PartError(f"{self.name} did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.1)

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

    def end(self) -> None:
        """As an operator ends it."""
        if not self.lives or self.process is None:
            return
        everything = self.processes()
        self.process.send_signal(self.end_by)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        for pid in everything:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> list[int]:
        """Its process and all that this has started, children before theirs."""
        return [] if self.process is None else [self.process.pid, *_descendants(self.process.pid)]


def _descendants(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        return [each for child in children for each in (child, *_descendants(child))]
    return []


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
