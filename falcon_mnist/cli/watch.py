"""Watching a run until it ends: what `demo` does over HTTP and `train` in the database."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from falcon_mnist.cli import console
from falcon_mnist.constants import ACTIVE, CANCELLED, FAILED, QUEUED, SUCCEEDED

POLL_SECONDS = 0.2
STOPPING = "Stopping after this epoch, to keep what was learned. Ctrl-C again cancels the run."


class InterruptedRunError(Exception):
    """Ctrl-C has cancelled the run."""


class RunError(Exception):
    """A run that did not succeed; the message is one sentence."""


def hear_interrupts() -> None:
    """From now on Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt` with their number: there is a run to end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it, to outlive a terminal
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number))


def until_succeeded(
    look: Callable[[], Mapping[str, Any]], finish: Callable[[], bool], cancel: Callable[[], bool]
) -> Mapping[str, Any]:
    """Show the run that `look` gives, again and again, until it has succeeded.

    The first Ctrl-C asks to `finish` it at the end of the epoch under way, if that says that it can be; the next one,
    and any other signal, cancels it, unless `cancel` says that it has ended by itself. Raises `RunError` if the run
    fails or is cancelled, `InterruptedRunError` if it was cancelled here.
    """
    finishing = False
    with shown() as show:
        while True:
            try:
                run = look()
                show(run)
                if run["state"] not in ACTIVE:
                    break
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt as interrupt:
                if not finishing and interrupt.args == (signal.SIGINT,) and finish():
                    finishing = True
                    console.err.print(STOPPING, soft_wrap=True)
                elif cancel():
                    raise InterruptedRunError("interrupted; the run is cancelled") from None
    check(run)
    return run


def check(run: Mapping[str, Any]) -> None:
    """Raises `RunError` for a run that has not succeeded."""
    if run["state"] == CANCELLED:
        raise RunError("the run was cancelled")
    if run["state"] == FAILED:
        raise RunError(f"the run failed: {run['error']['message']}")
    if run["state"] != SUCCEEDED:
        raise RunError(f"{run['state']!r} is no state of a run: is it this API?")


@contextmanager
def shown() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A callable that shows a run as it is now: a line for each epoch, and on a terminal a bar under them."""
    columns = (TextColumn("Training"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"))
    printed, since = 0, time.monotonic()  # epochs, and when the last of them was
    with Progress(
        *columns,
        console=console.err,
        disable=not console.err.is_terminal,
        redirect_stdout=console.out.is_terminal,  # lines for a file go there, not above the bar
        transient=True,
    ) as bars:
        task = bars.add_task("", total=None)

        def show(run: Mapping[str, Any]) -> None:
            nonlocal printed, since
            for epoch in run["history"][printed:]:
                console.say(console.epoch_line(epoch))
                since = time.monotonic()
            printed = len(run["history"])
            told = how_far(run, time.monotonic() - since)
            bars.update(task, completed=run["epoch"], total=run["epochs_total"], description=told)

        yield show


def how_far(run: Mapping[str, Any], seconds: float) -> str:
    """Loss, accuracy, and the time left, `seconds` after the last epoch."""
    if run["state"] == QUEUED:
        return "waiting for a worker"
    metrics, left = run["metrics"], run["eta_seconds"]
    parts = []
    if metrics["train_loss"] is not None:
        accuracy = metrics["train_accuracy" if metrics["val_accuracy"] is None else "val_accuracy"]
        parts = [f"loss {console.loss(metrics['train_loss'])}", f"accuracy {accuracy:.2%}"]
    return ", ".join(parts + ([f"{console.duration(max(0.0, left - seconds))} left"] if left is not None else []))
