"""A service at an address, until a signal ends it."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from urllib.parse import quote

from falcon_mnist import kernels
from falcon_mnist.api.auth import token_to_enter_with
from falcon_mnist.api.service import Service
from falcon_mnist.api.token_rules import check_address
from falcon_mnist.cli import console, processes
from falcon_mnist.server.serve import DRAIN_SECONDS, EXIT_SECONDS, make_server, run_until_signalled
from falcon_mnist.server.signals import note_signals
from falcon_mnist.server.sockets import addresses, listen
from falcon_mnist.settings import Settings, SettingsError


def run(
    service: Service,
    host: str,
    port: int,
    *,
    allow_weak_tokens: bool = False,
    drain_seconds: float = DRAIN_SECONDS,
    exit_seconds: float = EXIT_SECONDS,
    run_processes: Callable[[Settings, list[socket.socket], list[int]], bool] = processes.run,
) -> None:
    """Serve, and say where. Raises `SettingsError` if the address cannot be served at.

    With more than one process, `service` is closed, and each opens its own.
    """
    try:
        warnings = check_address(host, service.tokens.weaknesses, allow_weak=allow_weak_tokens)
        sockets = listen(host, port)
    except SettingsError:
        service.close()
        raise
    except (OSError, ValueError, OverflowError) as error:
        service.close()
        raise SettingsError(f"cannot listen at {host}:{port}: {_reason(error)}") from None
    signals = note_signals()  # before the address is printed: whoever reads it may send one at once
    url = addresses(sockets)[0]
    console.say(f"Serving at {url}/api with the {kernels.isa()} kernels; Ctrl-C ends it.")
    console.say(_page(url, service.settings))
    console.say(_where_the_token_is(service.settings))
    for warning in warnings:
        console.say(f"Warning: {warning}.")
    if service.settings.processes == 1:
        server = make_server(service, sockets)
        run_until_signalled(server, service, signals, drain_seconds=drain_seconds, exit_seconds=exit_seconds)
        return
    service.close()
    if not run_processes(service.settings, sockets, signals):
        sys.exit(1)


def _reason(error: Exception) -> str:
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return "another program listens there (--port names another port, 0 takes a free one)"
    return str(getattr(error, "strerror", None) or error)


def _page(url: str, settings: Settings) -> str:
    """On a terminal, the link carries the token: in the fragment, which browsers keep to themselves."""
    if not console.on_terminal():
        return f"Page: {url}/"
    return f"Page: {url}/#token={quote(token_to_enter_with(settings), safe='')}"


def _where_the_token_is(settings: Settings) -> str:
    if settings.tokens:
        return "Tokens: those in FALCON_MNIST_TOKENS."
    return f"Token: in {settings.tokens_file or settings.made_token}"
