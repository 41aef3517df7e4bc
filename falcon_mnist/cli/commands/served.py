"""`models`, `runs`, `watch`, `finish`, `cancel` and `infer`, against a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from falcon_mnist.cli import console, remote
from falcon_mnist.cli.options import flag
from falcon_mnist.constants import MAX_PAGE_SIZE, PAGE_SIZE, State

Limit = Annotated[int, typer.Option(min=1, max=MAX_PAGE_SIZE, help="How many, newest first.")]
InState = Annotated[
    State | None,
    typer.Option(help="Only those in this state."),
]


@remote.with_client
def models(*, limit: Limit = PAGE_SIZE, as_json: remote.AsJson = False, client: Any) -> None:
    """List the models of a running server, newest first."""
    from falcon_mnist.cli import lists

    items = client.models(limit=limit)["items"]
    if as_json:
        remote.show(items, as_json=True, lines=())
    else:
        lists.models(items)


@remote.with_client
def runs(
    *,
    state: InState = None,
    model: Annotated[str | None, typer.Option(help="Only those of this model.")] = None,
    limit: Limit = PAGE_SIZE,
    as_json: remote.AsJson = False,
    client: Any,
) -> None:
    """List the runs of a running server, newest first."""
    from falcon_mnist.cli import lists

    items = client.runs(state=state, model_id=model, limit=limit)["items"]
    if as_json:
        remote.show(items, as_json=True, lines=())
    else:
        lists.runs(items)


@remote.with_client
def watch(
    run_id: Annotated[
        str | None, typer.Argument(autocompletion=remote.run_ids, metavar="[RUN]", help="A run (the newest).")
    ] = None,
    *,
    as_json: Annotated[bool, flag("--json", help="Print the run as JSON when it has ended.")] = False,
    client: Any,
) -> None:
    """Show a run of a running server until it has ended, with its curves; Ctrl-C ends the watching, not the run."""
    from falcon_mnist.cli import following

    run = following.follow(client, run_id or following.newest(client), quiet=as_json)
    remote.show(run, as_json=as_json, lines=[f"Parameters {run['param_id']}"])


@remote.with_client
def finish(run_id: remote.RunId, *, as_json: remote.AsJson = False, client: Any) -> None:
    """Stop a running run at the end of the epoch under way, and keep what it has learned."""
    run = client.finish(run_id)
    epoch, epochs = run["epoch"] + 1, run["epochs_total"]
    line = f"Run {run_id} ends after epoch {epoch} of {epochs}, and keeps what it has learned by then."
    remote.show(run, as_json=as_json, lines=[line])


@remote.with_client
def cancel(run_id: remote.RunId, *, as_json: remote.AsJson = False, client: Any) -> None:
    """End a queued or running run, and keep nothing of it."""
    run = client.cancel(run_id)
    remote.show(run, as_json=as_json, lines=[f"Run {run_id} is cancelled."])


@remote.with_client
def infer(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="PNG or JPEG files, one digit in each.")],
    *,
    param: Annotated[
        str | None, typer.Option(autocompletion=remote.param_ids, help="A parameter set (the newest).")
    ] = None,
    show: Annotated[bool, flag("--show", help="Draw the digits as the network is given them.")] = False,
    as_json: remote.AsJson = False,
    client: Any,
) -> None:
    """Read digits in photos with a network of a running server. Needs pip install 'falcon-mnist\\[images]'."""
    from falcon_mnist.cli import reading

    files, digits = reading.prepared(images)
    found = client.infer(param or reading.newest(client), digits)
    if show and not as_json:
        reading.draw(digits, files, found)
    else:
        remote.show(reading.document(files, found), as_json=as_json, lines=reading.lines(files, found))
    for warning in found.warnings:
        first = files[warning["rows"][0]]
        console.complain(f"{first}: {warning['detail']}")
    if len(files) < len(images):
        raise typer.Exit(1)
