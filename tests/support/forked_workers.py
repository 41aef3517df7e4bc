"""`falcon-mnist serve` whose workers are forked as it is itself, and what starts processes so for any pool.

Their parent is the process that forks; so Ctrl-C, which goes to a group of processes, does not reach them.
"""

from __future__ import annotations

import io
import logging
import os
import resource
import sys
from functools import partial
from multiprocessing import context, popen_spawn_posix, spawn, util
from multiprocessing.process import BaseProcess
from typing import Any

import endless
import forking

from falcon_mnist import logs
from falcon_mnist.app import open_service
from falcon_mnist.runs import worker
from falcon_mnist.runs.executor import Executor
from falcon_mnist.runs.pool import CLAIM_SECONDS, PoolBackend
from falcon_mnist.runs.queue import Queue
from falcon_mnist.settings import Settings


class Passed:
    """A descriptor that was passed to a new process."""

    def __init__(self, number: int) -> None:
        self._number = number

    def detach(self) -> int:
        return forking.passed[self._number]


class Popen(popen_spawn_posix.Popen):
    """A process that has been forked, as its pool sees it."""

    DupFd = Passed

    def duplicate_for_child(self, descriptor: int) -> int:
        self._fds.append(descriptor)
        return len(self._fds)  # the first that is passed is the pipe below

    def _launch(self, process: BaseProcess) -> None:
        data = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            context.reduction.dump(_without_main(spawn.get_preparation_data(process.name)), data)
            context.reduction.dump(process, data)
        finally:
            context.set_spawning_popen(None)
        its, ours = os.pipe()  # stays open as long as this process lives
        files = (0, 1, 2)
        self._program = forking.Program("forked_workers:main", env=os.environ, files=files, passed=[its, *self._fds])
        os.close(its)
        self.pid, self.sentinel = self._program.pid, self._program.ended()
        self.finalizer = util.Finalize(self, util.close_fds, (ours, self.sentinel))
        with open(ours, "wb", closefd=False) as file:
            file.write(data.getbuffer())

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        if self.returncode is None:
            self.returncode = self._program.poll() if flag == os.WNOHANG else self._program.wait()
        return self.returncode


def _without_main(prepared: dict[str, Any]) -> dict[str, Any]:
    """What a process is told before it begins, but not to import the main module again: that is pytest's."""
    return {name: value for name, value in prepared.items() if not name.startswith("init_main")}


class Process(context.SpawnProcess):
    """A process of the context below."""

    @staticmethod
    def _Popen(process: BaseProcess) -> Any:  # noqa: N802
        return Popen(process)


class Context(context.SpawnContext):
    """What a pool starts its processes with."""

    Process = Process


CONTEXT = Context()
# What is stopped or gone is seen in half the time; a worker that was not forked renews its lease twice in that.
SILENT_SECONDS = 8.0
RAY_LEASE_SECONDS = 4.0  # nothing else tells that a worker on Ray is stopped
# A cluster that is started again is found soon.
RETRY_SECONDS = (1.0, 2.0)
make_queue = partial(
    Queue,
    lease_seconds=SILENT_SECONDS,
    silent_seconds=SILENT_SECONDS,
    claim_seconds=(SILENT_SECONDS, CLAIM_SECONDS[1]),
)


def execute(settings: Settings, run_id: str, owner: str) -> None:
    """As `worker.execute`, with the parts of `endless`."""
    worker.execute_with(endless.parts(settings), run_id, owner)


# Other tests compute at the same time: a run that takes all CPUs would wait for each of its threads in turn.
backend = partial(PoolBackend, context=CONTEXT, execute=execute, all_cpus=1)


def main() -> None:
    """Be a process of a pool."""
    pipe = forking.passed[0]
    sys.exit(spawn._main(pipe, os.dup(pipe)))


def make_executor(settings: Settings, store: Any, make_backend: Any) -> Executor:
    if settings.executor == "pool":
        return Executor(settings, store, backend, make_queue=make_queue)
    make_backend = partial(make_backend, parts=endless.parts, retry_seconds=RETRY_SECONDS, context=CONTEXT)
    return Executor(settings, store, make_backend, make_queue=partial(Queue, lease_seconds=RAY_LEASE_SECONDS))


def serve() -> None:
    """As the command, at the port that its argument says, or at a free one."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    from falcon_mnist.cli import processes
    from falcon_mnist.cli.serve import run

    run_processes = partial(processes.run, context=CONTEXT, make_executor=make_executor)
    settings = Settings.from_env()
    logs.configure(logging.INFO, logs.style(settings.log))
    run(open_service(settings, make_executor=make_executor), "127.0.0.1", port, run_processes=run_processes)


def serve_with_descriptors() -> None:
    """As `serve`, with as many descriptors as its argument says."""
    limit = int(sys.argv.pop(1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    serve()
