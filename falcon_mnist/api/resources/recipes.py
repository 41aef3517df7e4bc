"""Recipes: bodies for `POST /models` that are known to do well."""

from __future__ import annotations

from typing import Any, ClassVar

import falcon

from falcon_mnist.api.auth import READ
from falcon_mnist.api.request import read_query
from falcon_mnist.api.resources.base import Resource, answer
from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.recipes import RECIPES, measured


class Recipes(Resource):
    """`/recipes`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer all recipes, every default filled in, with what they reached."""
        read_query(req)
        answer(resp, {"items": described()})


def described() -> list[dict[str, Any]]:
    """The recipes as they are answered."""
    results = measured()
    nothing: dict[str, Any] = {"errors": [], "seconds": [], "machine": None}
    return [
        {
            "name": name,
            "purpose": recipe.purpose,
            "source": recipe.source,
            "architecture": recipe.architecture,
            "hyperparams": Hyperparams.model_validate(recipe.hyperparams).model_dump(),
            **{member: results.get(name, nothing)[member] for member in nothing},
        }
        for name, recipe in RECIPES.items()
    ]
