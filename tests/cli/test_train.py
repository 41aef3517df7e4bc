"""`train` and `recipes`, as a shell runs them."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import forking
from rich.console import Console
from server_process import environment

from falcon_mnist.cli import report


def run(home: Path, digits: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = environment(home, dataset=digits, workers=1) | {"COLUMNS": "100"}
    return forking.run(*arguments, env=variables, timeout=120)


def test_train_shows_what_the_network_reaches_and_ends_with_one_object(tmp_path: Path, digits: Path) -> None:
    options = ["--recipe", "lecun-300", "--hidden", "8", "--epochs", "3", "--warmup-epochs", "1", "--lr", "0.0001"]
    ended = run(tmp_path / "home", digits, "train", *options, "--json")
    assert ended.returncode == 0, ended.stderr
    *shown, last = ended.stdout.splitlines()
    result = json.loads(last)
    assert result.keys() >= {"model_id", "param_id", "epochs", "seconds", "test_accuracy"}
    assert result["epochs"] == 3
    assert f"Test accuracy: {result['test_accuracy']:.2%} of 100" in "\n".join(shown)
    assert any("Digits (rows) and what they are taken for" in line for line in shown)
    assert any("taken for" in line and "%" in line for line in shown)


def test_an_unknown_recipe_is_refused_with_those_there_are(tmp_path: Path, digits: Path) -> None:
    ended = run(tmp_path / "home", digits, "train", "--recipe", "resnet")
    assert ended.returncode == 2
    assert "lecun-300" in ended.stderr


def test_a_recipe_that_was_mistyped_is_named(tmp_path: Path, digits: Path) -> None:
    ended = run(tmp_path / "home", digits, "train", "--recipe", "simard-80")
    assert ended.returncode == 2
    assert "did you mean simard-800?" in ended.stderr


def test_recipes_are_listed(tmp_path: Path, digits: Path) -> None:
    table = run(tmp_path / "home", digits, "recipes").stdout
    items = json.loads(run(tmp_path / "home", digits, "recipes", "--json").stdout)
    assert all(item["name"] in table for item in items)
    assert {"architecture", "hyperparams", "source", "errors"} <= items[0].keys()
    shown = io.StringIO()
    Console(width=60, file=shown).print(report.recipes(items))
    assert all(item["name"] in shown.getvalue() for item in items)
