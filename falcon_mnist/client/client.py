"""The demo's client: the API's main flow over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

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

    def finish(self, run_id: str) -> dict[str, Any]:
        """Let a running run succeed at the end of the epoch under way."""
        return self._ask("POST", f"/api/runs/{quote(run_id, safe='')}/finish")

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

    def export(self, param_id: str, name: str) -> bytes:
        """A parameter set in one of the formats of the API."""
        return self._response("GET", f"/api/params/{quote(param_id, safe='')}", params={"format": name}).content

    def import_parameters(self, data: bytes, *, as_json: bool, activation: str | None) -> dict[str, Any]:
        """Bring a parameter set, as JSON or as a safetensors file; `param_id` and `model_id` are in the answer."""
        headers = {"Content-Type": "application/json" if as_json else "application/vnd.safetensors"}
        query = {} if activation is None else {"activation": activation}
        return self._ask("POST", "/api/params", content=data, headers=headers, params=query)

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._response(method, path, **options).json()
        return answer

    def _response(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ClientError(f"no server answers at {self._http.base_url} ({error}): start one, or name it") from None
        if response.is_error:
            raise ClientError(f"{method} {path} answered {response.status_code}: {_detail(response)}")
        return response


def _detail(response: httpx.Response) -> str:
    """What a refusal says, fault by fault; a proxy's may say nothing."""
    try:
        problem = response.json()
        faults = [f"{fault['pointer']}: {fault['detail']}" for fault in problem.get("errors", [])]
        return "; ".join(faults) or str(problem["detail"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return response.reason_phrase
