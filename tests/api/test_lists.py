"""Pages of runs."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from asking import Document, listed
from cases import for_each
from checking_client import Client, pointers
from on_disk import OnDisk
from small_networks import SMALL


@pytest.fixture(scope="module")
def several(client: Client) -> list[str]:
    """The runs of a model, newest first; the model's id stands in front."""
    model_id = client.model(epochs=1, batch_size=4096)
    runs = [client.train(model_id) for _ in range(7)]
    for run_id in runs:
        client.wait(run_id, "succeeded")
    return [model_id, *reversed(runs)]


def walk(client: Client, model_id: str, limit: int) -> Iterator[Document]:
    return walk_list(client, f"/api/models/{model_id}/runs", limit)


def walk_list(client: Client, path: str, limit: int, **filters: str) -> Iterator[Document]:
    cursor: str | None = None
    seen = set()
    while True:
        params = filters | {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        page = client.get(path, params=params).json()
        assert len(page["items"]) <= limit
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return
        assert cursor not in seen
        seen.add(cursor)


@for_each("limit", [1, 2, 3, 6, 7, 8, 100])
def test_a_walk_sees_every_run_once_newest_first(client: Client, several: list[str], limit: int) -> None:
    model_id, *runs = several
    assert [run["run_id"] for run in walk(client, model_id, limit)] == runs


def test_runs_stand_in_a_list_as_they_stand_alone_but_without_their_history(client: Client, several: list[str]) -> None:
    for run in walk(client, several[0], 3):
        assert run == listed(client.run(run["run_id"]))


def test_a_model_without_runs_has_an_empty_page(client: Client) -> None:
    assert client.get(f"/api/models/{client.model()}/runs").json() == {"items": [], "next_cursor": None}


def test_a_walk_sees_each_run_of_its_start_once_though_more_are_added(client: Client, several: list[str]) -> None:
    model_id = several[0]
    before = [run["run_id"] for run in walk(client, model_id, 100)]
    seen = []
    for run in walk(client, model_id, 1):
        seen.append(run["run_id"])
        client.wait(client.train(model_id), "succeeded")
    assert seen == before


def test_a_page_has_twenty_runs_unless_told_otherwise(client: Client) -> None:
    model_id = client.model(epochs=1, batch_size=4096)
    runs = [client.train(model_id) for _ in range(21)]
    page = client.get(f"/api/models/{model_id}/runs").json()
    assert [run["run_id"] for run in page["items"]] == runs[:0:-1]
    assert page["next_cursor"] is not None
    for run_id in runs:
        client.post(f"/api/runs/{run_id}/cancel")


@for_each("limit", ["0", "101", "-1", "1.0", "1e1", "", "x", " 5", "٣", "9" * 5000, "0x10", "+5"])
def test_a_limit_must_be_a_whole_number_from_1_to_100(client: Client, several: list[str], limit: str) -> None:
    response = client.get(f"/api/models/{several[0]}/runs", params={"limit": limit})
    assert response.status_code == 422
    assert pointers(response) == ["/limit"]


def test_a_cursor_that_this_server_did_not_issue_for_this_list_is_refused(
    client: Client, limited_server: tuple[Client, OnDisk], several: list[str]
) -> None:
    def cursor_of(client: Client, model_id: str) -> str:
        return str(client.get(f"/api/models/{model_id}/runs?limit=1").json()["next_cursor"])

    def refused(model_id: str, cursor: str) -> bool:
        response = client.get(f"/api/models/{model_id}/runs", params={"cursor": cursor})
        return response.status_code == 422 and pointers(response) == ["/cursor"]

    good = cursor_of(client, several[0])
    raw = base64.urlsafe_b64decode(good)
    earlier = base64.urlsafe_b64encode((int.from_bytes(raw[:8], "big") - 1).to_bytes(8, "big") + raw[8:]).decode()
    forged = ["", "1", "null", earlier, good[:-4], good + good, good.rstrip("=") + "!", "é", "A" * 32, "x" * 10_000]
    assert all(refused(several[0], cursor) for cursor in forged)

    other_model = client.model(epochs=1)
    assert refused(other_model, good)
    for _ in range(2):
        client.wait(client.train(other_model), "succeeded")
    assert refused(several[0], cursor_of(client, other_model))

    other_client, _ = limited_server
    foreign_model = other_client.model(epochs=1)
    for _ in range(2):
        other_client.wait(other_client.train(foreign_model), "succeeded")
    assert refused(several[0], cursor_of(other_client, foreign_model))


def test_a_member_of_the_query_may_stand_only_once(client: Client, several: list[str]) -> None:
    response = client.get(f"/api/models/{several[0]}/runs?limit=2&limit=3")
    assert response.status_code == 422
    assert pointers(response) == ["/limit"]


def test_all_runs_are_listed_and_filtered(client: Client) -> None:
    model_id = client.model(epochs=1, batch_size=4096)
    runs = [client.train(model_id) for _ in range(4)][::-1]
    for run_id in runs:
        client.wait(run_id, "succeeded")
    everything = [run["run_id"] for run in walk_list(client, "/api/runs", 100)]
    assert [run_id for run_id in everything if run_id in runs] == runs
    assert [run["run_id"] for run in walk_list(client, "/api/runs", 3, model_id=model_id)] == runs
    found = list(walk_list(client, "/api/runs", 3, model_id=model_id, state="succeeded"))
    assert [run["run_id"] for run in found] == runs
    assert found[0] == listed(client.run(runs[0]))
    assert list(walk_list(client, "/api/runs", 3, model_id=model_id, state="failed")) == []


def test_a_filter_that_names_nothing_is_refused(client: Client, several: list[str]) -> None:
    response = client.get("/api/runs", params={"state": "done"})
    assert response.status_code == 422
    assert pointers(response) == ["/state"]
    assert client.get("/api/runs", params={"model_id": "m_0"}).status_code == 404
    of_the_model = client.get(f"/api/models/{several[0]}/runs?limit=1").json()["next_cursor"]
    response = client.get("/api/runs", params={"cursor": of_the_model})
    assert response.status_code == 422
    assert pointers(response) == ["/cursor"]


def test_a_model_is_shown_as_it_was_made(client: Client) -> None:
    made = client.post("/api/models", {"architecture": SMALL, "hyperparams": {"epochs": 2}}).json()
    assert client.get(f"/api/models/{made['model_id']}").json() == made
    assert client.get("/api/models/m_0").status_code == 404


def test_models_and_parameter_sets_are_listed(client: Client, trained: Document) -> None:
    models = list(walk_list(client, "/api/models", 100))
    assert client.get(f"/api/models/{trained['model_id']}").json() in models
    of_the_model = list(walk_list(client, "/api/params", 1, model_id=trained["model_id"]))
    [found] = [each for each in of_the_model if each["param_id"] == trained["param_id"]]
    assert found.items() >= {name: trained[name] for name in ("param_id", "model_id", "run_id")}.items()
    assert found["size_bytes"] == client.get(f"/api/params/{trained['param_id']}").json()["size_bytes"]
    everything = list(walk_list(client, "/api/params", 2))
    assert found in everything
    assert sorted(everything, key=lambda each: each["created_at"], reverse=True) == everything
    assert client.get("/api/params", params={"model_id": "m_0"}).status_code == 404


@for_each(
    "path, pointer, found",
    [
        ("/api/runs?limit=many", "/limit", "must be a whole number from 1 to 100, but is 'many'"),
        ("/api/runs?limit=" + "9" * 50, "/limit", "must be a whole number from 1 to 100, but is a string"),
        ("/api/runs?state=done", "/state", ", cancelled, but is 'done'"),
        ("/api/digits/test?indices=1,x", "/indices", ", by commas, but one is 'x'"),
    ],
)
def test_a_query_that_breaks_a_rule_says_what_was_sent(client: Client, path: str, pointer: str, found: str) -> None:
    response = client.get(path)
    assert response.status_code == 422
    (fault,) = response.json()["errors"]
    assert fault["pointer"] == pointer
    assert fault["detail"].endswith(found)
