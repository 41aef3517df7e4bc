"""How a server finds out how many connections it can hold."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from falcon_mnist.server.descriptors import connection_limit, open_descriptors


def test_descriptors_are_counted_where_no_proc_is_mounted(tmp_path: Path) -> None:
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
    try:
        assert 50 <= open_descriptors(str(tmp_path / "fd")) <= open_descriptors()
    finally:
        for descriptor in opened:
            os.close(descriptor)


def test_there_is_room_for_as_many_connections_as_said() -> None:
    limit = connection_limit(10**9)
    assert 4 <= limit < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert connection_limit(5) <= 5
