"""Removal as clients see it: what is gone, what is refused, and what the log says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asking import READ, Document, until
from checking_client import Client, kind, until_there_is_room
from falcon.testing import TestClient
from on_disk import OnDisk
from server_process import Server
from small_networks import SMALL, architecture, pixels

from falcon_mnist.api.app import build_app
from falcon_mnist.api.service import Service
from falcon_mnist.inference.predictors import LOOK_SECONDS
from falcon_mnist.storage.files import LocalFolder, Written
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.store import Store
from falcon_mnist.storage.tables import ParameterRow


def paths_of(run: Document) -> dict[str, str]:
    ids = {"models": run["model_id"], "runs": run["run_id"], "params": run["param_id"]}
    return {name: f"/api/{name}/{row_id}" for name, row_id in ids.items()}


def statuses(client: Client, run: Document) -> list[int]:
    """Of the model, the run, the parameter set, its evaluation, and an inference with it."""
    paths = paths_of(run)
    asked = (*(paths[name] for name in ("models", "runs", "params")), f"{paths['params']}/evaluation")
    return [*(client.get(path).status_code for path in asked), inferred(client, run)]


def inferred(client: Client, run: Document) -> int:
    """The status of an inference."""
    body = {"param_id": run["param_id"], "inputs": (pixels(1) / 255).tolist()}
    return client.post("/api/infer", body).status_code


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("models", [404, 404, 404, 404, 404]),
        ("runs", [200, 404, 404, 404, 404]),
        ("params", [200, 200, 404, 404, 404]),
    ],
)
def test_what_is_deleted_is_unknown_from_then_on(client: Client, on_disk: OnDisk, what: str, left: list[int]) -> None:
    run = client.trained()
    assert statuses(client, run) == [200] * 5
    deleted = client.request("DELETE", paths_of(run)[what])
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert statuses(client, run) == left
    assert not on_disk.parameter_file(run["param_id"]).exists()
    again = client.request("DELETE", paths_of(run)[what])
    assert (again.status_code, again.headers["content-type"]) == (404, "application/problem+json")
    if what == "params":
        assert client.run(run["run_id"]) == run


def test_what_an_active_run_needs_is_refused_and_stays(client: Client, trained: Document) -> None:
    with client.endless_run() as active:
        for path in (f"/api/models/{active['model_id']}", f"/api/runs/{active['run_id']}"):
            refused = client.request("DELETE", path)
            assert (refused.status_code, kind(refused)) == (409, "in-use")
            assert active["run_id"] in refused.json()["detail"]
        assert client.run(active["run_id"])["state"] == "running"
    until(lambda: client.run(active["run_id"])["state"] == "cancelled", "it is cancelled")
    assert client.request("DELETE", f"/api/models/{active['model_id']}").status_code == 204


def test_a_read_only_token_deletes_nothing(client: Client, trained: Document) -> None:
    for path in paths_of(trained).values():
        refused = client.request("DELETE", path, token=READ)
        assert (refused.status_code, kind(refused)) == (403, "read-only-token")
    assert statuses(client, trained) == [200] * 5


def test_a_query_is_refused_before_anything_is_deleted(client: Client, trained: Document) -> None:
    for path in paths_of(trained).values():
        assert client.request("DELETE", f"{path}?force=1").status_code == 422
    assert statuses(client, trained) == [200] * 5


def test_an_idempotency_key_is_free_again(client: Client) -> None:
    body, headers = {"architecture": SMALL}, {"Idempotency-Key": "removed-and-made-again"}
    first = client.post("/api/models", body, headers=headers).json()["model_id"]
    assert client.post("/api/models", body, headers=headers).json()["model_id"] == first
    client.request("DELETE", f"/api/models/{first}")
    assert client.post("/api/models", body, headers=headers).json()["model_id"] != first


def test_each_removal_is_a_line_in_the_log_that_names_the_token(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    model_id = client.model()
    with caplog.at_level(logging.INFO, "falcon_mnist"):
        client.request("DELETE", f"/api/models/{model_id}")
    (line,) = [record for record in caplog.records if record.getMessage() == f"{model_id} removed"]
    assert (line.token, line.runs, line.parameter_sets) == ("line 2", 0, 0)  # type: ignore[attr-defined]
    assert line.request_id  # type: ignore[attr-defined]


def test_requests_beside_a_removal_are_answered_or_find_nothing(client: Client) -> None:
    """Rows go before files: a reader in between must not take a removed file for a damaged one."""
    for _ in range(5):
        run = client.trained({"architecture": architecture(1), "hyperparams": {"epochs": 1}})
        path = paths_of(run)["params"]
        with ThreadPoolExecutor(8) as pool:
            ask = partial(pool.submit, until_there_is_room)
            reading = [ask(partial(client.get, f"{path}{query}")) for query in ("", "?format=safetensors") * 8]
            deleting = [ask(partial(client.request, "DELETE", path)) for _ in range(2)]
            reading += [ask(partial(client.get, f"{path}/evaluation")) for _ in range(4)]
            assert {each.result().status_code for each in reading} <= {200, 404}
            assert sorted(each.result().status_code for each in deleting) == [204, 404]


class Overtaken(LocalFolder):
    """Files that are removed, with their rows, just before they are read."""

    def __init__(self, folder: Path, remove: Callable[[], object]) -> None:
        super().__init__(folder)
        self._remove = remove

    def get(self, name: str, expected: Written) -> bytes:
        self._remove()
        return super().get(name, expected)


def test_what_is_removed_between_its_row_and_its_file_is_unknown_and_not_damaged(
    client: Client, on_disk: OnDisk, service: tuple[Service, str]
) -> None:
    for query in ("", "?format=safetensors"):
        path = paths_of(client.trained())["params"]
        storage = Overtaken(on_disk.storage / "parameters", partial(client.request, "DELETE", path))
        asked = TestClient(build_app(replace(service[0], files=ParameterFiles(storage))))
        answer = asked.simulate_get(path + query, headers={"Authorization": f"Bearer {READ}"})
        assert answer.status_code == 404


class OvertakenRows:
    """A store whose parameter sets are removed, with run and model, right after they have been found."""

    def __init__(self, store: Store, remove: Callable[[], object]) -> None:
        self._store = store
        self._remove = remove

    def parameters(self, param_id: str) -> ParameterRow | None:
        row = self._store.parameters(param_id)
        self._remove()
        return row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("rest", ["?format=npz", "/evaluation"])
def test_what_is_removed_right_after_its_row_was_read_is_what_the_path_names(
    client: Client, service: tuple[Service, str], rest: str
) -> None:
    paths = paths_of(client.trained())
    rows: Any = OvertakenRows(service[0].store, partial(client.request, "DELETE", paths["models"]))
    asked = TestClient(build_app(replace(service[0], store=rows)))
    answer = asked.simulate_get(paths["params"] + rest, headers={"Authorization": f"Bearer {READ}"})
    assert answer.status_code == 404
    assert answer.json["detail"] == "There is no parameter set with this param_id."


def test_another_server_on_the_home_notices(serve: Callable[..., Server]) -> None:
    with Client(serve().url()) as here, Client(serve().url()) as there:
        assert here.url != there.url
        run = here.trained(epochs=1)
        assert statuses(there, run) == [200] * 5
        assert here.request("DELETE", paths_of(run)["params"]).status_code == 204
        until(lambda: inferred(there, run) == 404, "the other server has noticed")
        assert statuses(there, run) == [200, 200, 404, 404, 404]
        assert LOOK_SECONDS < 5, "what the contract promises"
