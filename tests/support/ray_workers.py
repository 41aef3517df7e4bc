"""Ray's worker processes, forked from one that has imported what they import, but for Ray itself.

Ray reads the environment of a worker while it is imported.
"""

from __future__ import annotations

import importlib
import marshal
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress

# The variable that names the socket at which `ray_python` asks for a worker.
SOCKET = "TESTS_RAY_WORKERS"
# What runs on Ray import, and what Ray imports of others.
IMPORTED = ("falcon_mnist.runs.ray_task", "google.protobuf.internal.builder", "jsonschema", "msgpack", "requests")


def main() -> None:
    """Fork a worker for each who asks, until this process is killed; be that worker.

    Nobody can ask where Ray has been imported by who has forked this process: then Ray starts its workers itself.
    """
    if "ray" in sys.modules:
        return
    for name in IMPORTED:
        with suppress(ImportError):  # Ray says so
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a worker
    with socket.socket(socket.AF_UNIX) as asked:
        asked.bind(os.environ[SOCKET])
        asked.listen()
        while True:
            connection, _ = asked.accept()
            with connection, connection.makefile("rb") as request:
                try:
                    arguments, environment = marshal.load(request)
                except EOFError:  # who asked was killed
                    continue
            if os.fork() == 0:
                break
    os.setpgid(0, 0)  # with a worker, Ray ends its group
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environb.update(environment)
    sys.argv[:] = arguments
    runpy.run_path(arguments[0], run_name="__main__")
