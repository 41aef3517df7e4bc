"""The options that describe a network, and the body of `POST /models` that they make."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Hidden = Annotated[str, typer.Option(help="Widths of the hidden layers, separated by commas; '' for none.")]
Activation = Annotated[str, typer.Option(help="After each hidden layer: relu, sigmoid or tanh.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training digits.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same parameters.")]


def model(hidden: str, activation: str, **hyperparams: Any) -> dict[str, Any]:
    """The body of `POST /models` that the options describe."""
    from falcon_mnist.client import network

    try:
        widths = [int(width) for width in hidden.split(",") if width.strip()]
    except ValueError:
        raise typer.BadParameter("must be whole numbers, separated by commas", param_hint="--hidden") from None
    return {"architecture": network(*widths, activation=activation), "hyperparams": hyperparams}


def from_recipe(name: str, hidden: str | None, activation: str, hyperparams: dict[str, Any]) -> dict[str, Any]:
    """The body of `POST /models` of a recipe with the options put over it."""
    from falcon_mnist.training.hyperparams import merge
    from falcon_mnist.training.recipes import RECIPES

    if name not in RECIPES:
        raise typer.BadParameter(f"must be one of {', '.join(RECIPES)}", param_hint="--recipe")
    recipe = RECIPES[name]
    widths = ",".join(map(str, recipe.hidden)) if hidden is None else hidden
    return model(widths, activation, **merge(recipe.hyperparams, hyperparams))
