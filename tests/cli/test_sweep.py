"""`sweep` against a running server, and what it tries."""

from __future__ import annotations

import json
import math
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import typer
from asking import until
from cases import for_each
from checking_client import Client
from commands import Command, against, run, run_on_terminal

from falcon_mnist.cli import choosers, sweep
from falcon_mnist.cli.choosers import Between, Values
from falcon_mnist.cli.sweep import Plan

SMALLEST = ("--hidden", "8", "--epochs", "2")
SMALL = ("--hidden", "8,12-6", "--epochs", "2")


@dataclass
class Tried:
    values: Values = field(default_factory=dict)
    score: float | None = None


@for_each(
    "name, text, values",
    [
        ("lr", "0.1,0.2", [0.1, 0.2]),
        ("lr", "0.1, 0.1", [0.1]),
        ("epochs", "3", [3]),
        ("hidden", "64,128,512-256", ["64", "128", "512-256"]),
        ("hidden", '64,"512,256"', ["64", "512-256"]),
        ("optimizer", "sgd,adam", ["sgd", "adam"]),
        ("nesterov", "yes,no", [True, False]),
    ],
)
def test_values_are_parted_by_commas(name: str, text: str, values: list[object]) -> None:
    assert choosers.parse(name, text, ranges=False) == values
    assert choosers.parse(name, text, ranges=True) == values


def test_ranges_are_for_optuna_alone() -> None:
    assert choosers.parse("lr", "0.01..0.5", ranges=True) == Between(0.01, 0.5, whole=False)
    assert choosers.parse("batch_size", "16..256", ranges=True) == Between(16, 256, whole=True)
    with pytest.raises(typer.BadParameter):
        choosers.parse("lr", "0.01..0.5", ranges=False)


@for_each(
    "name, text",
    [("lr", ""), ("lr", "x"), ("lr", "0.1,,"), ("lr", "0.5..0.1"), ("epochs", "1.5"), ("hidden", "a"), ("hidden", "8-"),
     ("optimizer", "sgd,momentum"), ("nesterov", "1"), ("train_split", "0.9,1"), ("lr", "nan,0.1"), ("lr", "1e400"),
     ("lr", "1..inf"), ("lr", "-1e308..1e308"), ("epochs", "9" * 400)],
)  # fmt: skip
def test_values_that_are_none_are_refused(name: str, text: str) -> None:
    with pytest.raises(typer.BadParameter, match="must be"):
        choosers.parse(name, text, ranges=True)


def test_a_grid_has_every_combination_and_waits_for_room() -> None:
    grid = choosers.chooser({"lr": "0.1,0.2", "hidden": "8,16", "epochs": "3"}, None)
    assert (grid.total, grid.names) == (4, ["lr", "hidden"])
    trials: list[Tried] = []
    while (values := grid.choose(trials, 3)) is not None:
        trials.append(Tried(values))
    assert len(trials) == 3
    trials[1].score = 0.5
    trials.append(Tried(grid.choose(trials, 3) or {}))
    assert grid.choose(trials, 9) is None
    assert len({(trial.values["lr"], trial.values["hidden"]) for trial in trials}) == 4
    assert all(trial.values["epochs"] == 3 for trial in trials)


def tuned(order: list[int]) -> list[Values]:
    """What Optuna chooses for eight trials, two together, of which the results come in this order within each pair."""
    chooser = choosers.chooser({"lr": "0.001..1", "hidden": "8,16", "batch_size": "16..64"}, 8)
    trials: list[Tried] = []
    while len(trials) < 8:
        while (values := chooser.choose(trials, 2)) is not None:
            trials.append(Tried(values))
        for place in order:
            trial = trials[-2:][place]
            trial.score = -abs(math.log10(float(trial.values["lr"])) + 1) if trial.values["hidden"] == "8" else math.nan
            if (values := chooser.choose(trials, 2)) is not None:
                trials.append(Tried(values))
                break
    return [trial.values for trial in trials]


def test_optuna_chooses_the_same_again_whichever_result_comes_first() -> None:
    chosen = tuned([0, 1])
    assert all(0.001 <= values["lr"] <= 1 and 16 <= values["batch_size"] <= 64 for values in chosen)
    assert len({values["lr"] for values in chosen}) == 8
    assert tuned([1, 0])[:3] == chosen[:3]
    assert tuned([0, 1]) == chosen


def test_a_sweep_names_the_best_network(client: Client, tmp_path: Path) -> None:
    done = run(client, tmp_path, "sweep", "--lr", "0.0001,0.1", *SMALL)
    assert done.returncode == 0, done.stderr
    *trials, best, param_id = done.stdout.splitlines()
    assert [line.split("\t")[0] for line in trials] == ["1/4", "2/4", "3/4", "4/4"]
    accuracies = {named: float(accuracy[:-1]) for _, named, accuracy in (line.split("\t") for line in trials)}
    named = re.fullmatch(r"Best: (.*); validation accuracy (.*)%, test (.*)%", best)
    assert named
    assert accuracies[named[1]] == max(accuracies.values()) == float(named[2])
    assert client.api.evaluation(param_id)["accuracy"] == pytest.approx(float(named[3]) / 100)


def test_a_sweep_that_is_started_again_finds_what_it_has_made(client: Client, tmp_path: Path) -> None:
    first = run(client, tmp_path, "sweep", "--lr", "0.2,0.3", *SMALLEST, "--json")
    made = len(client.api.all_runs())
    again = run(client, tmp_path, "sweep", "--lr", "0.2,0.3", *SMALLEST, "--json")
    assert again.stdout == first.stdout
    assert len(client.api.all_runs()) == made
    more = json.loads(run(client, tmp_path, "sweep", "--lr", "0.2,0.3,0.4", *SMALLEST, "--json").stdout)
    assert len(client.api.all_runs()) == made + 1
    assert {trial["run_id"] for trial in json.loads(first.stdout)["trials"]} < {x["run_id"] for x in more["trials"]}
    other = json.loads(run(client, tmp_path, "sweep", "--lr", "0.2", *SMALLEST, "--name", "other", "--json").stdout)
    assert not {x["run_id"] for x in other["trials"]} & {x["run_id"] for x in more["trials"]}
    assert other["best"]["val_accuracy"] == other["trials"][0]["val_accuracy"]


def test_ctrl_c_leaves_the_runs_and_says_how_to_go_on(client: Client, tmp_path: Path) -> None:
    before = len(client.api.all_runs())
    options = ["sweep", "--lr", "0.01", "--hidden", "1024-1024", "--epochs", "1000"]
    command = Command(*options, env=against(client, tmp_path))
    until(lambda: len(client.api.all_runs()) > before, "the run is there")
    run_id = client.api.runs(limit=1)["items"][0]["run_id"]
    command.process.send_signal(signal.SIGINT)
    ended = command.end()
    assert ended.stderr == "falcon-mnist: interrupted; the same command resumes the sweep\n"
    assert ended.returncode == 130
    assert client.run(run_id)["state"] in ("queued", "running")
    client.api.cancel(run_id)
    done = run(client, tmp_path, *options)
    assert (done.returncode, done.stderr) == (1, "falcon-mnist: no network of the sweep was trained: cancelled\n")


def test_values_that_do_not_go_together_are_told_and_the_others_tried(client: Client, tmp_path: Path) -> None:
    done = run(client, tmp_path, "sweep", "--optimizer", "sgd,adam", "--momentum", "0.9", *SMALLEST)
    assert done.returncode == 0, done.stderr
    assert "optimizer adam\t--momentum needs --optimizer sgd" in done.stdout
    none = run(client, tmp_path, "sweep", "--lr", "1000", *SMALL)
    assert none.returncode == 1
    assert "--lr: must be at most 100" in none.stderr


def test_the_leaderboard_has_the_best_on_top(client: Client, tmp_path: Path) -> None:
    status, shown = run_on_terminal(client, tmp_path, "sweep", "--lr", "0.00001,0.1", "--hidden", "8", "--epochs", "3")
    assert status == 0, shown
    last = shown[shown.rindex("2 of 2 trials") :].splitlines()
    assert re.match(r"1 +0\.1 +[\d.]+% +3/3", last[2])
    assert re.match(r"2 +1e-05 +[\d.]+% +3/3", last[3])


def test_optuna_chooses_by_what_the_server_has_trained(client: Client, tmp_path: Path) -> None:
    options = ("sweep", "--trials", "4", "--lr", "0.001..0.5", "--hidden", "8", "--epochs", "1", "--together", "2")
    first = json.loads(run(client, tmp_path, *options, "--json").stdout)
    assert len({trial["values"]["lr"] for trial in first["trials"]}) == 4
    made = len(client.api.all_runs())
    assert json.loads(run(client, tmp_path, *options, "--json").stdout) == first
    assert len(client.api.all_runs()) == made


def test_trials_without_optuna_are_a_sentence(client: Client, tmp_path: Path) -> None:
    done = Command("optuna", "sweep", "--trials", 2, env=against(client, tmp_path), main="missing:main").end()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "falcon-mnist: --trials needs Optuna: pip install 'falcon-mnist[sweep]'\n"


def test_a_network_is_judged_by_what_it_has_stored(client: Client) -> None:
    plan = Plan(choosers.chooser({"hidden": "8", "lr": "0.5", "epochs": "6", "keep": "best"}, None), "relu", "", 1)
    *_, (trial,) = sweep.trials(client.api, plan)
    run = trial.run
    assert run
    assert trial.score == run["history"][(run["best_epoch"] or 0) - 1]["val_accuracy"]
    assert trial.param_id == run["param_id"]
