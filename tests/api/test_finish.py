"""Stop and keep."""

from __future__ import annotations

from asking import READ, Document
from checking_client import Client, kind


def test_a_running_run_is_kept_as_it_is_at_the_end_of_its_epoch(client: Client) -> None:
    with client.endless_run() as run:
        path = f"/api/runs/{run['run_id']}"
        assert client.post(f"{path}/finish", token=READ).status_code == 403
        response = client.post(f"{path}/finish")
        assert response.status_code == 202
        assert response.headers["Location"] == path
        ended = client.wait(run["run_id"], "succeeded")
        assert 1 <= ended["epoch"] == len(ended["history"]) < ended["epochs_total"]
        assert client.infer(ended["param_id"], [[0.0] * 784])["outputs"]["labels"]


def test_only_a_running_run_is_asked_to(client: Client, trained: Document) -> None:
    response = client.post(f"/api/runs/{trained['run_id']}/finish")
    assert response.status_code == 409
    assert kind(response) == "run-not-running"
    assert kind(client.post("/api/runs/r_0/finish")) == "unknown-run"
    assert client.post(f"/api/runs/{trained['run_id']}/finish", {"now": True}).status_code == 422
