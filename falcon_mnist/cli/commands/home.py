"""What looks after a home: `token`, `backup`, `prune`, `doctor`, `migrate-database`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from falcon_mnist import logs
from falcon_mnist.cli import console
from falcon_mnist.cli.options import flag
from falcon_mnist.settings import Settings


def token() -> None:
    """Print the token that a server on this home asks for, for scripts: `$(falcon-mnist token)`."""
    settings = Settings.from_env()
    from falcon_mnist.api.auth import token_to_enter_with

    console.say(token_to_enter_with(settings))


def backup(folder: Annotated[Path, typer.Argument(help="A new or an empty folder.")]) -> None:
    """Copy models, runs, parameters and the token to a folder that can be served; servers may keep running."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.cli.backup import back_up

    with console.progress() as show:
        copied = back_up(settings, folder.expanduser().absolute(), progress=show)
    console.say(f"{copied.parameter_sets} parameter sets, and all models and runs, are in {folder}")
    for fault in copied.damaged:
        console.say(f"damaged, and not copied: {fault}")
    if copied.damaged:
        raise typer.Exit(1)


def prune(
    older_than: Annotated[str, typer.Option(help="Age of the runs to remove: 30d, 12h, 8w.")],
    keep_best: Annotated[int, typer.Option(min=0, help="Keep this many, those with the best validation accuracy.")] = 0,
    yes: Annotated[bool, flag("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove old runs with their parameters, and old models that have no runs left; servers may keep running."""
    logs.configure(logging.ERROR, "text")
    from falcon_mnist.cli import prune as pruning

    pruning.prune(Settings.from_env(), pruning.age(older_than), keep_best, ask=not yes)


def doctor() -> None:
    """Check database, files, space, data set and kernels, and say what to do; status 1 if something is wrong."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.cli.doctor import examine

    with console.progress() as show:
        findings = list(examine(settings, progress=show))
    problems = [finding for finding in findings if finding.advice]
    for finding in findings:
        console.say(f"{'to do' if finding.advice else 'ok   '}  {finding.subject}: {finding.found}")
        if finding.advice:
            console.say(f"       {finding.advice}")
    if problems:
        raise typer.Exit(1)


def migrate_database() -> None:
    """Copy the rows of the home's SQLite file into the PostgreSQL database of FALCON_MNIST_DATABASE_URL."""
    logs.configure(logging.ERROR, "text")
    settings = Settings.from_env()
    from falcon_mnist.storage.moving import move_home

    with console.progress() as show:
        counts = move_home(settings, progress=show)
    moved = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items())
    console.say(f"Moved {moved}.")
    console.say(f"{settings.home_database} stays as it is. Files stay in {settings.storage}.")
