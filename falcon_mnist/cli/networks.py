"""The options that describe a network, and the body of `POST /models` that they make."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

import typer

Hidden = Annotated[str, typer.Option(help="Widths of the hidden layers, separated by commas; '' for none.")]
Activation = Annotated[Literal["relu", "sigmoid", "tanh"], typer.Option(help="After each hidden layer.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training digits.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same parameters.")]


def recipe_names() -> list[str]:
    """What `--recipe` takes."""
    from falcon_mnist.training.recipes import RECIPES

    return list(RECIPES)


Recipe = Annotated[
    str | None, typer.Option(autocompletion=recipe_names, help="Begin with a recipe; other options change it.")
]


def model(hidden: str, activation: str, **hyperparams: Any) -> dict[str, Any]:
    """The body of `POST /models` that the options describe."""
    from falcon_mnist.client import network

    try:
        widths = [int(width) for width in hidden.split(",")] if hidden.strip() else []
    except ValueError:
        raise typer.BadParameter("must be whole numbers, separated by commas", param_hint="--hidden") from None
    return {"architecture": network(*widths, activation=activation), "hyperparams": hyperparams}


def from_recipe(name: str, hidden: str | None, activation: str, hyperparams: dict[str, Any]) -> dict[str, Any]:
    """The body of `POST /models` of a recipe with the options put over it."""
    from falcon_mnist.training.hyperparams import merge
    from falcon_mnist.training.recipes import RECIPES

    if name not in RECIPES:
        meant = get_close_matches(name, RECIPES, n=1, cutoff=0.7)
        advice = f"did you mean {meant[0]}?" if meant else f"known are {', '.join(RECIPES)}"
        raise typer.BadParameter(f"is not a known recipe: {advice}", param_hint="--recipe")
    recipe = RECIPES[name]
    widths = ",".join(map(str, recipe.hidden)) if hidden is None else hidden
    return model(widths, activation, **merge(recipe.hyperparams, hyperparams))
