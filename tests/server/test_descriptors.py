"""How a server finds out how many connections it can hold."""

from __future__ import annotations

import resource
import subprocess
import sys

from falcon_mnist.server.descriptors import connection_limit

# In a process of its own: threads of this one open and close some meanwhile.
COUNTED = """
import os
from falcon_mnist.server.descriptors import open_descriptors
opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
print(open_descriptors("/nothing"), len(opened), open_descriptors())
"""


def test_descriptors_are_counted_where_no_proc_is_mounted() -> None:
    counted = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, check=True, timeout=60)
    without, opened, descriptors = map(int, counted.stdout.split())
    assert opened <= without <= descriptors


def test_there_is_room_for_as_many_connections_as_said() -> None:
    limit = connection_limit(10**9)
    assert 4 <= limit < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert connection_limit(5) <= 5
