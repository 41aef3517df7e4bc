"""The process between a server and a Ray cluster: it hands runs to Ray as tasks, and tells how they end.

A process of its own, because Ray ends the process that is connected to a cluster once its head has been away for a
minute; the server stays up and starts another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from falcon_mnist import logs
from falcon_mnist.data import dataset
from falcon_mnist.data.dataset import DataError, Dataset
from falcon_mnist.runs import ray_nodes, ray_task
from falcon_mnist.runs.backend import Ended, Outcome
from falcon_mnist.runs.ray_messages import Cluster, Kill, Placed, Start, Unreachable
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import WORKER_WAIT, open_store
from falcon_mnist.storage.store import RunLostError
from falcon_mnist.storage.tables import RunRow
from falcon_mnist.training import network, trainer
from falcon_mnist.training.hyperparams import Hyperparams

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
CONNECT_SECONDS = 5.0
# Ray counts the CPUs of a task that has just ended as used for a moment: the least of these looks is believed.
LOOKS = 3
# How often Ray tries a task again whose worker or node is lost; after that the queue starts it again.
RETRIES = 3
# How long a warm-up task keeps its worker: as long as Ray needs to start one for each CPU.
WARM_SECONDS = 0.4
MOST_WARM_SECONDS = 5.0
# Ray's own shutdown may wait for a head that is gone.
SHUTDOWN_SECONDS = 3.0


def drive(
    connection: Connection, settings: Settings, address: str, logging_as: ray_task.Logging, parts: ray_task.MakeParts
) -> None:
    """Be that process: until the server closes the connection, or Ray ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's business
    logs.configure(*logging_as)
    _silence_ray()
    try:
        driver = Driver(_connected(address), connection, settings, logging_as, parts)
    except Exception as error:
        connection.send(Unreachable(_sentence(error)))
        os._exit(1)
    driver.run()
    threading.Timer(SHUTDOWN_SECONDS, os._exit, [1]).start()
    driver.ray.shutdown()
    os._exit(0)


def _silence_ray() -> None:
    """Its lines would come between the log lines of this service; they stand in its own logs as well."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(os.fdopen(os.dup(2), "w", buffering=1))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # of Python's streams, and of Ray's C++
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _connected(address: str) -> Any:
    """The module `ray`, connected to the cluster. Raises what says why it cannot be."""
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.port is not None:  # Ray itself would try for minutes
        socket.create_connection((place.hostname or "", place.port), CONNECT_SECONDS).close()
    import ray
    import ray.util.scheduling_strategies

    ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    # While the head is away, Ray's thread that prints errors would ask again without a pause, on a whole CPU.
    with contextlib.suppress(AttributeError):
        ray._private.worker.global_worker.threads_stopped.set()
    return ray


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


class Driver:
    """Its threads: the one that calls `run` obeys the server, one tells of the cluster, and Ray's tell of tasks."""

    def __init__(
        self,
        ray: Any,
        connection: Connection,
        settings: Settings,
        logging_as: ray_task.Logging,
        parts: ray_task.MakeParts,
    ) -> None:
        self.ray = ray
        self._connection = connection
        self._settings = settings
        self._logging_as = logging_as
        self._parts = parts
        self._for_workers = replace(settings, tokens=(), tokens_file=None)
        self._store = open_store(settings, wait=WORKER_WAIT)
        self._sending = threading.Lock()
        self._ready = threading.Event()  # the data set is there, and so are the workers
        self._execute, self._end = ray.remote(ray_task.execute), ray.remote(ray_task.end)
        self._tasks: dict[str, tuple[Any, int]] = {}  # by owner: its result to come, and its CPUs
        self._data: Any = None  # as Ray holds it, once there is one
        self._widest = 1  # the most CPUs of any node
        self._used_by_others: deque[int] = deque(maxlen=LOOKS)

    def run(self) -> None:
        """Do what the server says."""
        threading.Thread(target=self._tell_of_cluster, name="cluster", daemon=True).start()
        self._prepare_workers()
        self._ready.set()
        with contextlib.suppress(EOFError, OSError):  # the server is gone
            while (message := self._connection.recv()) is not None:
                match message:
                    case Start(run_id, owner):
                        self._start(run_id, owner)
                    case Kill(owner):
                        self._kill(owner)

    def _tell(self, message: Any) -> None:
        with contextlib.suppress(OSError), self._sending:
            self._connection.send(message)

    def _tell_of_cluster(self) -> None:
        while not self._ready.wait(TICK_SECONDS):
            self._tell(Cluster(0, 0))
        try:
            while True:
                self._tell(self._look())
                time.sleep(TICK_SECONDS)
        except Exception:  # a lost connection that Ray does not end the process for
            os._exit(1)

    def _look(self) -> Cluster:
        alive = ray_nodes.alive(self.ray.nodes())
        if reason := ray_nodes.unshared(self._settings.database, alive, socket.gethostname()):
            self._tell(Unreachable(reason))
            os._exit(1)
        nodes = [ray_nodes.cpus(node) for node in alive]
        self._widest = max(nodes, default=1)
        free = self.ray.available_resources().get("CPU", 0)
        ours = sum(cpus for _, cpus in list(self._tasks.values()))
        self._used_by_others.append(max(0, round(sum(nodes) - free - ours)))
        return Cluster(sum(nodes), min(self._used_by_others))

    # Data

    def _prepare_workers(self) -> None:
        """Have a worker process ready for each CPU, so that the first runs need not wait for one."""
        cpus = self._look().cpus
        prepare = self.ray.remote(ray_task.prepare).options(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")
        data = self._shared_data()
        self.ray.wait([prepare.remote(data, WARM_SECONDS) for _ in range(cpus)] or [data], timeout=MOST_WARM_SECONDS)

    def _shared_data(self) -> Any:
        """The data set in Ray's object store, which brings it to each node once; there, all workers map it."""
        if self._data is None:
            try:
                self._data = self.ray.put(_in_memory(dataset.load(self._settings.dataset, self._settings.home)))
            except DataError as error:
                return self.ray.put(error)  # the run fails by it; the next looks again
        return self._data

    # Tasks

    def _start(self, run_id: str, owner: str) -> None:
        run = self._store.run(run_id)
        cpus = 1 if run is None else self._cpus(run)
        assignment = ray_task.Assignment(run_id, owner, 0 if run is None else run.renewals)
        self._tell(Placed(owner, cpus))
        task = self._execute.options(name=ray_task.name(owner), num_cpus=cpus, max_retries=RETRIES).remote(
            self._for_workers, self._logging_as, self._parts, assignment, cpus, self._shared_data()
        )
        self._tasks[owner] = task, cpus
        task.future().add_done_callback(self._told_of(owner))

    def _cpus(self, run: RunRow) -> int:
        """How many CPUs the run pays for."""
        try:
            net = network.build(self._store.architecture(run))
            return trainer.fair_threads(net, Hyperparams.model_validate(run.hyperparams), self._widest)
        except RunLostError:  # removed meanwhile
            return 1

    def _told_of(self, owner: str) -> Callable[[Future[bool]], None]:
        def tell(future: Future[bool]) -> None:
            if self._tasks.pop(owner, None) is not None:
                self._tell(Ended(owner, self._outcome(future)))

        return tell

    def _outcome(self, future: Future[bool]) -> Outcome:
        errors = self.ray.exceptions
        error = future.exception()
        if error is None:
            return Outcome.FINISHED if future.result() else Outcome.LOST
        if isinstance(error, errors.WorkerCrashedError | errors.OutOfMemoryError):
            return Outcome.LOST
        if isinstance(error, errors.ObjectLostError):
            self._data = None  # the node that had the only copy is gone
            return Outcome.DISPLACED
        if isinstance(error, errors.RayTaskError):
            log.error("a worker failed outside its run", exc_info=error)
            return Outcome.FAILED
        log.warning("Ray could not finish a run: %s", type(error).__name__)
        return Outcome.DISPLACED

    def _kill(self, owner: str) -> None:
        task, _ = self._tasks.pop(owner, (None, 0))
        if task is None:
            return
        self.ray.cancel(task, force=True)
        for node in ray_nodes.alive(self.ray.nodes()):
            there = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            self._end.options(num_cpus=0, max_retries=RETRIES, scheduling_strategy=there).remote(owner)


def _in_memory(data: Dataset) -> Dataset:
    """With plain arrays instead of mapped files: Ray moves their bytes as they are."""
    names = ("train_images", "train_labels", "test_images", "test_labels")
    return replace(data, **{name: getattr(data, name).view(np.ndarray) for name in names})
