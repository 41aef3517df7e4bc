"""Large bodies and large answers, eight at a time, with a read-only token: others are served as if they were not there.

Eight of any of these, two to three times as large, once kept all threads for 5 to 110 s, or took 1 to 3 GB. These are
larger than what one may take while others wait, which is all that counts. How long others wait at most is measured
by bench/promises.py; here they are counted.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import pytest
from asking import JSON, PATIENCE, READ, SAFETENSORS, WRITE, Document, until
from checking_client import Client
from raw_http import Gauge
from server_process import Server, environment
from small_networks import SMALL, architecture

ONCE = 8
MEMORY = 340 * 2**20  # they take up to 280 MB; without turns, most take 350 to 530 MB
AFTERWARDS = 230 * 2**20
# So many others are answered while eight go on asking. Behind requests that keep all threads for seconds, that many
# would take longer than a test waits.
OTHERS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("large") / "home"
    tokens = home.parent / "tokens"
    tokens.write_text(f"{WRITE}\n{READ} read\n")
    tokens.chmod(0o600)
    server = Server(environment(home, tokens=None, tokens_file=tokens, dataset=digits, workers=1))
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def large(server: Server) -> Document:
    """A finished run with 4.8 million parameters: 19 MB of file, 52 MB of JSON."""
    with Client(server.url()) as client:
        return client.trained({"architecture": architecture(6_000), "hyperparams": {"epochs": 1, "batch_size": 512}})


class Ask(NamedTuple):
    """A request that is made again and again."""

    method: str
    path: str
    content: bytes | None = None
    accept: str = "*/*"
    token: str = READ

    def __call__(self, url: str) -> int:
        """Its status, once the answer is read to its end. httpx would take more of a CPU than the server does."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": JSON, "Accept": self.accept}
        with closing(HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
                connection.request(self.method, self.path, self.content, headers)
            answer = connection.getresponse()
            piece = bytearray(2**18)
            while answer.readinto(piece):
                pass
            assert not answer.length, "it ended too soon"
            return answer.status


def at_once(server: Server, *asks: Ask) -> list[set[int]]:
    """The statuses of each request: eight are made at the same time, these in turn, each once or more often."""
    url = server.url()
    enough = threading.Event()
    statuses: list[set[int]] = [set() for _ in asks]

    def go_on(at: int) -> None:
        statuses[at].add(asks[at](url))
        while not enough.is_set():
            statuses[at].add(asks[at](url))

    with Gauge(server, url) as gauge, ThreadPoolExecutor(ONCE) as threads:
        asked = [threads.submit(go_on, number % len(asks)) for number in range(ONCE)]
        try:
            gauge.wait_for(OTHERS)
        finally:
            enough.set()
        for each in asked:
            each.result()
    assert gauge.failures == []
    assert gauge.peak_bytes < MEMORY
    return statuses


def repeated(before: bytes, unit: bytes, count: int, after: bytes) -> bytes:
    return before + (unit + b",") * (count - 1) + unit + after


def weights() -> bytes:
    """A valid body of 24 MB."""
    random = np.random.default_rng(1)
    layers = [
        {"type": "linear", "W": random.standard_normal((784, 2800), dtype=np.float32), "b": np.zeros(2800, np.float32)},
        {"type": "relu"},
        {"type": "linear", "W": random.standard_normal((2800, 10), dtype=np.float32), "b": np.zeros(10, np.float32)},
    ]
    parameters = {"layers": layers, "dtype": "float32", "layout": "row_major"}
    rows = np.zeros((512, 784), np.float32)
    document = {"architecture": architecture(2800), "parameters": parameters, "inputs": rows}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


# Of these, eight at once would take the most memory.
LARGE: dict[str, Callable[[], bytes]] = {
    "the most numbers": lambda: repeated(b'{"b":[', b"1", 10_900_000, b"]}"),
    "a million rows, the last one ragged": lambda: repeated(b'{"W":[', b"[1,1,1,1,1,1,1,1,1,1]", 1_000_000, b",[1]]}"),
    "12 MB that are cut off": lambda: repeated(b'{"W":[', b"1", 6_000_000, b""),
    "a name of 24 MB": lambda: b'{"%s":1}' % (b"a" * 24_000_000),
}
# And these would take the most time.
LONG: dict[str, Callable[[], bytes]] = {
    "numbers in the middle of two float32": lambda: repeated(
        b'{"a":[', b'{"W":[[16777217]]}' + b" " * 2500, 4000, b"]}"
    ),
    "a member twice, and 24 MB of strings": lambda: repeated(b'{"a":1,"a":2,"x":[', b'"aa"', 4_800_000, b"]}"),
    "a member twice, and 12 MB of strings": lambda: repeated(b'{"a":1,"a":2,"x":[', b'"aa"', 2_400_000, b"]}"),
    "24 MB of decimals with 49 digits": lambda: repeated(b'{"b":[', b"0." + b"3" * 47, 480_000, b"]}"),
    "24 MB of decimals with 42 digits": lambda: repeated(
        b'{"b":[', b"100000005960464477539.062500000000000000001", 560_000, b"]}"
    ),
    "the most numbers in 8 MB": lambda: repeated(b'{"b":[', b"1", 4_190_000, b"]}"),
}


@pytest.mark.parametrize("bodies", [LARGE, LONG], ids=["large", "long"])
def test_large_bodies_take_turns(server: Server, bodies: dict[str, Callable[[], bytes]]) -> None:
    asks = [Ask("POST", "/api/infer_adhoc", make()) for make in bodies.values()]
    statuses = at_once(server, *asks)
    assert any(each != {503} for each in statuses)
    for name, ask, each in zip(bodies, asks, statuses, strict=True):
        refused = each - {503} or {ask(server.url())}  # now that it need not wait for a turn
        assert refused <= {400, 413, 422}, name


def test_large_parameters_take_turns_and_their_memory_is_given_back(server: Server) -> None:
    """It stayed with the server: 250 to 290 MB after all these bodies, up to 180 MB now."""
    (statuses,) = at_once(server, Ask("POST", "/api/infer_adhoc", weights()))
    assert 200 in statuses
    assert statuses <= {200, 503}
    gauge = Gauge(server, server.url())
    until(lambda: gauge.resident_bytes < AFTERWARDS, "memory is given back")  # which follows the answer


@pytest.mark.parametrize("accept", [JSON, SAFETENSORS])
def test_large_answers_take_turns(server: Server, large: Document, accept: str) -> None:
    """And who asks how large one is does not wait for it."""
    path = f"/api/params/{large['param_id']}"
    most = [Ask("GET", path, accept=accept)] * (ONCE - 1)
    *statuses, size = at_once(server, *most, Ask("HEAD", path, accept=accept))
    assert 200 in set().union(*statuses)
    assert set().union(*statuses) <= {200, 503}
    assert size == {200}


def test_a_large_set_that_no_one_has_asked_for_is_loaded_once(server: Server, large: Document) -> None:
    body = {"param_id": large["param_id"], "inputs": np.zeros((64, 784), np.float32)}
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    assert at_once(server, Ask("POST", "/api/infer", content)) == [{200}]


def test_a_page_of_long_runs_costs_no_more_than_its_runs(server: Server, large: Document) -> None:
    """A hundred runs of a thousand epochs."""
    with sqlite3.connect(server.home / "falcon-mnist.db") as database:
        copies = {"number": "NULL", "id": "printf('r_%032x', n)", "state": "'cancelled'", "epoch": 1000}
        copy(database, "runs", f"id = '{large['run_id']}'", 100, copies | {"idempotency_key": "NULL"})
        copies = {"run_id": "printf('r_%032x', n / 1000)", "epoch": "n % 1000 + 1"}
        copy(database, "epochs", f"run_id = '{large['run_id']}'", 100_000, copies)
    database.close()
    page, run = f"/api/models/{large['model_id']}/runs?limit=100", f"/api/runs/r_{5:032x}"
    assert at_once(server, Ask("GET", page), Ask("GET", run)) == [{200}, {200}]
    with Client(server.url(), READ) as client:
        shown = client.get(page)
        assert len(shown.json()["items"]) == 100
        assert len(shown.content) < 2**17


def copy(database: sqlite3.Connection, table: str, which: str, times: int, changed: Document) -> None:
    """Copies of a row, in which some columns are these expressions of `n`, its number."""
    names = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
    values = [str(changed.get(name, name)) for name in names]
    database.execute(
        f"WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {times})"
        f" INSERT INTO {table} SELECT {', '.join(values)} FROM {table}, numbers WHERE {which}"
    )


def test_a_locked_database_keeps_few_threads_and_is_given_up(server: Server) -> None:
    server.url()
    database = sqlite3.connect(server.home / "falcon-mnist.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    content = json.dumps({"architecture": SMALL}).encode()
    statuses = at_once(server, Ask("POST", "/api/models", content, token=WRITE))
    database.execute("ROLLBACK")
    database.close()
    assert statuses == [{503}]
    with Client(server.url()) as client:
        assert client.post("/api/models", {"architecture": SMALL}).status_code == 200


def test_long_accept_headers_are_refused_and_not_kept(server: Server, large: Document) -> None:
    path = f"/api/params/{large['param_id']}"
    with Client(server.url(), READ) as client:
        for number in range(10):
            accept = f"a/{number}," * 2000
            assert client.get(path, headers={"Accept": accept}).status_code in (400, 431)
        assert client.request("HEAD", path, headers={"Accept": "text/html, */*;q=0.1"}).status_code == 200
