"""What a server and its Ray driver process tell each other. None ends the driver."""

from __future__ import annotations

from typing import NamedTuple


class Start(NamedTuple):
    """To the driver: have a worker claim the run as `owner` and run it to completion."""

    run_id: str
    owner: str


class Kill(NamedTuple):
    """To the driver: end that worker, and tell no more of it."""

    owner: str


class Cluster(NamedTuple):
    """To the server, every second: the CPUs that runs may use, and how many of these others use at the moment.

    None at all until the data set and the workers are ready.
    """

    cpus: int
    used_by_others: int


class Placed(NamedTuple):
    """To the server: how many CPUs the worker of `owner` was declared to need."""

    owner: str
    cpus: int


class Unreachable(NamedTuple):
    """To the server, before the driver ends: why there is no cluster, or none that can execute these runs."""

    reason: str
