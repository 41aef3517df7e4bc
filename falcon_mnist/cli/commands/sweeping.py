"""`sweep`, against a running server."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_args

import typer

from falcon_mnist.cli import networks, remote
from falcon_mnist.cli.options import HYPERPARAMETERS

# What is tried where nothing is said.
USUAL = {"lr": "0.03,0.1,0.3", "hidden": "64,128"}
USUAL_RANGES = {"lr": "0.01..0.5", "hidden": "64,128,256,512-256"}


def _with_values(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose argument `texts` has what each hyperparameter's option was given."""

    @wraps(command)
    def call(**options: Any) -> None:
        texts = {name: text for name in HYPERPARAMETERS if (text := options.pop(name)) is not None}
        command(**options, texts=texts)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "texts"]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(help=wanted.text, metavar=_metavar(wanted.type))],
        )
        for name, wanted in HYPERPARAMETERS.items()
    ]
    call.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    return call


def _metavar(kind: Any) -> str:
    return "yes,no" if kind is bool else ",".join(get_args(kind)) or "NUMBER,…"


@remote.with_client
@_with_values
def sweep(
    *,
    hidden: Annotated[
        str | None,
        typer.Option(metavar="WIDTHS,…", help="Networks by commas, the widths of one joined: 64,128,512-256 (128)."),
    ] = None,
    activation: networks.Activation = "relu",
    trials: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Let Optuna choose so many, from values or low..high: --lr 0.01..0.5."),
    ] = None,
    together: Annotated[
        int | None, typer.Option(min=1, max=100, help="So many at the same time (as the server has workers).")
    ] = None,
    name: Annotated[str, typer.Option(help="The same name and values resume a sweep; another name starts one.")] = "",
    as_json: remote.AsJson = False,
    texts: dict[str, str],
    client: Any,
) -> None:
    """Train a network for each combination of values, by a running server, and name the best.

    Every option takes several values: --lr 0.03,0.1 --hidden 64,128,512-256 makes six.

    Started again, a sweep resumes where it was interrupted.
    """
    from falcon_mnist.cli import choosers, leaderboard
    from falcon_mnist.cli import sweep as sweeping
    from falcon_mnist.cli.watch import InterruptedRunError

    if hidden is not None:
        texts["hidden"] = hidden
    texts = {"hidden": "128"} | texts if texts else USUAL if trials is None else USUAL_RANGES
    chooser = choosers.chooser(texts, trials)
    plan = sweeping.Plan(chooser, activation, name, together or max(1, client.status()["workers"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with leaderboard.shown(chooser, quiet=as_json) as show:
            for done in sweeping.trials(client, plan):
                show(done)
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; the same command resumes the sweep") from None
    best = sweeping.best(done)
    test_accuracy = client.evaluation(best.param_id)["accuracy"]
    lines = [
        f"Best: {leaderboard.described(best, chooser)}; validation accuracy {best.score:.2%}, test {test_accuracy:.2%}",
        best.param_id,
    ]
    remote.show(leaderboard.document(done, test_accuracy), as_json=as_json, lines=lines)
