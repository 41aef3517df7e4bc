"""The nodes of a Ray cluster, as Ray lists them, and whether they can execute the runs of a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Node = Mapping[str, Any]


def alive(nodes: Iterable[Node]) -> list[Node]:
    """Those that Ray has not lost."""
    return [node for node in nodes if node["Alive"]]


def cpus(node: Node) -> int:
    """How many it has for tasks."""
    return int(node["Resources"].get("CPU", 0))


def unshared(database: Path | str, nodes: Iterable[Node], host: str) -> str | None:
    """Why the nodes cannot all reach the rows, if they cannot: a SQLite file is `host`'s alone.

    A worker of another machine would make a database of its own there, and find none of the runs.
    """
    others = sorted({str(node["NodeManagerHostname"]) for node in nodes if cpus(node)} - {host})
    if not others or not isinstance(database, Path):
        return None
    return (
        f"the rows are in SQLite on {host}, and the cluster has CPUs on other machines ({', '.join(others[:3])}): "
        "set FALCON_MNIST_DATABASE_URL to PostgreSQL"
    )
