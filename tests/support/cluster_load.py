"""Clients of a whole cluster, which note what they are answered, while something else breaks its parts."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
from small_networks import architecture

PATIENCE_SECONDS = 600.0
SHORT = {"epochs": 2}
ENDLESS = {"epochs": 1000, "batch_size": 1}
PIXELS = np.random.default_rng(1).integers(0, 256, 784, dtype=np.uint8).tobytes()
# So many runs of the load may be under way: more would only queue, and what is broken next would have to wait for them.
MOST_ACTIVE = 3


class Asker:
    """A client that asks again, with the same key, until it is answered."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)

    def ask(self, method: str, path: str, *, key: str | None = None, **options: Any) -> httpx.Response:
        """The first answer that is not the server's fault, which has to be a success."""
        end = time.monotonic() + PATIENCE_SECONDS
        headers = options.pop("headers", {}) | ({"Idempotency-Key": key} if key else {})
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                response = self._http.request(method, path, headers=headers, **options)
                if response.status_code < 500:
                    assert response.is_success, (path, response.status_code, response.text)
                    return response
            time.sleep(0.2)
        raise AssertionError(f"{method} {path} was never answered")

    def train(self, hyperparams: dict[str, Any], units: int = 16) -> str:
        """The id of a run of a new model."""
        body = {"architecture": architecture(units), "hyperparams": hyperparams}
        key = uuid.uuid4().hex
        model_id = self.ask("POST", "/api/models", key=key, json=body).json()["model_id"]
        return str(self.ask("POST", f"/api/models/{model_id}/train", key=key).json()["run_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Its document."""
        document: dict[str, Any] = self.ask("GET", f"/api/runs/{run_id}").json()
        return document

    def until(self, run_id: str, epoch: int | None = None) -> dict[str, Any]:
        """The run when it has trained so many epochs, or ended."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (run := self.run(run_id))["state"] in ("queued", "running"):
            if epoch is not None and run["epoch"] >= epoch:
                break
            assert time.monotonic() < end, f"{run_id} does not end: {run} {self.ask('GET', '/api/status').text}"
            time.sleep(0.2)
        return run

    def learned(self, run_id: str) -> str:
        """The SHA-256 of the parameters of a run, when it has succeeded."""
        run = self.until(run_id)
        assert run["state"] == "succeeded", run
        file = self.ask("GET", f"/api/params/{run['param_id']}", params={"format": "safetensors"}).content
        return hashlib.sha256(file).hexdigest()

    def infer(self, param_id: str) -> Any:
        """What a parameter set gives for one image."""
        options: dict[str, Any] = {"param_id": param_id, "dtype": "uint8"}
        binary = {"Content-Type": "application/octet-stream"}
        return self.ask("POST", "/api/infer", params=options, content=PIXELS, headers=binary).json()["outputs"]


class Load:
    """Trains, cancels, and asks one parameter set again and again, until it is told to end."""

    def __init__(self, ask_with: Callable[[], Asker], param_id: str) -> None:
        self.trained: list[str] = []
        self.cancelled: dict[str, str] = {}  # run to the state that was answered
        self.inferred = 0
        self._ask_with = ask_with
        self._param_id = param_id
        self._over = threading.Event()
        self._failures: list[BaseException] = []

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """While the block runs. Raises what a client came upon."""
        acts = (self._train, self._cancel, self._infer)
        threads = [threading.Thread(target=self._noting, args=[act], daemon=True) for act in acts]
        for thread in threads:
            thread.start()
        yield
        self._over.set()
        for thread in threads:
            thread.join()
        self.look()

    def look(self) -> None:
        """Raise what a client has come upon so far."""
        assert not self._failures, self._failures

    def check_nothing_is_lost(self, expected: str) -> None:
        """All that was answered is there; `expected` is what each short run has learned."""
        asker = self._ask_with()
        for run_id in self.trained:
            assert asker.learned(run_id) == expected, run_id
        for run_id, state in self.cancelled.items():
            assert asker.run(run_id)["state"] == state, run_id
        for run_id in (*self.trained, *self.cancelled):
            asker.ask("GET", f"/api/models/{asker.run(run_id)['model_id']}")

    def __str__(self) -> str:
        return f"{len(self.trained)} runs, {len(self.cancelled)} cancels and {self.inferred} inferences answered"

    def _noting(self, act: Callable[[Asker], None]) -> None:
        try:
            act(self._ask_with())
        except BaseException as error:
            self._failures.append(error)

    def _train(self, asker: Asker) -> None:
        while not self._over.wait(1.0):
            self.trained.append(asker.train(SHORT))
            for run_id in self.trained[-MOST_ACTIVE:][: 1 - MOST_ACTIVE]:
                asker.until(run_id)

    def _cancel(self, asker: Asker) -> None:
        while not self._over.wait(1.0):
            run_id = asker.train(ENDLESS, units=4096)
            self._over.wait(5.0)
            self.cancelled[run_id] = asker.ask("POST", f"/api/runs/{run_id}/cancel").json()["state"]

    def _infer(self, asker: Asker) -> None:
        first = asker.infer(self._param_id)
        while not self._over.wait(0.1):
            assert asker.infer(self._param_id) == first
            self.inferred += 1
