"""What is wrong with options is said by their own names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import forking
import pytest
import typer
from asking import PATIENCE
from cases import for_each
from server_process import environment

from falcon_mnist.cli import networks, options, refusals

REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"optimizer": {"lr": -1}}, ["--lr: must be greater than 0"]),
    (
        {"epochs": 0, "dropout": {"input": 1.5}},
        ["--epochs: must be at least 1", "--input-dropout: must be less than 1"],
    ),
    ({"optimizer": {"beta1": 0.9}}, ["--beta1 needs --optimizer adam or adamw"]),
    ({"optimizer": {"type": "adam", "momentum": 0.9}}, ["--momentum needs --optimizer sgd"]),
    ({"schedule": {"final": 0.1}}, ["--final needs --schedule cosine"]),
    ({"schedule": {"warmup_epochs": 9}}, ["--warmup-epochs must be less than epochs"]),
    ({"keep": "best", "train_split": 1}, ["--keep: needs a validation set: --train-split must be less than 1"]),
    (
        {"early_stopping": {"patience": 5}, "train_split": 1},
        ["--patience: needs a validation set: --train-split must be less than 1"],
    ),
    ({"optimizer": {"lr": float("nan")}}, ["--lr: must be finite"]),
    ({"epochs": 10**400}, ["--epochs: must be at most 1000, but is inf"]),
]


@for_each("hyperparams, sentences", REFUSED)
def test_hyperparameters_are_named_as_options(hyperparams: dict[str, Any], sentences: list[str]) -> None:
    said = refused(networks.model("8", "relu", **hyperparams))
    assert [part[: len(sentence)] for part, sentence in zip(said, sentences, strict=True)] == sentences


@pytest.mark.parametrize(("hidden", "says"), [("0", "at least 1"), ("64,0", "at least 1"), ("1,1,1,1,1", "at most 5")])
def test_widths_are_named_once(hidden: str, says: str) -> None:
    (said,) = refused(networks.model(hidden, "relu"))
    assert said.startswith("--hidden: ")
    assert says in said


def test_a_width_that_is_missing_is_not_left_out() -> None:
    for hidden in ("128,,64", "128,", ","):
        with pytest.raises(typer.BadParameter, match="must be whole numbers"):
            networks.model(hidden, "relu")
    assert len(networks.model(" ", "relu")["architecture"]["layers"]) == 1


def test_each_hyperparameter_that_can_be_wrong_has_an_option() -> None:
    for name, wanted in options.HYPERPARAMETERS.items():
        said = refusals.in_options([("/hyperparams/" + "/".join(wanted.path), "is wrong")], given(wanted))
        assert said == f"--{name.replace('_', '-')}: is wrong"


def given(wanted: options.Hyperparameter) -> dict[str, Any]:
    """Hyperparameters of which this one may be a member."""
    return {wanted.path[0]: {"type": wanted.only[0]} if wanted.only else {}}


def refused(body: dict[str, Any]) -> list[str]:
    with pytest.raises(refusals.OptionsError) as caught:
        refusals.checked(body, max_parameters=1_000_000)
    return str(caught.value).split("; ")


def test_a_command_says_it_in_one_line(tmp_path: Path, digits: Path) -> None:
    variables = environment(tmp_path / "home", dataset=digits)
    ended = forking.run("train", "--lr", "-1", env=variables, timeout=PATIENCE)
    assert ended.returncode == 1
    assert ended.stderr == "falcon-mnist: --lr: must be greater than 0.0, but is -1.0\n"
    assert ended.stdout == ""
