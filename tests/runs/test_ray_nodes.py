"""Rows in SQLite are for a Ray cluster on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from falcon_mnist.runs.ray_nodes import alive, cpus, unshared

SQLITE, POSTGRESQL = Path("/home/falcon-mnist.db"), "postgresql://host/rows"


def node(host: str, number_of_cpus: int, *, lives: bool = True) -> dict[str, Any]:
    resources = {"CPU": float(number_of_cpus)} if number_of_cpus else {}
    return {"Alive": lives, "NodeManagerHostname": host, "Resources": resources}


def test_sqlite_serves_any_nodes_of_its_own_machine() -> None:
    assert unshared(SQLITE, [node("here", 2), node("here", 1)], "here") is None


def test_sqlite_serves_no_node_of_another_machine() -> None:
    found = unshared(SQLITE, [node("here", 2), node("there", 1)], "here")
    assert found is not None
    assert "there" in found
    assert "FALCON_MNIST_DATABASE_URL" in found


def test_a_head_elsewhere_without_cpus_executes_nothing() -> None:
    assert unshared(SQLITE, [node("here", 2), node("head", 0)], "here") is None


def test_postgresql_serves_all() -> None:
    assert unshared(POSTGRESQL, [node("there", 2), node("elsewhere", 1)], "here") is None


@pytest.mark.parametrize(("of", "expected"), [(node("here", 2), 2), (node("here", 0), 0)])
def test_cpus(of: dict[str, Any], expected: int) -> None:
    assert cpus(of) == expected


def test_lost_nodes_do_not_count() -> None:
    assert alive([node("here", 1), node("there", 1, lives=False)]) == [node("here", 1)]
