"""What is risky about tokens and about the address that they are sent to, in sentences for who starts a server."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterable
from pathlib import Path

from falcon_mnist.settings import SettingsError

# 16 letters and digits at random are 80 bits and more, which nobody guesses over a network.
MIN_LENGTH = 16

# Of `falcon-mnist serve`.
ALLOW_OPTION = "--allow-weak-tokens"


def weaknesses(tokens: Iterable[str], file: Path | None = None) -> list[str]:
    """What is weak about tokens, and about the file that they stand in; shows none of them."""
    found = []
    if short := sum(len(token) < MIN_LENGTH for token in tokens):
        found.append(f"{short} of the tokens have fewer than {MIN_LENGTH} characters and could be guessed")
    if file is not None and stat.S_IMODE(file.stat().st_mode) & 0o044:
        found.append(f"other users may read the file of tokens {file} (chmod 600 {file})")
    return found


def check_address(host: str, weak: Iterable[str], *, allow_weak: bool = False) -> list[str]:
    """Warnings for a server that listens at `host`; `weak` are the `weaknesses` of its tokens.

    Raises `SettingsError` where weak tokens would be reached from elsewhere and are not allowed.
    """
    weak = list(weak)
    if is_loopback(host):
        hint = f"; on other addresses than loopback that is refused without {ALLOW_OPTION}"
        return [sentence + hint for sentence in weak]
    if weak and not allow_weak:
        raise SettingsError(f"{'; '.join(weak)}: on {host or 'every address'}, this is refused without {ALLOW_OPTION}")
    where = host or "every address"
    return [*weak, f"tokens travel to {where} in the clear: put a proxy with TLS before it, or trust the network"]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at `host`: an address, `localhost`, or empty and `*` for all."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
