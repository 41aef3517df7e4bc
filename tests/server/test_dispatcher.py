"""The threads that requests are answered in."""

from __future__ import annotations

import threading

import pytest
from asking import until

from falcon_mnist.server.dispatcher import Dispatcher


class Request:
    """A task of the dispatcher, which waits until it may go on."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.cancelled = threading.Event(), threading.Event(), False

    def service(self) -> None:
        self.begun.set()
        self.may_end.wait()

    def cancel(self) -> None:
        self.cancelled = True


class Failing(Request):
    def service(self) -> None:
        self.begun.set()
        raise ValueError("a request that fails")


def test_the_dispatcher_answers_drops_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher()
    dispatcher.set_thread_count(3)
    dispatcher.set_thread_count(2)
    until(lambda: len(dispatcher.threads) == 2, "one thread has ended")
    failing = [Failing() for _ in range(4)]
    for task in failing:
        dispatcher.add_task(task)
    assert all(task.begun.wait(30) for task in failing)
    requests = [Request() for _ in range(3)]
    for task in requests:
        dispatcher.add_task(task)
    assert all(task.begun.wait(30) for task in requests[:2])

    def let_go() -> None:
        until(lambda: dispatcher.queue.qsize() != 1, "the one that waits has been dropped")
        for task in requests:
            task.may_end.set()

    threading.Thread(target=let_go).start()
    assert dispatcher.shutdown(timeout=30) is True
    assert dispatcher.threads == set()
    assert [task.cancelled for task in requests] == [False, False, True]
    assert "a request that fails" in caplog.text
