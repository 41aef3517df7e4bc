"""The threads that requests are answered in, which wait at a queue that is written in C."""

from __future__ import annotations

import itertools
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from waitress.task import ThreadedTaskDispatcher


class Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]
    """In place of waitress's own, whose threads wait for a condition variable written in Python.

    To wake one of those takes two locks, and the GIL changes hands in between, for which busy threads wait. With short
    requests, such as one row of `/infer`, that took a fifth of the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self._numbers = itertools.count()

    def set_thread_count(self, count: int) -> None:
        """Start threads, or have some end after their request, until there are `count`."""
        with self.lock:
            for _ in range(count - len(self.threads)):
                number = next(self._numbers)
                self.threads.add(number)
                self.start_new_thread(self.handler_thread, number)
            for _ in range(len(self.threads) - count):
                self.queue.put(None)

    def handler_thread(self, thread_no: int) -> None:
        """Answer requests, one after the other."""
        while (task := self.queue.get()) is not None:
            try:
                task.service()
            except BaseException:
                self.logger.exception("Exception when servicing %r", task)
            del task  # it holds the request
        with self.lock:
            self.threads.discard(thread_no)
            self.thread_exit_cv.notify()

    def add_task(self, task: Any) -> None:
        """Have a thread answer a request (its channel)."""
        self.queue.put(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End the threads, each after its request, within `timeout` seconds; requests that wait are dropped."""
        waiting = []
        with suppress(Empty):
            while cancel_pending:
                waiting.append(self.queue.get_nowait())
        self.set_thread_count(0)
        with self.lock:
            if not self.thread_exit_cv.wait_for(lambda: not self.threads, timeout):
                self.logger.warning("%d thread(s) still running", len(self.threads))
        for task in filter(None, waiting):
            task.cancel()
        return cancel_pending
