"""What a sweep tries: every combination of the values given, or what Optuna chooses from them."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args, get_origin

import typer

from falcon_mnist.cli.options import HYPERPARAMETERS

Value = int | float | str | bool
Values = dict[str, Value]  # by the names of options; `hidden` as in 512-256


class Between(NamedTuple):
    """Any number from `low` to `high`."""

    low: float
    high: float
    whole: bool


class Tried(Protocol):
    """A trial as choosers see it."""

    @property
    def score(self) -> float | None:
        """None until it has ended, NaN where it came to nothing."""


class Chooser(Protocol):
    """Says what to try next, or None as long as results must come first.

    There are `total` trials in all, which differ in the options of these names.
    """

    total: int
    names: list[str]

    def choose(self, trials: Sequence[Tried], together: int) -> Values | None:
        """The values of the next trial."""


class SweepError(Exception):
    """A sweep that cannot be made; the message is one sentence."""


class Grid:
    """Every combination."""

    def __init__(self, choices: Mapping[str, Sequence[Value]]) -> None:
        self._combinations = [
            dict(zip(choices, combination, strict=True)) for combination in itertools.product(*choices.values())
        ]
        self.total = len(self._combinations)
        self.names = [name for name, values in choices.items() if len(values) > 1]

    def choose(self, trials: Sequence[Tried], together: int) -> Values | None:
        """The next combination as soon as fewer than `together` are under way."""
        if len(trials) == self.total or sum(trial.score is None for trial in trials) >= together:
            return None
        return self._combinations[len(trials)]


class Tuned:
    """What Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) expects most of.

    The same results in the same order give the same choices. So a trial is chosen when all but the last `together` are
    known, in the order in which they began: a resumed sweep makes the choices that it made before.
    """

    def __init__(self, space: Mapping[str, Sequence[Value] | Between], trials: int) -> None:
        try:
            import optuna
        except ImportError:
            raise SweepError("--trials needs Optuna: pip install 'falcon-mnist[sweep]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
        self._space = {name: _distribution(values) for name, values in space.items()}
        self._asked: list[Any] = []
        self._told = 0
        self.total = trials
        self.names = [name for name, values in space.items() if isinstance(values, Between) or len(values) > 1]

    def choose(self, trials: Sequence[Tried], together: int) -> Values | None:
        """What is to be tried after these results."""
        from optuna.trial import TrialState

        while self._told < len(trials) and (score := trials[self._told].score) is not None:
            failed = math.isnan(score)
            state = TrialState.FAIL if failed else TrialState.COMPLETE
            self._study.tell(self._asked[self._told], None if failed else score, state=state)
            self._told += 1
        if len(trials) == self.total or len(trials) - self._told >= together:
            return None
        self._asked.append(self._study.ask(self._space))
        return dict(self._asked[-1].params)


def chooser(texts: Mapping[str, str], trials: int | None) -> Chooser:
    """What these options ask for. Raises `typer.BadParameter`, `SweepError`."""
    if trials is not None:
        space = {name: parse(name, text, ranges=True) for name, text in texts.items()}
        return Tuned(space, trials)
    choices = {name: parse(name, text, ranges=False) for name, text in texts.items()}
    return Grid({name: values for name, values in choices.items() if not isinstance(values, Between)})


def _distribution(values: Sequence[Value] | Between) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(values, Between):
        return CategoricalDistribution(list(values))
    wide = values.low > 0 and values.high >= 10 * values.low  # such ranges are tried by their magnitude
    if values.whole:
        return IntDistribution(int(values.low), int(values.high), log=wide)
    return FloatDistribution(values.low, values.high, log=wide)


def parse(name: str, text: str, *, ranges: bool) -> list[Value] | Between:
    """An option's values, separated by commas, or with `ranges` low..high. Raises `typer.BadParameter`."""
    kind = str if name == "hidden" else HYPERPARAMETERS[name].type
    try:
        if ranges and (bounds := re.fullmatch(r"([^,]+)\.\.([^,]+)", text)) and kind in (int, float):
            low, high = kind(bounds[1]), kind(bounds[2])
            if not (low < high and math.isfinite(high - low)):
                raise ValueError
            return Between(low, high, kind is int)
        cells = [cell.strip() for cell in next(csv.reader([text]), [])]
        values = [_value(name, kind, cell) for cell in cells]
    except (ValueError, KeyError, OverflowError):
        values = []
    if not values or (name == "train_split" and 1 in values):
        option = f"--{name.replace('_', '-')}"
        raise typer.BadParameter(f"must be {_wanted(name, kind, ranges=ranges)}", param_hint=option)
    return list(dict.fromkeys(values))


def _value(name: str, kind: Any, cell: str) -> Value:
    if name == "hidden":
        widths = [int(width) for width in re.split("[-,]", cell)] if cell else []
        return "-".join(map(str, widths))
    if get_origin(kind) is Literal:
        if cell not in get_args(kind):
            raise ValueError
        return cell
    if kind is bool:
        return {"yes": True, "no": False}[cell]
    number: int | float = kind(cell)
    if not math.isfinite(number):
        raise ValueError
    return number


def _wanted(name: str, kind: Any, *, ranges: bool) -> str:
    if name == "hidden":
        return "networks separated by commas, the widths of one joined as in 512-256"
    if get_origin(kind) is Literal:
        return f"of {', '.join(get_args(kind))}, separated by commas"
    if kind is bool:
        return "yes, no or yes,no"
    numbers = f"{'whole' if kind is int else 'finite'} numbers separated by commas"
    if name == "train_split":
        return f"{numbers}, below 1: the best is found by the validation digits"
    return f"{numbers}, or low..high" if ranges else numbers
