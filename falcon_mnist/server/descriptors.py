"""How many connections the process has descriptors for."""

from __future__ import annotations

import os
import resource

# Kept for the database (a connection of three files for each thread), the pipes of workers, stored files, logs.
RESERVED = 64
# A connection takes one, and another while a large body lies in a temporary file.
PER_CONNECTION = 2
LEAST_CONNECTIONS = 4


def raise_limit() -> int:
    """Let this process open as many files as it may; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # macOS names a hard limit that it does not allow
            pass
    return soft if soft != resource.RLIM_INFINITY else 2**20


def connection_limit(most: int) -> int:
    """How many connections to hold at the same time, at most `most`."""
    limit = raise_limit()
    room = limit - open_descriptors() - min(RESERVED, limit // 2)
    return max(LEAST_CONNECTIONS, min(most, room // PER_CONNECTION))


def open_descriptors(folder: str = "/dev/fd") -> int:
    """How many descriptors this process has; `folder` lists them, but not where no /proc is mounted."""
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        lowest_free = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.close(lowest_free)
        return lowest_free  # all below it are open
