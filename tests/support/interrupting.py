"""A run that is interrupted in the middle, and what it learns when nothing happens to it."""

from __future__ import annotations

import os
import signal

from serving import SMALL, Client, Document, Server, until

# Long enough to be interrupted after its first epoch, and soon over.
LONG = {"architecture": SMALL, "hyperparams": {"epochs": 100, "batch_size": 32, "optimizer": {"momentum": 0.9}}}


def parameter_bytes(client: Client, run: Document) -> bytes:
    """The parameters that a run has learned, as their file."""
    return client.get(f"/api/params/{run['param_id']}?format=safetensors").content


def interrupted(client: Client, server: Server) -> tuple[str, int]:
    """The long run in the middle of its training, and the worker that is at it, stopped in its tracks."""
    model_id = client.model(LONG)
    while True:
        run_id = client.train(model_id)
        until(lambda run_id=run_id: client.run(run_id)["epoch"] >= 1, "an epoch has ended")
        for worker in server.workers():
            os.kill(worker, signal.SIGSTOP)
            if client.run(run_id)["state"] == "running":
                return run_id, worker
            os.kill(worker, signal.SIGCONT)  # on a busy machine all epochs may have ended: another run, then
