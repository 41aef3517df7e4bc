"""`falcon-mnist prune`: says what a home can do without, asks, and removes it, while servers serve."""

from __future__ import annotations

import re
from collections import Counter
from datetime import timedelta

import typer

from falcon_mnist.cli import console
from falcon_mnist.clock import SYSTEM_CLOCK, Clock
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import WORKER_WAIT, checkpoint_storage, open_store, parameter_storage
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.pruning import Ended
from falcon_mnist.storage.removal import InUseError, remove_model, remove_run

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def age(text: str) -> timedelta:
    """`30d` and the like; raises `typer.BadParameter`."""
    match = re.fullmatch(r"(\d{1,5})([mhdw])", text)
    if match is None:
        raise typer.BadParameter("must be a number and m, h, d or w: 30d is thirty days", param_hint="--older-than")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def prune(settings: Settings, older_than: timedelta, keep_best: int, *, ask: bool, clock: Clock = SYSTEM_CLOCK) -> None:
    """Remove runs that ended so long ago, but for the best, and models of that age that have nothing left."""
    before = clock.timestamp(ago=older_than.total_seconds())
    store = open_store(settings, wait=WORKER_WAIT)
    try:
        runs = store.prunable_runs(before=before, keep_best=keep_best)
        remover = store.remover(ParameterFiles(parameter_storage(settings)), checkpoint_storage(settings))
        for line in _plan(runs, before, keep_best):
            console.say(line)
        if ask and (runs or store.empty_models(before=before)):
            typer.confirm("Remove them, and older models that then have neither runs nor parameters?", abort=True)
        for run in runs:
            try:
                remover.remove(remove_run, run.run_id)
                console.say(f"removed {run.run_id}")
            except InUseError as error:  # a run has begun with it meanwhile
                console.say(f"kept {run.run_id}: {error}")
        for model_id in store.empty_models(before=before):
            remover.remove(remove_model, model_id)
            console.say(f"removed {model_id}")
    finally:
        store.close()


def _plan(runs: list[Ended], before: str, keep_best: int) -> list[str]:
    states = Counter(run.state for run in runs)
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "none"
    lines = [f"Runs that ended before {before[:16]}Z: {counted}."]
    if runs:
        lines[0] += f" Their parameter files take {sum(run.size_bytes or 0 for run in runs) / 1e6:.1f} MB."
    if keep_best:
        lines.append(f"The {keep_best} with the best validation accuracy of all are kept.")
    shown = runs[:20]
    lines += [f"  {run.run_id}  {run.state:9}  {run.finished_at[:16]}Z  {_percent(run.accuracy)}" for run in shown]
    return lines + ([f"  and {len(runs) - len(shown)} more"] if len(runs) > len(shown) else [])


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"validation accuracy {accuracy:.2%}"
