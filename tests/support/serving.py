"""What the service's tests share, by subject in files of its own: this is where tests import it from."""

from __future__ import annotations

from asking import (
    BINARY,
    JSON,
    LIMITED_BODY,
    PATIENCE,
    PLAIN,
    PROBLEM,
    READ,
    SAFETENSORS,
    WRITE,
    Document,
    listed,
    until,
)
from checking_client import Client, kind, pointers
from on_disk import OnDisk
from server_process import COMMANDS, Server, alive, children, command_line, environment
from small_networks import DEFAULTS, ENDLESS, RESTING, SGD, SMALL, architecture, linear, pixels, write_digits

__all__ = [
    "BINARY",
    "COMMANDS",
    "DEFAULTS",
    "ENDLESS",
    "JSON",
    "LIMITED_BODY",
    "PATIENCE",
    "PLAIN",
    "PROBLEM",
    "READ",
    "RESTING",
    "SAFETENSORS",
    "SGD",
    "SMALL",
    "WRITE",
    "Client",
    "Document",
    "OnDisk",
    "Server",
    "alive",
    "architecture",
    "children",
    "command_line",
    "environment",
    "kind",
    "linear",
    "listed",
    "pixels",
    "pointers",
    "until",
    "write_digits",
]
