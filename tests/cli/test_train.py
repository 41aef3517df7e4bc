"""`train` and `recipes`, as a shell runs them."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import forking
import pytest
from checking_client import Client
from on_disk import OnDisk
from rich.console import Console
from server_process import Server, environment
from small_networks import ENDLESS, SMALL

from falcon_mnist.app import open_service
from falcon_mnist.cli import report
from falcon_mnist.cli.train import report_run
from falcon_mnist.data import dataset
from falcon_mnist.settings import Settings


def run(home: Path, digits: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = environment(home, dataset=digits, workers=1) | {"COLUMNS": "100"}
    return forking.run(*arguments, env=variables, timeout=120)


def test_train_shows_what_the_network_reaches_and_what_to_do_next_and_leaves_the_queue_as_it_is(
    tmp_path: Path, digits: Path
) -> None:
    home = OnDisk(tmp_path / "home")
    service = open_service(Settings(home=home.home, dataset=str(digits)))
    model = service.store.create_model(ENDLESS["architecture"], ENDLESS["hyperparams"])
    left = service.store.create_run(model, ENDLESS["hyperparams"], max_queued=1)
    service.close()
    options = ["--recipe", "lecun-300", "--hidden", "8", "--epochs", "3", "--warmup-epochs", "1", "--lr", "0.005"]
    ended = run(home.home, digits, "train", *options, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    *shown, what_next, last = ended.stdout.splitlines()
    assert any(line.startswith("Unfinished runs of this home: 1;") for line in shown)
    assert home.query("SELECT state FROM runs WHERE id = ?", left.id) == [("queued",)]
    assert [line.split(":")[0] for line in shown if line.startswith("Epoch")] == ["Epoch 1", "Epoch 2", "Epoch 3"]
    assert any("Digits (rows) and what they are taken for" in line for line in shown)
    assert any("taken for" in line and "%" in line for line in shown)
    assert what_next.startswith("Next: `falcon-mnist serve`")
    result = json.loads(last)
    assert result.keys() >= {"model_id", "param_id", "epochs", "seconds", "test_accuracy"}
    assert result["epochs"] == 3
    assert f"Test accuracy: {result['test_accuracy']:.2%} of 100" in "\n".join(shown)


def test_a_run_that_a_server_has_executed_on_other_digits_is_not_shown_as_if_it_were_ours(
    serve: Callable[..., Server], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its mistakes were drawn as digits of our data set that have the same numbers."""
    server = serve()
    with Client(server.url()) as client:
        run = client.trained({"architecture": SMALL, "hyperparams": {"epochs": 1, "optimizer": {"lr": 1e-6}}})
    data = dataset.load(str(digits), tmp_path)
    with closing(open_service(Settings(home=server.home, dataset=str(digits)))) as service:
        for checksum, differs in ((data.checksum, False), ("of others", True)):
            report_run(service, run, replace(data, checksum=checksum), as_json=False)
            shown = capsys.readouterr().out
            assert ("A server on this home executed the run, on its own data set: folder." in shown) is differs
            assert ("The surest mistakes:" in shown) is not differs
            assert "of 100 folder test digits" in shown


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
