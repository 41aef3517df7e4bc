"""Several server processes behind the same listening sockets; the first of them executes the runs."""

from __future__ import annotations

import ctypes
import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import BaseContext
from typing import Any

from falcon_mnist import logs
from falcon_mnist.api.metrics import Metrics
from falcon_mnist.api.service import Service
from falcon_mnist.app import open_service
from falcon_mnist.inference.figures import SharedFigures
from falcon_mnist.inference.removals import Removals
from falcon_mnist.runs.elsewhere import ExecutorElsewhere, Notices
from falcon_mnist.runs.executor import Executor
from falcon_mnist.runs.pool import SPAWN
from falcon_mnist.runs.worker import end_with_parent
from falcon_mnist.server.balance import Balance
from falcon_mnist.server.serve import EXIT_SECONDS, make_server, run_until_signalled
from falcon_mnist.server.signals import note_signals
from falcon_mnist.server.supervisor import Supervisor
from falcon_mnist.settings import Settings

log = logging.getLogger(__name__)

# Longer than a process gives itself.
PATIENCE_SECONDS = EXIT_SECONDS + 0.5


@dataclass
class Shared:
    """What all processes have, those that replace others too; new ones get it as they start."""

    settings: Settings
    sockets: list[socket.socket]
    removals: Any  # arrays in shared memory, a part for each process
    connections: Any
    cache: Any
    metrics: Any
    make_executor: Callable[..., Executor]
    notices: Notices = field(default_factory=Notices)
    logging_as: tuple[int, logs.Style] = field(default_factory=logs.configured)


def run(
    settings: Settings,
    sockets: list[socket.socket],
    signals: list[int],
    *,
    context: BaseContext = SPAWN,
    make_executor: Callable[..., Executor] = Executor,
) -> bool:
    """Serve in `settings.processes` processes until a signal is noted; says whether all have ended well.

    `make_executor` stands in a module that a new process can import.
    """
    count, array = settings.processes, SPAWN.RawArray
    shared = Shared(
        settings,
        sockets,
        removals=array(ctypes.c_uint64, count),
        connections=array(ctypes.c_uint64, count),
        cache=array(ctypes.c_double, SharedFigures.doubles(count)),
        metrics=array(ctypes.c_ubyte, Metrics.memory_bytes(count)),
        make_executor=make_executor,
    )
    return Supervisor(count, _serve, shared, exit_seconds=PATIENCE_SECONDS, context=context).run(signals)


def _serve(number: int, shared: Shared) -> None:
    """Be one of them."""
    end_with_parent()
    logs.configure(*shared.logging_as)
    try:
        service = _open(number, shared)
        server = make_server(service, shared.sockets, Balance(shared.connections, number))
        run_until_signalled(server, service, note_signals(supervised=True))
    except Exception:
        log.exception("server process %d failed", number)
        sys.exit(1)


def _open(number: int, shared: Shared) -> Service:
    open_with = partial(
        open_service,
        shared.settings,
        removals=Removals(shared.removals, number),
        figures=SharedFigures(shared.cache, number),
        metrics=Metrics(shared.metrics, number),
    )
    if number > 0:
        elsewhere = ExecutorElsewhere(shared.notices)
        return open_with(make_executor=lambda *_: elsewhere)
    service = open_with(make_executor=shared.make_executor)
    if isinstance(service.executor, Executor):
        shared.notices.pass_on(service.executor)
    return service
