"""`finish`: stops a run of a running server, and keeps what it has learned."""

from __future__ import annotations

from typing import Any

from falcon_mnist.cli import remote


@remote.with_client
def finish(run_id: remote.RunId, *, as_json: remote.AsJson = False, client: Any) -> None:
    """Stop a running run at the end of the epoch under way, and keep what it has learned."""
    run = client.finish(run_id)
    epoch, epochs = run["epoch"] + 1, run["epochs_total"]
    line = f"Run {run_id} ends after epoch {epoch} of {epochs}, and keeps what it has learned by then."
    remote.show(run, as_json=as_json, lines=[line])
