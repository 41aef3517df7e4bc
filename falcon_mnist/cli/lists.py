"""`falcon-mnist models` and `runs`: what a server has, as tables for people and as lines for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from falcon_mnist.cli import console
from falcon_mnist.client.answers import Architecture, Model, RunSummary
from falcon_mnist.constants import FAILED, RUNNING, SUCCEEDED

Row = Sequence[str]
STYLES = {SUCCEEDED: "green", FAILED: "red", RUNNING: "yellow"}


def models(items: Iterable[Model]) -> None:
    """Print models."""
    rows = []
    for model in items:
        optimizer = model["hyperparams"]["optimizer"]
        learning = f"{optimizer['type']}, lr {optimizer['lr']:g}, {model['hyperparams']['epochs']} epochs"
        rows.append((model["model_id"], widths(model["architecture"]), learning, _when(model["created_at"])))
    show(("model", "network", "learns by", "created"), rows)


def runs(items: Iterable[RunSummary]) -> None:
    """Print runs."""
    rows = [
        (
            run["run_id"],
            run["state"],
            f"{run['epoch']}/{run['epochs_total']}",
            accuracy(run),
            _when(run["created_at"]),
            outcome(run),
        )
        for run in items
    ]
    show(("run", "state", "epoch", "accuracy", "created", "outcome"), rows)


def show(names: Row, rows: Sequence[Row]) -> None:
    """A table on a terminal, else a line for each row, its cells separated by tabs."""
    if not console.out.is_terminal:
        for row in rows:
            console.say_cells(*row)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*row, style=next((STYLES[cell] for cell in row if cell in STYLES), None))
    # As wide as its cells, also where the terminal is not: that wraps a line without cutting the ids for copying.
    table.width = table.__rich_measure__(console.out, console.out.options.update(max_width=10_000)).maximum
    console.out.print(table if rows else "There is none.", crop=False)


def widths(architecture: Architecture) -> str:
    """A network as its widths, 784-128-10."""
    linear = [layer["out"] for layer in architecture["layers"] if layer["type"] == "linear"]
    return "-".join(map(str, [architecture["input_size"], *linear]))


def accuracy(run: Mapping[str, Any]) -> str:
    """On the validation digits where there are some, after the latest epoch."""
    metrics = run["metrics"]
    value = metrics["val_accuracy"] if metrics["val_accuracy"] is not None else metrics["train_accuracy"]
    return "" if value is None else f"{value:.2%}"


def outcome(run: Mapping[str, Any]) -> str:
    """What has come out of a run, or how long it still takes."""
    if run["state"] == SUCCEEDED:
        return str(run["param_id"])
    if "error" in run:
        return str(run["error"]["message"])
    return "" if run["eta_seconds"] is None else f"{console.duration(run['eta_seconds'])} left"


def _when(timestamp: str) -> str:
    """A time of the API to the minute, in UTC as it came."""
    return timestamp[:16].replace("T", " ")
