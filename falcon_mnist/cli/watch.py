"""Watching a run until it ends, with a progress bar: what `demo` does over HTTP and `train` in the database."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from falcon_mnist.cli import console

POLL_SECONDS = 0.2


class InterruptedRunError(Exception):
    """Ctrl-C has cancelled the run."""


class RunError(Exception):
    """A run that did not succeed; the message is one sentence."""


def hear_interrupts() -> None:
    """From now on Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt`: there is a run to cancel."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def until_succeeded(look: Callable[[], Mapping[str, Any]], cancel: Callable[[], object]) -> Mapping[str, Any]:
    """Show the run that `look` gives, again and again, until it has succeeded; Ctrl-C cancels it.

    Raises `RunError` if it fails or is cancelled, `InterruptedRunError` after Ctrl-C.
    """
    try:
        with console.progress() as show:
            while True:
                run = look()
                show("Training", run["epoch"], run["epochs_total"])
                if run["state"] not in ("queued", "running"):
                    break
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        cancel()
        raise InterruptedRunError("interrupted; the run is cancelled") from None
    if run["state"] == "cancelled":
        raise RunError("the run was cancelled")
    if run["state"] == "failed":
        raise RunError(f"the run failed: {run['error']['message']}")
    return run
