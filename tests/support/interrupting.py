"""A run that is interrupted in the middle, and what it learns when nothing happens to it."""

from __future__ import annotations

import os
import signal
import time

from asking import Document, until
from checking_client import Client
from server_process import Server
from small_networks import architecture

from falcon_mnist.runs.checkpoints import MIN_INTERVAL_SECONDS

# Long enough to be interrupted when an epoch of it has been recorded, after a quarter of a second, and soon over.
EPOCHS = 20
LONG = {
    "architecture": architecture(1024),
    "hyperparams": {"epochs": EPOCHS, "batch_size": 4, "optimizer": {"lr": 0.01, "momentum": 0.9}},
}


def parameter_bytes(client: Client, run: Document) -> bytes:
    """The parameters that a run has learned, as their file."""
    return client.get(f"/api/params/{run['param_id']}?format=safetensors").content


def saved(client: Client, run_id: str) -> bool:
    """Whether there is a checkpoint, or all is over."""
    return client.get(f"/api/runs/{run_id}/snapshot").status_code == 200 or client.run(run_id)["state"] == "succeeded"


def interrupted(client: Client, server: Server) -> tuple[str, int]:
    """The long run in the middle of its training, and the worker that is at it, stopped in its tracks."""
    model_id = client.model(LONG)
    while True:
        run_id = client.train(model_id)
        until(lambda run_id=run_id: client.run(run_id)["epoch"] >= 1, "an epoch has been recorded")
        if worker := _stopped(client, server, run_id):
            time.sleep(MIN_INTERVAL_SECONDS)  # after it, a run is saved as soon as it goes on
            os.kill(worker, signal.SIGCONT)
            until(lambda run_id=run_id: saved(client, run_id), "it has been saved")
            if worker := _stopped(client, server, run_id):
                return run_id, worker
        # On a busy machine all epochs may have ended: another run, then.


def _stopped(client: Client, server: Server, run_id: str) -> int | None:
    """The worker of the run, which is stopped now; none if the run is over."""
    for worker in server.workers():
        os.kill(worker, signal.SIGSTOP)
        if client.run(run_id)["state"] == "running":
            return worker
        os.kill(worker, signal.SIGCONT)
    return None
