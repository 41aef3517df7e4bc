"""The processes of pytest-xdist, forked from one that has collected the tests: each would take two seconds to do it.

xdist starts this file as the Python of each process: it has the process forked, and waits for its end.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress

_MOST_BYTES = 4096  # of the code that xdist's library wants to be run
_END_SECONDS = 10.0


class Forker:
    """The process that forks the others; it ends with the one that made this, or by `end`."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """`arguments` are pytest's, of which some count as tests are imported: the profile of Hypothesis, say."""
        self._folder = tempfile.TemporaryDirectory()
        place = f"{self._folder.name}/forker"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(place)
            listening.listen()
            self._process = subprocess.Popen(
                [sys.executable, __file__, "serve", str(listening.fileno()), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listening.fileno()],
                start_new_session=True,
            )
        # What xdist is to start instead of Python, with Python's options.
        self.python = shlex.join([sys.executable, "-S", "-E", __file__, "ask", place])

    def end(self) -> None:
        """End it and what it has forked, of which some may be stuck, and remove its place."""
        with suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=_END_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()


def ask(place: str, *options: str) -> None:
    """Have a process forked that runs the last of Python's `options`, a program, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is xdist's to handle
    ended, ending = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as forker:
        forker.connect(place)
        socket.send_fds(forker, [options[-1].encode()], [0, 1, 2, ending])
    for descriptor in (0, 1, ending):
        os.close(descriptor)
    os.read(ended, 1)


def serve(descriptor: str, *arguments: str) -> None:
    """Collect the tests, then fork a process for each that asks; in it, run the program that it was asked for."""
    import gc

    import forking
    import pytest

    forking.start()  # imports the product meanwhile, and forks programs for all tests
    pytest.main([*arguments, "--collect-only", "-qq", "-n0"])
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(descriptor)) as listening:
        code = _fork_for_each(listening)
    if code is not None:
        exec(code, {"__name__": "__main__"})


def _fork_for_each(listening: socket.socket) -> str | None:
    while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
        with listening.accept()[0] as asking:
            code, streams, _, _ = socket.recv_fds(asking, _MOST_BYTES, 4)
        if os.fork() == 0:
            for number, stream in enumerate(streams[:3]):
                os.dup2(stream, number)
                os.close(stream)
            return code.decode()
        for stream in streams:
            os.close(stream)
    return None


if __name__ == "__main__":
    {"ask": ask, "serve": serve}[sys.argv[1]](*sys.argv[2:])
