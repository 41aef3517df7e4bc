"""What the service's tests share: a small data set, servers, and a client that checks every answer."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Self

import endless
import forking
import httpx
import numpy as np
import orjson
from jsonschema_rs import Draft202012Validator

from falcon_mnist.client import Client as ApiClient
from falcon_mnist.client import network
from falcon_mnist.constants import ACTIVE, STATES
from falcon_mnist.data import idx

WRITE = "the-token-that-may-write-8c1f"
READ = "the-token-that-may-read-8c1f"

# The most bytes in a body that `limited_server` takes.
LIMITED_BODY = 20_000

TERMINAL = tuple(state for state in STATES if state not in ACTIVE)
# Nothing here should take long; a test that waits this long has failed.
PATIENCE = 60.0

JSON = "application/json"
PROBLEM = "application/problem+json"
BINARY = "application/octet-stream"
SAFETENSORS = "application/vnd.safetensors"

# Options of httpx clients that need no TLS and no proxies: reading certificates takes 20 ms of CPU time.
PLAIN: dict[str, Any] = {"verify": False, "trust_env": False}

Document = dict[str, Any]

# The hyperparameters of a model that names none.
SGD = {"type": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
DEFAULTS: dict[str, Any] = {
    "epochs": 5,
    "batch_size": 64,
    "optimizer": SGD,
    "schedule": {"type": "constant", "warmup_epochs": 0.0},
    "dropout": {"input": 0.0, "hidden": 0.0},
    "label_smoothing": 0.0,
    "augmentation": None,
    "averaging": 0.0,
    "loss": "cross_entropy",
    "seed": 42,
    "train_split": 0.9,
    "shuffle": True,
    "early_stopping": None,
    "keep": "last",
}


def write_digits(folder: Path) -> Path:
    """600 training and 100 test images in IDX files: ten fixed pictures under noise, easily told apart."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(20240607)
    pictures = random.integers(0, 200, (10, 784))
    for part, count in (("train", 600), ("t10k", 100)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = (pictures[labels] + random.integers(0, 56, (count, 784))).astype(np.uint8)
        idx.write(folder / f"{part}-images-idx3-ubyte", [idx.header(idx.IMAGES, count), images.tobytes()])
        idx.write(folder / f"{part}-labels-idx1-ubyte", [idx.header(idx.LABELS, count), labels.tobytes()])
    return folder


def linear(inputs: int, outputs: int) -> Document:
    return {"type": "linear", "in": inputs, "out": outputs}


def architecture(*hidden: int, activation: str = "relu", softmax: bool = False) -> Document:
    """784 pixels, hidden layers of these widths, 10 classes."""
    return dict(network(*hidden, activation=activation, softmax=softmax))


SMALL = architecture(16)
# Too long to end within a test; workers in tests sleep between its steps (`endless`).
ENDLESS = {"architecture": architecture(1024, 1024), "hyperparams": {"epochs": endless.EPOCHS}}


def pixels(rows: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 784), dtype=np.uint8)


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true value of `condition`, asked again and again; fails if none comes in `patience` seconds.

    The longer it has waited, the longer it waits until it asks again: what is waited for needs the CPU.
    """
    begin = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begin
        assert waited < patience, f"waited in vain until {what}"
        time.sleep(min(0.1, max(0.005, waited / 8)))
    return value


def listed(run: Document) -> Document:
    """A run as lists show it."""
    return {name: value for name, value in run.items() if name != "history"}


class Description:
    """The OpenAPI document of a server, against which its answers are held."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.seen: set[tuple[str, str, str]] = set()  # (path, method, status)
        self._validators: dict[str, Draft202012Validator] = {}
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), path)
            for path in document["paths"]
        ]

    def operation(self, method: str, path: str) -> tuple[str, Document] | None:
        for pattern, template in self._paths:
            if pattern.fullmatch(path) and method.lower() in self.document["paths"][template]:
                return template, self.document["paths"][template][method.lower()]
        return None

    def validator(self, schema: Document) -> Draft202012Validator:
        key = json.dumps(schema)
        if key not in self._validators:
            # The references of a schema begin at the root of the document that it stands in.
            rooted = schema | {"components": self.document["components"]}
            self._validators[key] = Draft202012Validator(rooted, validate_formats=True)
        return self._validators[key]

    def check(self, response: httpx.Response) -> None:
        """The status must be one that the operation can answer with, and the body as its schema says."""
        request = response.request
        method = "GET" if request.method == "HEAD" else request.method
        found = self.operation(method, request.url.path)
        if found is None:
            known = method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE")
            assert response.status_code in (401, 404, 405) or not known, response.text
            return
        template, operation = found
        status = str(response.status_code)
        assert status in operation["responses"], f"{method} {template} must not answer {status}: {response.text}"
        self.seen.add((template, method.lower(), status))
        described = operation["responses"][status]
        for name, header in described.get("headers", {}).items():
            assert name in response.headers
            self.validator(header["schema"]).validate(response.headers[name])
        if "content" not in described:
            assert not response.content
            return
        content = described["content"][response.headers["Content-Type"]]
        if request.method != "HEAD" and response.headers["Content-Type"] in (JSON, PROBLEM):
            self.validator(content["schema"]).validate(shortened(orjson.loads(response.content)))

    def accepts(self, method: str, path: str, body: Any) -> bool:
        """Whether the document says that this body is valid."""
        found = self.operation(method, path)
        assert found
        schema = found[1]["requestBody"]["content"][JSON]["schema"]
        return self.validator(schema).is_valid(body)


def shortened(value: Any) -> Any:
    """The document without the middle of its long arrays: the weights of a layer, or epochs of a run, are of one kind.

    To check a run of 100 epochs against its schema takes 7 ms, and a test that waits for one asks ten times a second.
    """
    if isinstance(value, dict):
        return {name: shortened(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shortened(entry) for entry in (value if len(value) <= 20 else value[:3] + value[-3:])]
    return value


def check_every_answer(response: httpx.Response) -> None:
    """What holds for every answer, whatever was asked."""
    sent = response.request.headers.get("Authorization", "").partition(" ")[2]
    for secret in (WRITE, READ, sent):
        assert not secret or secret not in response.text
        assert not secret or secret not in str(response.headers)
    request_id = response.headers["X-Request-ID"]
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", request_id)
    if response.status_code < 400 or response.request.method == "HEAD":
        return
    assert not re.search(r"Traceback|\.py\b|/tmp/|/home/|SELECT|INSERT|sqlite", response.text)
    if response.request.url.path.lstrip("/").startswith("v2"):  # the Open Inference Protocol's own form
        assert response.headers["Content-Type"] == JSON
        assert list(response.json()) == ["error"]
        return
    assert response.headers["Content-Type"] == PROBLEM
    problem = response.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(problem) <= {
        "type", "title", "status", "detail", "instance", "errors", "limit_bytes"
    }  # fmt: skip
    assert problem["status"] == response.status_code
    assert problem["instance"] == request_id
    assert ("limit_bytes" in problem) == (response.status_code == 413)
    assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401)
    assert ("Allow" in response.headers) == (response.status_code == 405)
    assert ("Retry-After" in response.headers) == (response.status_code == 503)


class Checking(httpx.HTTPTransport):
    """The network, with every answer held against the contract and against a description."""

    def __init__(self, description: Description) -> None:
        super().__init__(**PLAIN)
        self._description = description

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        response.request = request
        response.read()
        check_every_answer(response)
        self._description.check(response)
        return response


class Client:
    """Asks a server, and holds every answer against the contract and against the server's own description.

    `api` is the client that others use, without a second try: nothing that a server refuses stays unseen.
    """

    def __init__(self, url: str, token: str = WRITE) -> None:
        self.url = httpx.URL(url)
        self.token = token
        self._http = httpx.Client(base_url=url, timeout=PATIENCE, **PLAIN)
        self.description = Description(self._ask("GET", "/api/openapi.json").json())
        self.api = ApiClient(url, token, timeout=PATIENCE, retries=0, transport=Checking(self.description))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()
        self.api.close()

    def request(self, method: str, path: str, *, token: str | None = "", **options: Any) -> httpx.Response:
        """Ask with the client's token, another one, or (None) without."""
        response = self._ask(method, path, token=token, **options)
        check_every_answer(response)
        self.description.check(response)
        return response

    def _ask(self, method: str, path: str, *, token: str | None = "", **options: Any) -> httpx.Response:
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers.setdefault("Authorization", f"Bearer {token or self.token}")
        return self._http.request(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Post `body` as JSON, or `content=` as it is."""
        if body is not None:
            options["content"] = json.dumps(body)
        if "content" in options:
            options["headers"] = {"Content-Type": JSON} | dict(options.get("headers", {}))
        return self.request("POST", path, **options)

    def raw(self, request: bytes) -> httpx.Response:
        """Send bytes over a connection of its own, and check what comes back."""
        with self.connect() as connection:
            connection.sendall(request)
            return self.received(connection, request)

    def connect(self) -> socket.socket:
        return socket.create_connection((self.url.host, self.url.port), timeout=PATIENCE)

    def received(self, connection: socket.socket, request: bytes) -> httpx.Response:
        method, path, _ = request.split(b"\r\n")[0].decode("latin-1").split(" ")
        answer = HTTPResponse(connection, method=method)
        answer.begin()
        headers = dict(answer.getheaders())
        asked = httpx.Request(method, self.url.join(path))
        response = httpx.Response(answer.status, headers=headers, content=answer.read(), request=asked)
        check_every_answer(response)
        self.description.check(response)
        return response

    # Models, runs and inference

    def model(self, body: Document | None = None, **hyperparams: Any) -> str:
        """The id of a new model; a small one unless `body` says otherwise."""
        wanted = body or {"architecture": SMALL, "hyperparams": hyperparams}
        return self.api.create_model(wanted["architecture"], wanted.get("hyperparams"))["model_id"]

    def train(self, model_id: str, **hyperparams: Any) -> str:
        """The id of a new run."""
        return self.api.train(model_id, hyperparams)["run_id"]

    def run(self, run_id: str) -> Document:
        return dict(self.api.run(run_id))

    def wait(self, run_id: str, *states: str) -> Document:
        """The run as soon as it is in one of these states, all terminal ones unless given."""
        wanted = states or TERMINAL

        def arrived() -> Document | None:
            run = self.run(run_id)
            assert run["state"] in wanted or run["state"] not in TERMINAL, run
            return run if run["state"] in wanted else None

        found: Document = until(arrived, f"the run is {' or '.join(wanted)}")
        return found

    def trained(self, body: Document | None = None, **hyperparams: Any) -> Document:
        """A run that has succeeded."""
        hyperparams = {"epochs": 1} | hyperparams
        return self.wait(self.train(self.model(body, **({} if body else hyperparams))), "succeeded")

    @contextmanager
    def endless_run(self, *, running: bool = True) -> Iterator[Document]:
        """A run that does not end before this block does."""
        run_id = self.train(self.model(ENDLESS))
        try:
            yield self.wait(run_id, "running" if running else "queued")
        finally:
            self.post(f"/api/runs/{run_id}/cancel")

    def infer(self, param_id: str, rows: Any, **returns: bool) -> Document:
        body = {"param_id": param_id, "inputs": rows} | ({"return": returns} if returns else {})
        response = self.post("/api/infer", body)
        assert response.status_code == 200, response.text
        document: Document = response.json()
        return document


def pointers(response: httpx.Response) -> list[str]:
    """Where the problem says that the faults are, sorted."""
    return sorted(fault["pointer"] for fault in response.json()["errors"])


def kind(response: httpx.Response) -> str:
    """The last part of the problem's type."""
    prefix, _, name = response.json()["type"].rpartition(":")
    assert prefix == "urn:falcon-mnist:problem"
    return str(name)


class OnDisk:
    """What a server keeps on disk, seen past it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.storage = home / "storage"
        self.database = home / "falcon-mnist.db"

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def change(self, sql: str) -> None:
        """Change the database behind the server's back."""
        connection = sqlite3.connect(self.database)
        with connection:
            connection.execute(sql)
        connection.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock for writing: as a process that was stopped in the middle of a transaction does."""
        with closing(sqlite3.connect(self.database, timeout=PATIENCE)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def everything(self) -> tuple[Any, ...]:
        """The ids of all rows and the names of all stored files but checkpoints, which workers write at any time."""
        tables = ("models", "runs", "parameter_sets")
        rows = [self.query(f"SELECT id FROM {table} ORDER BY id") for table in tables]
        return *rows, sorted(str(path) for path in self.storage.rglob("*") if "checkpoints" not in path.parts)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Fails if the block leaves a row or a file behind."""
        before = self.everything()
        yield
        assert self.everything() == before

    def parameter_file(self, param_id: str) -> Path:
        return self.storage / "parameters" / f"{param_id}.safetensors"


COMMANDS = Path(sys.executable).parent


def environment(home: Path, **settings: object) -> dict[str, str]:
    """This process's environment with these settings of the service, written in small letters, and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
    given = {"home": home, "tokens": WRITE} | settings
    return kept | {f"FALCON_MNIST_{name.upper()}": str(value) for name, value in given.items() if value is not None}


class Server:
    """A server in a process of its own: one as `falcon-mnist serve` starts, or what `main`, or `command`, names."""

    def __init__(
        self,
        variables: Mapping[str, str],
        *command: str,
        main: str = "forked_workers:serve",
        arguments: Sequence[str] = (),
    ) -> None:
        self.home = Path(variables["FALCON_MNIST_HOME"])
        self.on_disk = OnDisk(self.home)
        self.home.mkdir(parents=True, exist_ok=True)
        self._output = (self.home / "stdout.txt").open("ab")
        self._log = (self.home / "stderr.txt").open("ab")
        self._skip = self._output.tell()  # an earlier server of this home may have printed to the file
        # Its own session, so that a signal to its group is what Ctrl-C in its terminal is.
        self.process: subprocess.Popen[bytes] | forking.Program
        if command:
            self.process = subprocess.Popen(
                command, env=dict(variables), stdout=self._output, stderr=self._log, start_new_session=True
            )
        else:
            files = (None, self._output.fileno(), self._log.fileno())
            self.process = forking.Program(main, *arguments, env=variables, files=files)

    def output(self) -> str:
        """What this server has printed so far."""
        return (self.home / "stdout.txt").read_text()[self._skip :]

    def log(self) -> str:
        return (self.home / "stderr.txt").read_text()

    def url(self) -> str:
        """The address that it prints."""

        def printed() -> re.Match[str] | None:
            assert self.process.poll() is None, self.log()
            return re.search(r"^Serving at (http://[\d.]+:\d+)/api ", self.output(), re.MULTILINE)

        return str(until(printed, "the server prints its address")[1])

    def workers(self) -> list[int]:
        """The ids of its worker processes."""
        spawned = [pid for pid in children(self.process.pid) if b"spawn_main" in command_line(pid)]
        return spawned + forking.forked_by(self.process.pid)

    def stop(self, how: signal.Signals | None = signal.SIGTERM) -> int:
        """End it, or wait for its end, and give its exit code; no token may have come into its log."""
        if how is not None and self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=PATIENCE)
        self._output.close()
        self._log.close()
        for secret in (WRITE, READ):
            assert secret not in self.output() + self.log()
        return code


def children(pid: int) -> list[int]:
    """The ids of the processes that this one has started and that have not ended."""
    found: list[int] = []
    with suppress(FileNotFoundError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # this thread has ended since
                found += map(int, (thread / "children").read_text().split())
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is not just waiting for its parent to notice that it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
