"""`serve` and `demo`."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Annotated

import typer

from falcon_mnist import logs
from falcon_mnist.cli import networks
from falcon_mnist.settings import MOST_PROCESSES, Settings


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 for a free one.")] = 8000,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_PROCESSES, help="Server processes on that port (FALCON_MNIST_PROCESSES, or 1)."),
    ] = None,
    allow_weak_tokens: Annotated[
        bool,
        typer.Option(
            "--allow-weak-tokens",
            help="Listen at addresses other than loopback also with tokens that are short or that others may read.",
        ),
    ] = False,
) -> None:
    """Serve the API until Ctrl-C or SIGTERM; settings come from FALCON_MNIST_* variables."""
    logs.configure(logging.INFO, logs.style("auto"))  # what is wrong with the settings is said too
    settings = Settings.from_env()
    logs.configure(logging.INFO, logs.style(settings.log))
    if processes is not None:
        settings = replace(settings, processes=processes)
    from falcon_mnist.app import open_service
    from falcon_mnist.cli.serve import run

    run(open_service(settings), host, port, allow_weak_tokens=allow_weak_tokens)


def demo(hidden: networks.Hidden = "128", epochs: networks.Epochs = 5, seed: networks.Seed = 42) -> None:
    """Do the main job once over HTTP: create a model, train it, and recognise the test digits."""
    logs.configure(logging.ERROR, "text")  # what the command prints, not what its workers do
    settings = Settings.from_env()
    from falcon_mnist.cli.demo import run

    run(settings, networks.model(hidden, "relu", epochs=epochs, seed=seed))
