"""What `train` shows and says while and after a run, and what ends it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asking import until
from commands import Command
from on_disk import OnDisk
from server_process import environment
from small_networks import ENDLESS

from falcon_mnist.app import open_service
from falcon_mnist.cli import report, watch
from falcon_mnist.settings import Settings


def start(home: Path, digits: Path, *options: str) -> Command:
    variables = environment(home, dataset=digits, workers=1, tokens=None) | {"COLUMNS": "100"}
    return Command("train", *options, env=variables)


def train(home: Path, digits: Path, *options: str) -> tuple[int, list[str], list[str]]:
    ended = start(home, digits, *options).end()
    return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()


def test_each_epoch_is_a_line_the_end_says_what_to_do_next_and_what_was_left_in_the_queue_stays_there(
    tmp_path: Path, digits: Path
) -> None:
    home = OnDisk(tmp_path / "home")
    service = open_service(Settings(home=home.home, dataset=str(digits)))
    model = service.store.create_model(ENDLESS["architecture"], ENDLESS["hyperparams"])
    left = service.store.create_run(model, ENDLESS["hyperparams"], max_queued=1)
    service.close()
    status, printed, said = train(home.home, digits, "--epochs", "3")
    assert (status, said) == (0, [])
    assert [line.split(":")[0] for line in printed if line.startswith("Epoch")] == ["Epoch 1", "Epoch 2", "Epoch 3"]
    assert printed[-1].startswith("Next: `falcon-mnist serve`")
    assert any(line.startswith("Unfinished runs of this home: 1;") for line in printed)
    assert home.query("SELECT state FROM runs WHERE id = ?", left.id) == [("queued",)]


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


def test_ctrl_c_keeps_what_was_learned(tmp_path: Path, digits: Path) -> None:
    home = OnDisk(tmp_path / "home")
    command = start(home.home, digits, "--epochs", "1000", "--json")
    until(lambda: trains(home), "an epoch has ended")
    os.killpg(command.process.pid, signal.SIGINT)
    ended = command.end()
    assert ended.returncode == 0
    assert "to keep what was learned" in ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert 0 < result["epochs"] < 1000
    assert home.parameter_file(result["param_id"]).exists()


@pytest.mark.parametrize("interrupts", [[signal.SIGINT] * 2, [signal.SIGTERM], [signal.SIGINT, signal.SIGHUP]])
def test_the_next_ctrl_c_or_another_signal_cancels_the_run(interrupts: list[signal.Signals]) -> None:
    asked = []

    def look() -> dict[str, Any]:
        raise KeyboardInterrupt(interrupts.pop(0))

    def finish() -> bool:
        asked.append("finish")
        return True

    expected = ["finish"] * (len(interrupts) - 1) + ["cancel"]
    with pytest.raises(watch.InterruptedRunError):
        watch.until_succeeded(look, finish, lambda: asked.append("cancel"))
    assert asked == expected


def test_ctrl_c_cancels_a_run_that_has_nothing_to_keep() -> None:
    cancelled = []

    def look() -> dict[str, Any]:
        raise KeyboardInterrupt(signal.SIGINT)

    with pytest.raises(watch.InterruptedRunError):
        watch.until_succeeded(look, lambda: False, lambda: cancelled.append(True))
    assert cancelled


def trains(home: OnDisk) -> bool:
    with suppress(sqlite3.OperationalError):  # there is no database yet
        return home.query("SELECT 1 FROM runs WHERE epoch > 0") != []
    return False
