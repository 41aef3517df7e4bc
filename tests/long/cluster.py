"""A whole cluster, of which each part is lost in turn under load: whether anything that was answered is lost.

    python -m tests.long cluster                        # every part killed, then every part stopped for 20 seconds
    python -m tests.long cluster --faults kill:ray-head stop:postgresql

Starts deploy/local-cluster on a small data set. For each fault, a long run is disturbed in the middle while others are
created, trained and asked through nginx. Ends with status 1 unless the disturbed run ends with the parameters of an
undisturbed one, bit for bit, and every model and run that was answered is there and has succeeded, each with the
parameters that its seed gives. The S3 server is only stopped: it keeps its objects in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "deploy/local-cluster"), str(ROOT / "tests/support")]

from cluster import Cluster, running  # noqa: E402
from serving import write_digits  # noqa: E402

STOP_SECONDS = 20.0
AWAY_SECONDS = 3.0
PATIENCE_SECONDS = 600.0
LAYERS = [{"type": "linear", "in": 784, "out": 16}, {"type": "relu"}, {"type": "linear", "in": 16, "out": 10}]
ARCHITECTURE = {"input_size": 784, "layers": LAYERS}
LONG = {"epochs": 500, "batch_size": 32, "optimizer": {"momentum": 0.9}}
SHORT = {"epochs": 2}
PIXELS = np.random.default_rng(1).integers(0, 256, 784, dtype=np.uint8).tobytes()


class Asker:
    """A client that asks again, with the same key, until it is answered."""

    def __init__(self, cluster: Cluster) -> None:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        self._http = httpx.Client(base_url=cluster.url, headers=headers, timeout=30, trust_env=False)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        end = time.monotonic() + PATIENCE_SECONDS
        headers = {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" and "infer" not in path else {}
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                response = self._http.request(method, path, headers=headers, **options)
                if response.status_code < 500:
                    assert response.is_success, (path, response.status_code, response.text)
                    return response
            time.sleep(0.2)
        raise AssertionError(f"{method} {path} was never answered")

    def train(self, hyperparams: dict[str, Any]) -> str:
        body = {"architecture": ARCHITECTURE, "hyperparams": hyperparams}
        model_id = self.ask("POST", "/api/models", json=body).json()["model_id"]
        return str(self.ask("POST", f"/api/models/{model_id}/train").json()["run_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        document: dict[str, Any] = self.ask("GET", f"/api/runs/{run_id}").json()
        return document

    def until(self, run_id: str, epoch: int | None) -> dict[str, Any]:
        """The run when it has trained so many epochs, or ended."""
        end = time.monotonic() + PATIENCE_SECONDS
        while (run := self.run(run_id))["state"] in ("queued", "running"):
            if epoch is not None and run["epoch"] >= epoch:
                break
            assert time.monotonic() < end, run
            time.sleep(0.2)
        return run

    def learned(self, run_id: str) -> str:
        """The SHA-256 of the parameters of a run, when it has succeeded."""
        run = self.until(run_id, None)
        assert run["state"] == "succeeded", run
        file = self.ask("GET", f"/api/params/{run['param_id']}", params={"format": "safetensors"}).content
        return hashlib.sha256(file).hexdigest()


class Load:
    """Creates and trains, and asks one parameter set again and again, until it is told to end."""

    def __init__(self, cluster: Cluster, param_id: str) -> None:
        self.answered: list[str] = []
        self.inferred = 0
        self._cluster = cluster
        self._param_id = param_id
        self._over = threading.Event()
        self._failures: list[BaseException] = []

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._noting, args=[act]) for act in (self._train, self._infer)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        assert not self._failures, self._failures

    def _noting(self, act: Any) -> None:
        try:
            act(Asker(self._cluster))
        except BaseException as error:
            self._failures.append(error)

    def _train(self, asker: Asker) -> None:
        while not self._over.wait(1.0):
            self.answered.append(asker.train(SHORT))

    def _infer(self, asker: Asker) -> None:
        options = {"param_id": self._param_id, "dtype": "uint8"}
        headers: dict[str, Any] = {"params": options, "content": PIXELS}
        asker._http.headers["Content-Type"] = "application/octet-stream"
        first = asker.ask("POST", "/api/infer", **headers).json()["outputs"]
        while not self._over.wait(0.1):
            assert asker.ask("POST", "/api/infer", **headers).json()["outputs"] == first
            self.inferred += 1


def disturb(cluster: Cluster, fault: str, part: str) -> None:
    if fault == "kill":
        cluster.parts[part].kill()
        time.sleep(AWAY_SECONDS)
        cluster.start_part(part)
    else:
        cluster.parts[part].signal(signal.SIGSTOP)
        time.sleep(STOP_SECONDS)
        cluster.parts[part].signal(signal.SIGCONT)


def mend(cluster: Cluster) -> None:
    """Start what has ended because something else was away, as an operator would."""
    for part in cluster.parts.values():
        if not part.lives:
            part.kill()
            cluster.start_part(part.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", nargs="*", metavar="FAULT:PART")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mnist-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        write_digits(folder / "digits")
        with running(folder, dataset=str(folder / "digits")) as cluster:
            every = [f"{fault}:{part}" for fault in ("kill", "stop") for part in cluster.parts]
            every.remove("kill:s3")
            take_apart(cluster, options.faults or every)


def take_apart(cluster: Cluster, faults: list[str]) -> None:
    asker = Asker(cluster)
    undisturbed = asker.learned(asker.train(LONG))
    short = asker.train(SHORT)
    expected = asker.learned(short)
    load = Load(cluster, asker.run(short)["param_id"])
    with load.under_way():
        for each in faults:
            fault, _, part = each.partition(":")
            start = time.monotonic()
            run_id = asker.train(LONG)
            before = asker.until(run_id, 20)
            disturb(cluster, fault, part)
            mend(cluster)
            learned = asker.learned(run_id)
            disturbed = "while it trained" if before["state"] == "running" else "after it had ended"
            print(f"{each}: {time.monotonic() - start:.0f} s, {disturbed}", flush=True)
            assert learned == undisturbed, f"{each}: other parameters"
    for run_id in load.answered:
        assert asker.learned(run_id) == expected, run_id
    print(f"{len(faults)} faults; {len(load.answered)} runs and {load.inferred} inferences answered, and nothing lost")


if __name__ == "__main__":
    main()
