"""The command `falcon-mnist`: its commands, and what it says when one goes wrong: one sentence."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from falcon_mnist.cli import console
from falcon_mnist.cli.commands import data, exchange, home, served, serving, stopping, sweeping, training
from falcon_mnist.cli.entry import INTERRUPTED

# In the order of `--help`.
COMMANDS: dict[str, Callable[..., None]] = {
    "serve": serving.serve,
    "demo": serving.demo,
    "train": training.train,
    "recipes": training.recipes,
    "finish": stopping.finish,
    "digits": data.digits,
    "token": home.token,
    "backup": home.backup,
    "models": served.models,
    "runs": served.runs,
    "watch": served.watch,
    "infer": served.infer,
    "sweep": sweeping.sweep,
    "export": exchange.export,
    "import": exchange.bring,
    "prune": home.prune,
    "doctor": home.doctor,
    "migrate-database": home.migrate_database,
}

app = typer.Typer(
    name="falcon-mnist",
    help="Train and serve small neural networks on MNIST over a REST API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


@app.callback(invoke_without_command=True)
def _options(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if show_version:
        console.say(f"falcon-mnist {version('falcon-mnist')}")
        raise typer.Exit


def main() -> int:
    """Run the command line; what a person can mend ends it with one sentence. Returns its status, or exits."""
    try:
        app()
    except Exception as error:
        from falcon_mnist.cli.watch import InterruptedRunError

        if (sentence := _sentence(error)) is None:
            raise
        console.err.print(f"falcon-mnist: {sentence}", soft_wrap=True, markup=False)
        return INTERRUPTED if isinstance(error, InterruptedRunError) else 1
    return 0


def _sentence(error: Exception) -> str | None:
    """What to tell a person, for the errors that are made for people; None for a bug."""
    from peewee import DatabaseError

    from falcon_mnist.api.errors import Problem

    if isinstance(error, Problem):
        return " ".join([error.detail, *(f"{fault.pointer}: {fault.detail}." for fault in error.faults[1:])])
    if isinstance(error, DatabaseError):
        return f"the database cannot be used: {error}"
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{where}"
    if type(error).__module__.startswith("falcon_mnist."):
        return str(error)
    return None
