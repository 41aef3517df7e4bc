"""`finish`: stops a run of a running server, and keeps what it has learned."""

from __future__ import annotations

from typing import Annotated

import typer

from falcon_mnist.cli import remote


def finish(
    run_id: Annotated[str, typer.Argument(help="A running run of the server.", metavar="RUN")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the server's answer.")] = False,
    url: remote.Url = remote.AT_HOME,
    token_file: remote.TokenFile = None,
    token: remote.Token = None,
) -> None:
    """Stop a running run at the end of the epoch under way, and keep what it has learned."""
    with remote.client(url, token_file, token) as client:
        run = client.finish(run_id)
    epoch, epochs = run["epoch"] + 1, run["epochs_total"]
    line = f"Run {run_id} ends after epoch {epoch} of {epochs}, and keeps what it has learned by then."
    remote.show(run, as_json=as_json, lines=[line])
