"""What `train` shows and says while and after a run, and what ends it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from commands import Command
from server_process import environment

from falcon_mnist.cli import report, watch


def train(home: Path, digits: Path, *options: str) -> tuple[int, list[str], list[str]]:
    variables = environment(home, dataset=digits, workers=1, tokens=None) | {"COLUMNS": "100"}
    ended = Command("train", *options, env=variables).end()
    return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()


def test_a_network_that_did_not_learn_is_called_that() -> None:
    def run(kind: str, lr: float, loss: float) -> dict[str, Any]:
        return {"hyperparams": {"optimizer": {"type": kind, "lr": lr}}, "metrics": {"train_loss": loss}}

    assert report.learned_nothing(0.2, run("sgd", 0.1, 2.3)) == ""
    too_large = report.learned_nothing(0.0958, run("sgd", 100.0, 10325.4))
    assert too_large.startswith("The network did not learn: 9.6% of the test digits")
    assert "grown to 10,325: take a smaller learning rate than 100 (--lr; 0.1 is usual)" in too_large
    too_small = report.learned_nothing(0.114, run("adam", 1e-9, 2.31))
    assert "more epochs, or with another learning rate (--lr; 0.001 is usual)" in too_small


def test_a_run_that_diverges_says_so_once(tmp_path: Path, digits: Path) -> None:
    options = ["--epochs", "100", "--lr", "100", "--hidden", "64,64,64", "--batch-size", "1"]
    status, _, said = train(tmp_path / "home", digits, *options)
    assert status == 1
    assert len(said) == 1
    assert "try a smaller lr" in said[0]


@pytest.mark.parametrize("interrupts", [[signal.SIGINT] * 2, [signal.SIGTERM], [signal.SIGINT, signal.SIGHUP]])
def test_the_next_ctrl_c_or_another_signal_cancels_the_run(interrupts: list[signal.Signals]) -> None:
    asked = []

    def look() -> dict[str, Any]:
        raise KeyboardInterrupt(interrupts.pop(0))

    def finish() -> bool:
        asked.append("finish")
        return True

    def cancel() -> bool:
        asked.append("cancel")
        return True

    expected = ["finish"] * (len(interrupts) - 1) + ["cancel"]
    with pytest.raises(watch.InterruptedRunError):
        watch.until_succeeded(look, finish, cancel)
    assert asked == expected


def test_under_nohup_a_terminal_that_is_closed_cancels_nothing() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        watch.hear_interrupts()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_ctrl_c_cancels_a_run_that_has_nothing_to_keep() -> None:
    cancelled = []

    def look() -> dict[str, Any]:
        raise KeyboardInterrupt(signal.SIGINT)

    def cancel() -> bool:
        cancelled.append(True)
        return True

    with pytest.raises(watch.InterruptedRunError):
        watch.until_succeeded(look, lambda: False, cancel)
    assert cancelled


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_that_has_ended_by_itself_is_not_called_cancelled(finished: bool) -> None:
    """Ctrl-C, perhaps the second, after the run has succeeded and before that was seen."""
    metrics = {"train_loss": None, "train_accuracy": None, "val_loss": None, "val_accuracy": None}
    run = {"state": "succeeded", "history": [], "epoch": 1, "epochs_total": 1, "metrics": metrics, "eta_seconds": None}
    interrupts = [signal.SIGINT] * (2 if finished else 1)

    def look() -> dict[str, Any]:
        if interrupts:
            raise KeyboardInterrupt(interrupts.pop())
        return run

    assert watch.until_succeeded(look, lambda: finished, lambda: False) is run
