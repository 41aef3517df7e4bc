"""The listening sockets of a server: one for each address that its host's name stands for."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Any

from waitress.adjustments import Adjustments

BACKLOG = 1024


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen at `host` (`*`: every address) and `port` (0: any free one, the same at all addresses).

    Raises `OSError` or `ValueError` if it cannot.
    """
    sockets: list[socket.socket] = []
    error: OSError | None = None
    for family, kind, protocol, place in Adjustments(host=host, port=port).listen:
        if sockets and place[1] == 0:
            place = (place[0], sockets[0].getsockname()[1], *place[2:])
        try:
            sockets.append(_listening(family, kind, protocol, place))
        except OSError as failed:
            error = failed
            if not _has_no_such_address(failed):
                break
    if error is not None and not (sockets and _has_no_such_address(error)):
        for made in sockets:
            made.close()
        raise error
    return sockets


def addresses(sockets: Iterable[socket.socket]) -> list[str]:
    """The URL of each."""
    places = [made.getsockname()[:2] for made in sockets]
    return [f"http://{f'[{host}]' if ':' in host else host}:{port}" for host, port in places]


def _listening(family: int, kind: int, protocol: int, place: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _has_no_such_address(error: OSError) -> bool:
    """As `localhost` has on a machine without IPv6."""
    return error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
