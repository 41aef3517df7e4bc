"""What makes `/infer` fast must not be seen: the cache, the threads, and what is kept from one request to the next."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import peewee
import pytest
from serving import BINARY, Client, Document, pixels, until

from falcon_mnist.api.service import Service
from falcon_mnist.inference.predictors import Predictors
from falcon_mnist.server.dispatcher import Dispatcher
from falcon_mnist.storage.files import LocalFolder


@pytest.fixture(scope="module")
def another(client: Client) -> Document:
    """A second parameter set, of another model."""
    return client.trained(epochs=1, seed=7)


def test_requests_at_the_same_time_never_mix(client: Client, trained: Document, another: Document) -> None:
    """Hundreds of them, no two alike, each answered bit for bit as it is when it comes alone.

    Many have the same number of rows, so many that the forward pass gives up the GIL.
    """
    asked = []
    for seed in range(40):
        rows, param_id = pixels((1, 2, 160, 160, 160)[seed % 5], seed=seed), (trained, another)[seed % 2]["param_id"]
        if seed % 3:
            body = json.dumps({"param_id": param_id, "inputs": (rows / 255).tolist()})
            asked.append({"content": body, "headers": {"Content-Type": "application/json"}})
        else:
            query = {"param_id": param_id, "dtype": "uint8"}
            asked.append({"content": rows.tobytes(), "params": query, "headers": {"Content-Type": BINARY}})

    def answer(request: Document) -> Document:
        document: Document = client.post("/api/infer", **request).json()
        del document["latency_ms"]
        return document

    alone = [answer(ask) for ask in asked]
    assert len({str(document) for document in alone}) == len(asked)
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(answer, asked * 5)) == alone * 5


def test_a_second_request_asks_neither_the_database_nor_the_disk(
    client: Client, trained: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def noting(original: Any) -> Any:
        def note(*arguments: Any, **more: Any) -> Any:
            if threading.current_thread().name.startswith("waitress"):  # the executor looks at its queue meanwhile
                asked.append(arguments)
            return original(*arguments, **more)

        return note

    monkeypatch.setattr(peewee.Database, "execute_sql", noting(peewee.Database.execute_sql))
    monkeypatch.setattr(LocalFolder, "get", noting(LocalFolder.get))
    client.get(f"/api/params/{trained['param_id']}")
    assert asked  # so this notes what it should
    client.infer(trained["param_id"], (pixels(1) / 255).tolist())
    asked.clear()
    for rows in (1, 512):
        client.infer(trained["param_id"], (pixels(rows) / 255).tolist())
        query = {"param_id": trained["param_id"], "dtype": "uint8"}
        client.post("/api/infer", content=pixels(rows).tobytes(), params=query, headers={"Content-Type": BINARY})
    assert asked == []


def test_the_cache_forgets_what_was_used_longest_ago(
    service: tuple[Service, str], trained: Document, another: Document
) -> None:
    store, files = service[0].store, service[0].files
    ids = [trained["param_id"], another["param_id"]]
    roomy = Predictors(store, files)
    first, second = (roomy.get(param_id) for param_id in ids)
    assert first is not None
    assert second is not None
    assert [roomy.get(param_id) for param_id in ids] == [first, second]

    narrow = Predictors(store, files, limit=max(first.size_bytes, second.size_bytes))
    kept = narrow.get(ids[0])
    assert narrow.get(ids[0]) is kept
    assert narrow.get(ids[1]) is not None
    assert narrow.get(ids[0]) is not kept
    assert narrow.get("p_unknown") is None

    tiny = Predictors(store, files, limit=1)
    assert tiny.get(ids[0]) is tiny.get(ids[0])


def test_threads_that_ask_for_a_parameter_set_at_once_get_the_same_answers(
    service: tuple[Service, str], trained: Document
) -> None:
    predictors = Predictors(service[0].store, service[0].files)
    rows = pixels(3)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: predictors.get(trained["param_id"]), range(32)))
        answers = list(threads.map(lambda predictor: predictor(rows).logits.tobytes(), found))
    assert len(set(answers)) == 1


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
    threading.Timer(0.05, lambda: [task.may_end.set() for task in requests]).start()
    assert dispatcher.shutdown(timeout=30) is True
    assert dispatcher.threads == set()
    assert [task.cancelled for task in requests] == [False, False, True]
    assert "a request that fails" in caplog.text
