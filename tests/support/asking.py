"""Tokens, media types, patience: what all tests that ask a server share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from falcon_mnist.constants import ACTIVE, STATES

WRITE = "the-token-that-may-write-8c1f"
READ = "the-token-that-may-read-8c1f"

# The most bytes in a body that `limited_server` takes.
LIMITED_BODY = 20_000

TERMINAL = tuple(state for state in STATES if state not in ACTIVE)
# Nothing here should take long; a test that waits this long has failed.
PATIENCE = 60.0

JSON = "application/json"
PROBLEM = "application/problem+json"
BINARY = "application/octet-stream"
SAFETENSORS = "application/vnd.safetensors"

# Options of httpx clients that need no TLS and no proxies: reading certificates takes 20 ms of CPU time.
PLAIN: dict[str, Any] = {"verify": False, "trust_env": False}
# Connections that are kept however slow the machine: of several server processes, each has its own.
LASTING = PLAIN | {"limits": httpx.Limits(keepalive_expiry=None)}

Document = dict[str, Any]


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true value of `condition`, asked again and again; fails if none comes in `patience` seconds.

    The longer it has waited, the longer it waits until it asks again: what is waited for needs the CPU.
    """
    begin = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begin
        assert waited < patience, f"waited in vain until {what}"
        time.sleep(min(0.1, max(0.005, waited / 8)))
    return value


def listed(run: Document) -> Document:
    """A run as lists show it."""
    return {name: value for name, value in run.items() if name != "history"}
