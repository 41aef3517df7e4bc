"""Every hyperparameter as an option of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal, NamedTuple

import typer


class Hyperparameter(NamedTuple):
    """Where an option's value stands in the hyperparameters, its type, and what `--help` says.

    `only` names the types of optimizer or schedule that have it; empty if it goes with all.
    """

    path: tuple[str, ...]
    type: Any
    help: str
    only: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What `--help` says, with what it goes with."""
        return f"{', '.join(self.only)}: {self.help}" if self.only else self.help


# An option that is not given leaves its member out: the defaults are those of the API.
HYPERPARAMETERS = {
    "epochs": Hyperparameter(("epochs",), int, "Passes over the training digits (5)."),
    "batch_size": Hyperparameter(("batch_size",), int, "Digits in a step (64)."),
    "optimizer": Hyperparameter(("optimizer", "type"), Literal["sgd", "adam", "adamw"], "Update rule (sgd)."),
    "lr": Hyperparameter(("optimizer", "lr"), float, "Learning rate (sgd: 0.1; adam, adamw: 0.001)."),
    "momentum": Hyperparameter(("optimizer", "momentum"), float, "momentum, from 0 to below 1 (0).", ("sgd",)),
    "nesterov": Hyperparameter(("optimizer", "nesterov"), bool, "Nesterov's momentum (no).", ("sgd",)),
    "weight_decay": Hyperparameter(("optimizer", "weight_decay"), float, "Decay of the weights (adamw: 0.01; else 0)."),
    "beta1": Hyperparameter(("optimizer", "beta1"), float, "decay of the mean gradient (0.9).", ("adam", "adamw")),
    "beta2": Hyperparameter(
        ("optimizer", "beta2"), float, "decay of the mean squared gradient (0.999).", ("adam", "adamw")
    ),
    "eps": Hyperparameter(("optimizer", "eps"), float, "added to the denominator (1e-8).", ("adam", "adamw")),
    "schedule": Hyperparameter(
        ("schedule", "type"), Literal["constant", "cosine", "step"], "Learning rate over the steps (constant)."
    ),
    "warmup_epochs": Hyperparameter(
        ("schedule", "warmup_epochs"), float, "Epochs in which the learning rate rises (0)."
    ),
    "final": Hyperparameter(("schedule", "final"), float, "share of the learning rate at the end (0).", ("cosine",)),
    "every": Hyperparameter(("schedule", "every"), int, "epochs between two steps down (10).", ("step",)),
    "factor": Hyperparameter(("schedule", "factor"), float, "factor of the learning rate in each (0.1).", ("step",)),
    "input_dropout": Hyperparameter(("dropout", "input"), float, "Share of the pixels that are dropped (0)."),
    "hidden_dropout": Hyperparameter(("dropout", "hidden"), float, "Share of the hidden units that are dropped (0)."),
    "shift": Hyperparameter(("augmentation", "shift"), float, "Largest shift of a training digit, in pixels (0)."),
    "rotation": Hyperparameter(("augmentation", "rotation"), float, "Largest rotation, in degrees (0)."),
    "scale": Hyperparameter(("augmentation", "scale"), float, "Largest change of width and height, as a share (0)."),
    "shear": Hyperparameter(("augmentation", "shear"), float, "Largest shear, as a share (0)."),
    "elastic": Hyperparameter(("augmentation", "elastic"), float, "Elastic distortion, in pixels (0)."),
    "smoothness": Hyperparameter(("augmentation", "smoothness"), float, "Elastic: sigma of the Gaussian (5)."),
    "label_smoothing": Hyperparameter(("label_smoothing",), float, "Share of each label spread over all classes (0)."),
    "averaging": Hyperparameter(("averaging",), float, "Decay of a moving average of the parameters; 0 for none (0)."),
    "seed": Hyperparameter(("seed",), int, "The same seed gives the same parameters (42)."),
    "train_split": Hyperparameter(
        ("train_split",), float, "Share of the digits to train on; the rest validates (0.9)."
    ),
    "shuffle": Hyperparameter(("shuffle",), bool, "Another order in each epoch (yes)."),
    "patience": Hyperparameter(
        ("early_stopping", "patience"), int, "Stop when the validation loss has not improved for so many epochs."
    ),
    "keep": Hyperparameter(
        ("keep",), Literal["last", "best"], "Parameters to store: the last or the best epoch's (last)."
    ),
}


def flag(*names: str, help: str) -> Any:
    """An option that takes no value: with an empty `metavar`, `--help` shows no type beside it."""
    return typer.Option(*names, metavar="", help=help)


def with_group(name: str, make: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command whose argument `name` is what `make` returns, and the arguments of `make` are its options."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        group = inspect.signature(make, eval_str=True).parameters

        @wraps(command)
        def call(**options: Any) -> None:
            made = make(**{option: options.pop(option) for option in group})
            command(**options, **{name: made})

        signature = inspect.signature(command, eval_str=True)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != name]
        every = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *group.values())]
        call.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
        return call

    return decorate


def with_hyperparams(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose argument `hyperparams` is made of one option for each hyperparameter."""

    @wraps(command)
    def call(**options: Any) -> None:
        hyperparams: dict[str, Any] = {}
        for name, hyperparameter in HYPERPARAMETERS.items():
            if (value := options.pop(name)) is not None:
                put(hyperparams, hyperparameter.path, value)
        command(**options, hyperparams=hyperparams)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "hyperparams"]
    call.__signature__ = signature.replace(parameters=[*own, *map(_parameter, HYPERPARAMETERS)])  # type: ignore[attr-defined]
    return call


def _parameter(name: str) -> inspect.Parameter:
    wanted = HYPERPARAMETERS[name]
    described = flag(help=wanted.text) if wanted.type is bool else typer.Option(help=wanted.text)
    option = Annotated[wanted.type | None, described]  # type: ignore[name-defined]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)


def put(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a member that lies `path` deep; what lies above it is made."""
    for step in path[:-1]:
        document = document.setdefault(step, {})
    document[path[-1]] = value
