"""A run that is interrupted in the middle, and what it learns when nothing happens to it."""

from __future__ import annotations

import os
import signal

from asking import until
from checking_client import Client
from endless import INTERRUPTED_EPOCHS
from server_process import Server
from small_networks import SMALL

# It rests between its epochs: no CPU is busy with it until it is interrupted.
INTERRUPTED = {
    "architecture": SMALL,
    "hyperparams": {"epochs": INTERRUPTED_EPOCHS, "optimizer": {"lr": 0.01, "momentum": 0.9}},
}


def saved(client: Client, run_id: str) -> bool:
    """Whether there is a checkpoint, or all is over."""
    return client.get(f"/api/runs/{run_id}/snapshot").status_code == 200 or client.run(run_id)["state"] == "succeeded"


def interrupted(client: Client, server: Server) -> tuple[str, int]:
    """That run in the middle of its training, and the worker that is at it, stopped in its tracks."""
    model_id = client.model(INTERRUPTED)
    while True:
        run_id = client.train(model_id)
        until(lambda run_id=run_id: saved(client, run_id), "it has been saved")
        for worker in server.workers():
            server.pause(worker)
            if client.run(run_id)["state"] == "running":
                return run_id, worker
            os.kill(worker, signal.SIGCONT)
        # On a busy machine all epochs may have ended: another run, then.
