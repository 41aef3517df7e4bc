"""What a parameter set reached on the test digits, for people: accuracy, confusion, the surest mistakes as drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Column, Table

from falcon_mnist.cli import console
from falcon_mnist.constants import ACTIVE, PIXELS
from falcon_mnist.training.hyperparams import Hyperparams

SHOWN = 6
# Below this accuracy a network has learned next to nothing: one that guesses has a tenth.
LEARNED = 0.2
GUESSING_LOSS = 2.4  # a little more than ln 10, that of ten equal probabilities
Mistake = tuple[int, int, int, float | None]  # index, label, predicted, confidence


def evaluation(found: Mapping[str, Any], mistakes: Sequence[Mistake], images: npt.NDArray[np.uint8]) -> None:
    """Print an evaluation; `images` are the test images that the mistakes' indices count."""
    count = sum(map(sum, found["confusion"]))
    console.out.print(confusion(found["confusion"]))
    shown = mistakes[:SHOWN]
    if shown:
        console.say("The surest mistakes:")
        captions = [f"{label}, taken for {predicted} ({sure or 0:.0%})" for _, label, predicted, sure in shown]
        drawn = console.digits(np.asarray(images)[[index for index, *_ in shown]], captions)
        console.out.print(drawn, markup=False, soft_wrap=True)
    console.say(f"Test accuracy: {found['accuracy']:.2%} of {count:,} {found['dataset']['name']} test digits")


def unfinished(counts: Mapping[str, int]) -> str:
    """How many runs of a home have not ended, by their counts for each state; empty if all have."""
    left = sum(counts[state] for state in ACTIVE)
    return f"Unfinished runs of this home: {left}" if left else ""


def learned_nothing(accuracy: float, run: Mapping[str, Any]) -> str:
    """What to say, and to try, where a run's network hardly does better than guessing; empty where it does."""
    if accuracy >= LEARNED:
        return ""
    optimizer, loss = run["hyperparams"]["optimizer"], run["metrics"]["train_loss"]
    usual = Hyperparams.model_validate({"optimizer": {"type": optimizer["type"]}}).optimizer.lr
    sentence = f"The network did not learn: {accuracy:.1%} of the test digits are right, and guessing gets 10%."
    if loss > GUESSING_LOSS:
        return (
            f"{sentence} The loss has grown to {console.loss(loss)}: take a smaller learning rate than "
            f"{optimizer['lr']:g} (--lr; {usual:g} is usual)."
        )
    return f"{sentence} Train for more epochs, or with another learning rate (--lr; {usual:g} is usual)."


def confusion(counts: Sequence[Sequence[int]]) -> Table:
    """How often each digit (rows) is taken for each (columns); the largest count of mistakes stands out."""
    table = Table("", *map(str, range(10)), title="Digits (rows) and what they are taken for", title_justify="left")
    for column in table.columns:
        column.justify = "right"
    worst = max((count for i, row in enumerate(counts) for j, count in enumerate(row) if i != j), default=0)
    for digit, row in enumerate(counts):
        cells = [_cell(count, right=digit == other, worst=worst) for other, count in enumerate(row)]
        table.add_row(f"[bold]{digit}", *cells)
    return table


def _cell(count: int, *, right: bool, worst: int) -> str:
    if right:
        return f"[green]{count}"
    if count == 0:
        return "[dim]·"
    return f"[bold red]{count}" if count == worst else f"[red]{count}"


def recipes(items: Sequence[Mapping[str, Any]]) -> Table:
    """The recipes with what they reached."""
    name, network = Column("recipe", no_wrap=True), Column("network", overflow="fold")  # names are typed again: whole
    table = Table(name, network, "test error", "seconds", "what it is")
    for item in items:
        layers = item["architecture"]["layers"]
        widths = [PIXELS, *(layer["out"] for layer in layers if layer["type"] == "linear")]
        errors, seconds = item["errors"], item["seconds"]
        table.add_row(
            item["name"],
            "-".join(map(str, widths)),
            f"{np.mean(errors):.2f} %" if errors else "not measured",
            f"{np.mean(seconds):.0f}" if seconds else "",
            item["purpose"],
        )
    return table
