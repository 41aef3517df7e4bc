"""`falcon-mnist watch`: a run of a server while it trains, with its curves on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from falcon_mnist.cli import console, curves, watch
from falcon_mnist.client import Client, ClientError
from falcon_mnist.client.answers import Epoch, Run
from falcon_mnist.client.errors import NOT_UNDERSTOOD
from falcon_mnist.constants import SUCCEEDED

HEIGHT, LEAST_WIDTH, MOST_WIDTH = 9, 20, 60  # of a picture, in characters


class NoRunError(Exception):
    """There is nothing to watch; the message is one sentence."""


def newest(client: Client) -> str:
    """The id of the newest run. Raises `NoRunError`, `ClientError`."""
    items = client.runs(limit=1)["items"]
    if not items:
        raise NoRunError("the server has no run yet")
    return items[0]["run_id"]


def follow(client: Client, run_id: str, *, quiet: bool = False) -> Run:
    """Show a run until it has ended; returns it, or raises `RunError` where it did not succeed."""
    with _understood():
        if quiet:
            run = client.wait(run_id)
        elif console.out.is_terminal:
            with _live() as show:
                run = client.wait(run_id, progress=show)
        else:
            with watch.shown() as line:
                run = client.wait(run_id, progress=line)
        watch.check(run)
    return run


@contextmanager
def _understood() -> Iterator[None]:
    """Raises `ClientError` where a run has members of other types than this API's, which nobody has checked."""
    try:
        yield
    except (TypeError, ValueError, AttributeError) as error:
        sentence = f"the server's answer has a member of another type ({error}): is it this API?"
        raise ClientError(NOT_UNDERSTOOD, sentence) from None


@contextmanager
def _live() -> Iterator[Callable[[Run], None]]:
    with Live(console=console.out, auto_refresh=False) as live:
        yield lambda run: live.update(picture(run, console.out.width), refresh=True)


def picture(run: Run, width: int) -> RenderableType:
    """A run as it is now: how far it is, and the curves of its loss and accuracy."""
    each = min(MOST_WIDTH, max(LEAST_WIDTH, width // 2 - 14))
    drawn = [_curves(name, run["history"], each) for name in ("loss", "accuracy") if run["history"]]
    return Group(_headline(run), Columns(drawn, padding=(0, 2)))


def _headline(run: Run) -> RenderableType:
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=run["epochs_total"], completed=run["epoch"], width=20)
    speed = run["samples_per_second"]
    told = [f"{run['epoch']}/{run['epochs_total']}", run["state"], watch.how_far(run, 0)]
    told += [f"{speed:,.0f} digits a second"] if speed and run["state"] != SUCCEEDED else []
    line.add_row(bar, ", ".join(filter(None, told)))
    return line


def _curves(name: str, history: list[Epoch], width: int) -> RenderableType:
    training = [_measure(epoch, f"train_{name}") for epoch in history]
    validation = [_measure(epoch, f"val_{name}") for epoch in history]
    pairs = {"training": training, "validation": validation}
    shown = {who: [value for value in curve if value is not None] for who, curve in pairs.items()}
    title = Text(f"{name}: ")
    for (who, curve), colour in zip(shown.items(), curves.COLOURS, strict=True):
        if curve:
            title.append(f"{who} {curve[-1]:.4f} ", colour)
    return Group(title, curves.draw(list(shown.values()), width, HEIGHT))


def _measure(epoch: Epoch, name: str) -> float | None:
    value: float | None = dict(epoch)[name]  # type: ignore[assignment]
    return value
