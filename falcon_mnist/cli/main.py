"""The command `falcon-mnist`: its commands, and what it says when one goes wrong: one sentence."""

from __future__ import annotations

import signal
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from falcon_mnist.cli import console
from falcon_mnist.cli.commands import data, exchange, home, served, serving, sweeping, training
from falcon_mnist.cli.entry import INTERRUPTED
from falcon_mnist.cli.options import flag

# In the order of `--help`, by heading.
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Serve and train": {
        "serve": serving.serve,
        "demo": serving.demo,
        "train": training.train,
        "recipes": training.recipes,
        "digits": data.digits,
    },
    "Ask a running server": {
        "runs": served.runs,
        "watch": served.watch,
        "finish": served.finish,
        "cancel": served.cancel,
        "sweep": sweeping.sweep,
        "models": served.models,
        "infer": served.infer,
        "export": exchange.export,
        "import": exchange.bring,
    },
    "Look after a home": {
        "token": home.token,
        "doctor": home.doctor,
        "backup": home.backup,
        "prune": home.prune,
        "migrate-database": home.migrate_database,
    },
}

app = typer.Typer(
    name="falcon-mnist",
    help="Train and serve small neural networks on MNIST over a REST API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data", rich_help_panel=next(iter(COMMANDS)))
for _heading, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_heading)(_command)


@app.callback(invoke_without_command=True)
def _options(
    show_version: Annotated[bool, flag("--version", help="Show the version and exit.")] = False,
) -> None:
    if show_version:
        console.say(f"falcon-mnist {version('falcon-mnist')}")
        raise typer.Exit


# Made once for all calls of `main` in a process: to read all annotations takes longer than most commands.
command = typer.main.get_command(app)


def main() -> int:
    """Run the command line; what a person can mend ends it with one sentence. Returns its status, or exits."""
    try:
        command()
    except Exception as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as entry: what is left takes no time
        from falcon_mnist.cli.complaints import sentence_of
        from falcon_mnist.cli.watch import InterruptedRunError

        if (sentence := sentence_of(error)) is None:
            raise
        console.complain(sentence)
        return INTERRUPTED if isinstance(error, InterruptedRunError) else 1
    return 0
