"""Every hyperparameter is an option of `falcon-mnist train`."""

from typing import Any, get_args

import pytest
from pydantic import BaseModel

from falcon_mnist.cli.options import HYPERPARAMETERS, with_hyperparams
from falcon_mnist.training.hyperparams import Hyperparams

# Its only value is its default.
ONE_VALUE = {("loss",)}
VALUES: dict[str, Any] = {
    "optimizer": "sgd",
    "schedule": "constant",
    "nesterov": True,
    "shuffle": False,
    "keep": "best",
    "epochs": 3,
    "every": 2,
    "patience": 4,
    "batch_size": 8,
    "seed": 1,
    "eps": 0.5,
}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in get_args(annotation) for model in models_in(part)]


def paths(model: type[BaseModel], above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for name, field in model.model_fields.items():
        nested = models_in(field.annotation)
        found |= {path for each in nested for path in paths(each, (*above, name))} if nested else {(*above, name)}
    return found


def test_each_member_has_an_option():
    assert {each.path for each in HYPERPARAMETERS.values()} | ONE_VALUE == paths(Hyperparams)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_an_option_sets_its_member_and_no_other(name):
    given: list[dict[str, Any]] = []

    @with_hyperparams
    def command(*, hyperparams: dict[str, Any]) -> None:
        given.append(hyperparams)

    value = VALUES.get(name, 0.5)
    command(**dict.fromkeys(HYPERPARAMETERS))
    command(**{**dict.fromkeys(HYPERPARAMETERS), name: value})
    path = HYPERPARAMETERS[name].path
    assert given == [{}, {path[0]: {path[1]: value} if path[1:] else value}]
