"""The demo's client: the API's main flow over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from falcon_mnist.constants import MAX_ROWS


class ClientError(Exception):
    """A request that was refused; the message is one sentence."""


class Client:
    """One connection to a server."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def create_model(self, architecture: dict[str, Any], hyperparams: dict[str, Any]) -> str:
        """The id of a new model."""
        body = {"architecture": architecture, "hyperparams": hyperparams}
        return str(self._ask("POST", "/api/models", json=body)["model_id"])

    def train(self, model_id: str) -> str:
        """The id of a new run."""
        return str(self._ask("POST", f"/api/models/{model_id}/train")["run_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """How far a run has come."""
        return self._ask("GET", f"/api/runs/{run_id}")

    def evaluation(self, param_id: str) -> dict[str, Any]:
        """What a parameter set reaches on the test images."""
        return self._ask("GET", f"/api/params/{param_id}/evaluation")

    def cancel(self, run_id: str) -> None:
        """End a run."""
        self._ask("POST", f"/api/runs/{run_id}/cancel")

    def labels(self, param_id: str, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Predicted labels of images (n, 784)."""
        found: list[int] = []
        for start in range(0, len(images), MAX_ROWS):
            answer = self._ask(
                "POST",
                "/api/infer",
                params={"param_id": param_id, "dtype": "uint8", "return": "labels"},
                content=images[start : start + MAX_ROWS].tobytes(),
                headers={"Content-Type": "application/octet-stream"},
            )
            found += answer["outputs"]["labels"]
        return np.array(found)

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._http.request(method, path, **options)
        if response.is_error:
            raise ClientError(f"{method} {path} answered {response.status_code}: {response.json()['detail']}")
        answer: dict[str, Any] = response.json()
        return answer
