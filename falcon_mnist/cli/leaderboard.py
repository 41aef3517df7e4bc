"""The trials of a sweep, the best on top: a table that refreshes itself, or a line for each that has ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.live import Live
from rich.table import Table

from falcon_mnist.cli import console, lists, sweep
from falcon_mnist.cli.choosers import Chooser
from falcon_mnist.cli.sweep import Trial

MOST_ROWS = 15


@contextmanager
def shown(chooser: Chooser, *, quiet: bool = False) -> Iterator[Callable[[Sequence[Trial]], None]]:
    """A callable that shows trials as they are now."""
    if quiet:
        yield lambda trials: None
    elif console.out.is_terminal:
        with Live(console=console.out, auto_refresh=False) as live:
            yield lambda trials: live.update(table(trials, chooser), refresh=True)
    else:
        told: set[int] = set()

        def tell(trials: Sequence[Trial]) -> None:
            for trial in trials:
                if trial.score is not None and trial.number not in told:
                    told.add(trial.number)
                    console.say_cells(f"{len(told)}/{chooser.total}", described(trial, chooser), result(trial))

        yield tell


def table(trials: Sequence[Trial], chooser: Chooser) -> Table:
    """The leaderboard."""
    ended = sum(trial.score is not None for trial in trials)
    board = Table(title=f"{ended} of {chooser.total} trials", title_justify="left", box=None, pad_edge=False)
    for name in ("", *chooser.names, "accuracy", "epoch"):
        board.add_column(name.replace("_", " "), justify="right")
    board.add_column("")
    ranked = sweep.ranked(trials)
    for place, trial in enumerate(ranked[:MOST_ROWS], 1):
        values = [value(trial.values[name]) for name in chooser.names]
        succeeded = trial.score is not None and not math.isnan(trial.score)
        style = "bold green" if succeeded and place == 1 else None if succeeded else "dim"
        board.add_row(str(place) if succeeded else "", *values, *_progress(trial), style=style)
    if len(ranked) > MOST_ROWS:
        board.caption = f"and {len(ranked) - MOST_ROWS} more"
    return board


def _progress(trial: Trial) -> tuple[str, str, str]:
    """Accuracy, epoch, and what else there is to say."""
    if (run := trial.run) is None:
        return "", "", sweep.reason(trial)
    epoch = f"{run['epoch']}/{run['epochs_total']}"
    if trial.score is None:
        return lists.accuracy(run), epoch, run["state"]
    return ("", epoch, sweep.reason(trial)) if math.isnan(trial.score) else (f"{trial.score:.2%}", epoch, "")


def described(trial: Trial, chooser: Chooser) -> str:
    """What a trial does not share with all others, for people."""
    names = chooser.names or list(trial.values)
    return ", ".join(f"{name.replace('_', ' ')} {value(trial.values[name])}" for name in names)


def value(each: Any) -> str:
    """A value, a number to four digits."""
    if isinstance(each, bool):
        return "yes" if each else "no"
    return f"{each:.4g}" if isinstance(each, float) else str(each) or "none"


def result(trial: Trial) -> str:
    """What has come out of a trial that has ended."""
    score = trial.score
    return sweep.reason(trial) if score is None or math.isnan(score) else f"{score:.2%}"


def document(trials: Sequence[Trial], test_accuracy: float) -> dict[str, Any]:
    """The sweep for scripts, the best first."""
    items = [
        {
            "values": trial.values,
            "val_accuracy": None if (score := trial.score) is None or math.isnan(score) else score,
            "run_id": trial.run_id or None,
            "param_id": trial.param_id or None,
        }
        for trial in sweep.ranked(trials)
    ]
    return {"best": items[0] | {"test_accuracy": test_accuracy}, "trials": items}
