"""`ray start`, forked from a process that has imported Ray, and without the processes that no run needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Be `ray start`, with the arguments of this process."""
    os.environ["PYTHON"] = sys.executable
    sys.executable = str(Path(__file__).with_name("ray_python"))  # with it, Ray starts its other processes
    # Without gRPC it starts no server for Ray Client, another process that takes most of a second of a CPU to start.
    sys.modules["grpc"] = None  # type: ignore[assignment]
    from ray.scripts.scripts import main as ray

    ray()
