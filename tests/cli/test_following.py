"""What watching a run makes of a server that answers something else than runs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from cases import for_each

from falcon_mnist.cli import following
from falcon_mnist.cli.watch import RunError
from falcon_mnist.client import Client, ClientError

EPOCH = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "val_loss": None, "val_accuracy": None, "seconds": 1.0}
RUN = {
    "run_id": "r_1", "state": "failed", "epoch": 1, "epochs_total": 2, "history": [EPOCH], "eta_seconds": None,
    "metrics": {"train_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": None}, "samples_per_second": 1.0,
    "error": {"code": "diverged", "message": "It diverged."},
}  # fmt: skip


def _follow(run: dict[str, Any]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=run))
    with Client("http://server", "a-token", transport=transport) as client:
        following.follow(client, "r_1")


@for_each(
    "name, value",
    [
        ("history", 5),
        ("history", [5]),
        ("history", [EPOCH | {"train_loss": "much"}]),
        ("metrics", 3),
        ("metrics", {"train_loss": "much", "train_accuracy": 0.5, "val_accuracy": None}),
        ("epoch", {}),
        ("epochs_total", "two"),
        ("eta_seconds", "soon"),
        ("error", 7),
    ],
)
def test_members_of_other_types_are_one_sentence(name: str, value: object) -> None:
    with pytest.raises(ClientError, match="is it this API"):
        _follow(RUN | {name: value})


def test_a_missing_member_is_named() -> None:
    with pytest.raises(ClientError, match="'history'"):
        _follow({name: value for name, value in RUN.items() if name != "history"})


@pytest.mark.parametrize("state", [["failed"], "paused"])
def test_a_state_that_is_none_is_no_success(state: object) -> None:
    with pytest.raises(RunError, match="no state of a run"):
        _follow(RUN | {"state": state})
