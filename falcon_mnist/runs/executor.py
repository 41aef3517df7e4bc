"""The threads of a server that drive its queue and sweep its storages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.runs.backend import Backend
from falcon_mnist.runs.queue import Queue
from falcon_mnist.settings import Settings
from falcon_mnist.storage.database import DatabaseBusyError, DatabaseUnavailableError
from falcon_mnist.storage.files import StorageUnavailableError, Sweeper
from falcon_mnist.storage.opening import checkpoint_storage, parameter_storage
from falcon_mnist.storage.parameter_files import file_name
from falcon_mnist.storage.store import Store

log = logging.getLogger(__name__)

# How often the queue is polled without being told to: runs may come from, or be lost by, another server.
POLL_SECONDS = 1.0
SWEEP_SECONDS = 300.0
# Of the time, with a million files.
SWEEP_SHARE = 0.01
# How long workers may take to save their runs when the server ends.
DRAIN_SECONDS = 8.0


class Executor:
    """Executes queued runs in the background, from the first `start` or `notify` on."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        make_backend: Callable[[Settings, Callable[[], None]], Backend],
        *,
        make_queue: Callable[[Store, Backend], Queue] = Queue,
        poll_seconds: float = POLL_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`make_backend` gets the settings and what to call, from any thread, when an attempt is over."""
        self._settings = settings
        self._store = store
        self._make_backend = make_backend
        self._make_queue = make_queue
        self._poll_seconds = poll_seconds
        self._sweep_seconds = sweep_seconds
        self._drain_seconds = drain_seconds
        self._clock = clock
        self._parameters = Sweeper(parameter_storage(settings))
        self._checkpoints = Sweeper(checkpoint_storage(settings))
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._sweeping: threading.Thread | None = None
        self._backend: Backend | None = None

    def start(self) -> None:
        """Start the thread; does nothing the second time."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
                self._thread.start()
                self._sweeping = threading.Thread(target=self._sweep, name="sweep", daemon=True)
                self._sweeping.start()

    def notify(self) -> None:
        """A run was queued: start if need be, and poll now."""
        self.start()
        self._wake.set()

    def workers_alive(self) -> int:
        """How many workers live; they are started when runs need them."""
        return 0 if self._backend is None else self._backend.alive()

    def problem(self) -> str | None:
        """Why queued runs have to wait although there may be room for them; None if there is no such reason."""
        return None if self._backend is None else self._backend.problem()

    def stop(self) -> None:
        """Let the workers save their runs, and end them; the runs are requeued for the next server."""
        with self._lock:
            self._stopping.set()
            self._wake.set()
            thread, sweeping = self._thread, self._sweeping
        if thread is not None:
            thread.join(timeout=30)
        if sweeping is not None:
            sweeping.join(timeout=1)  # what it has not deleted, a later one does

    def _run(self) -> None:
        backend = self._backend = self._make_backend(self._settings, self._wake.set)
        queue = self._make_queue(self._store, backend)
        try:
            while not self._stopping.is_set():
                if not self._try("the queue could not be polled", queue.poll):
                    self._stopping.wait(self._poll_seconds)
                self._wake.wait(self._poll_seconds)
                self._wake.clear()
        finally:
            self._drain(queue, backend)
            self._store.close()

    def _drain(self, queue: Queue, backend: Backend) -> None:
        end = self._clock.monotonic() + self._drain_seconds
        self._try("workers could not be asked to save their runs", queue.drain)
        while self._clock.monotonic() < end:
            self._wake.clear()
            try:
                if queue.poll_draining():
                    break
            except DatabaseUnavailableError:
                pass  # it is tried again
            self._wake.wait(min(self._poll_seconds, max(0.0, end - self._clock.monotonic())))
        backend.close()
        self._try("runs could not be requeued: they will be when their leases have run out", queue.abandon)

    def _sweep(self) -> None:
        """Delete what processes left behind that were killed between writing a file and recording it.

        On a thread of its own: a storage may take long, and the queue looks after leases.
        """
        while True:
            started = self._clock.monotonic()
            self._try("abandoned files could not be deleted", self._sweep_files)
            self._try("runs could not be counted", self._store.count_further)
            pause = max(self._sweep_seconds, (self._clock.monotonic() - started) / SWEEP_SHARE)
            self._store.close()  # this thread's connection
            if self._stopping.wait(pause):
                return

    def _sweep_files(self) -> None:
        store = self._store
        database = store.identity if self._settings.storage_url else ""  # nobody else is told of a home's own folder
        self._parameters.sweep({file_name(param_id) for param_id in store.parameter_ids()}, database=database)
        self._checkpoints.sweep({checkpoint["file"] for checkpoint in store.recorded_checkpoints()}, database=database)

    def _try(self, what: str, act: Callable[[], object]) -> bool:
        """Act; whatever fails is logged, and tried again later. Says whether it was done."""
        try:
            act()
        except DatabaseBusyError as error:
            log.error("%s: the database is busy: %s", what, error)
        except StorageUnavailableError as error:
            log.error("%s: the storage failed: %s", what, error.strerror)
        except Exception:
            log.exception("%s", what)
        else:
            return True
        return False
