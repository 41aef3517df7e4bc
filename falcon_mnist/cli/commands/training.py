"""`train` without a server, and the recipes for it."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer

from falcon_mnist import logs
from falcon_mnist.cli import console, networks
from falcon_mnist.cli.options import flag, with_hyperparams
from falcon_mnist.settings import Settings


@with_hyperparams
def train(
    *,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the hidden layers, by commas; '' for none (128).")
    ] = None,
    activation: networks.Activation = "relu",
    recipe: networks.Recipe = None,
    as_json: Annotated[bool, flag("--json", help="Print one JSON object as the last line.")] = False,
    hyperparams: dict[str, Any],
) -> None:
    """Train a network here, without a server. `falcon-mnist serve` then serves it, from the same FALCON_MNIST_HOME.

    A server that runs on that home already may execute the run instead, with its own settings.
    """
    logs.configure(logging.ERROR, "text")  # what the command prints, not what its workers do
    settings = Settings.from_env()
    from falcon_mnist.cli.train import train as train_offline

    if recipe is not None:
        body = networks.from_recipe(recipe, hidden, activation, hyperparams)
    else:
        body = networks.model("128" if hidden is None else hidden, activation, **hyperparams)
    train_offline(settings, body, as_json=as_json)


def recipes(
    as_json: Annotated[bool, flag("--json", help="Print them as JSON.")] = False,
) -> None:
    """List networks and hyperparameters that are known to do well, for `train --recipe`."""
    from falcon_mnist.api.resources.recipes import described
    from falcon_mnist.cli import report

    if as_json:
        import json

        console.say(json.dumps(described()))
    else:
        console.out.print(report.recipes(described()))
