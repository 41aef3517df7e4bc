"""A network of its own for each part, so that it can be cut between any two of them. Needs root and `ip`."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

_INTERFACE = "eth0"
# Nobody has it: what is sent there is lost without a word, as in a network that is cut.
_NOWHERE = "02:00:00:00:00:01"


class NetworkError(Exception):
    """This machine lets nobody make one; the message says why."""


class Network:
    """A network namespace for each name, and a bridge between them, on which this machine has an address as well."""

    def __init__(self, names: Sequence[str]) -> None:
        self._id = f"{os.getpid() % 0x1000000:x}"  # an interface's name has up to 15 characters
        self._prefix = f"10.{os.getpid() // 250 % 250}.{os.getpid() % 250}"
        self._numbers = {name: number for number, name in enumerate(names, 2)}
        self.here = f"{self._prefix}.1"

    def address(self, name: str) -> str:
        """Of the part of this name."""
        return f"{self._prefix}.{self._numbers[name]}"

    def inside(self, name: str) -> list[str]:
        """What to put before a command that is to run there."""
        return ["ip", "netns", "exec", self._namespace(name)]

    def cut(self, one: str, other: str) -> None:
        """From now on nothing that either sends to the other arrives, and neither is told."""
        for here, there in ((one, other), (other, one)):
            self._ip_in(here, "neighbour", "replace", self.address(there), "lladdr", _NOWHERE, "dev", _INTERFACE)

    def heal(self, one: str, other: str) -> None:
        """Undo that."""
        for here, there in ((one, other), (other, one)):
            self._ip_in(here, "neighbour", "delete", self.address(there), "dev", _INTERFACE)

    def make(self) -> None:
        """Make it all. Raises `NetworkError`."""
        bridge = f"mnist{self._id}"
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{self.here}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for name, number in self._numbers.items():
            namespace, outside = self._namespace(name), f"mn{self._id}-{number}"
            _ip("netns", "add", namespace)
            _ip("link", "add", outside, "type", "veth", "peer", "name", _INTERFACE, "netns", namespace)
            _ip("link", "set", outside, "master", bridge, "up")
            self._ip_in(name, "address", "add", f"{self.address(name)}/24", "dev", _INTERFACE)
            for interface in ("lo", _INTERFACE):
                self._ip_in(name, "link", "set", interface, "up")

    def remove(self) -> None:
        """With each namespace goes its end of the bridge."""
        for name in self._numbers:
            with contextlib.suppress(NetworkError):
                _ip("netns", "delete", self._namespace(name))
        with contextlib.suppress(NetworkError):
            _ip("link", "delete", f"mnist{self._id}")

    def _namespace(self, name: str) -> str:
        return f"mnist{self._id}-{name}"

    def _ip_in(self, name: str, *arguments: str) -> None:
        _ip("-netns", self._namespace(name), *arguments)


@contextlib.contextmanager
def networked(names: Sequence[str]) -> Iterator[Network]:
    """Such a network while the block runs. Raises `NetworkError`."""
    network = Network(names)
    try:
        network.make()
        yield network
    finally:
        network.remove()


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NetworkError("`ip` is not installed: apt-get install iproute2") from None
    except subprocess.CalledProcessError as error:
        raise NetworkError(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from None
