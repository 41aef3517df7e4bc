"""What a server and its workers import, and what that starts."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from server_process import environment

PROGRAM = """
import os, sys, threading
from pathlib import Path

def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.exec", "_thread.start")):
        print(event, arguments)

def http_clients():
    dataset.load(os.environ["FALCON_MNIST_DATASET"], home)
    return sorted({"httpx", "httpcore", "anyio"} & sys.modules.keys())

sys.addaudithook(watch)
home = Path(os.environ["FALCON_MNIST_HOME"])
from falcon_mnist.data import dataset
import falcon_mnist.runs.worker
print("worker", http_clients())
import falcon_mnist.app, falcon_mnist.server.serve
print("server", http_clients())
assert not home.parent.exists()
app = falcon_mnist.app.create_app()
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
print("children:", *Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
"""


def test_importing_and_making_the_application_starts_nothing_and_imports_no_http_client(
    tmp_path: Path, digits: Path
) -> None:
    """No HTTP client for data that is there: first in what a worker imports, then with all of the server.

    Nobody on a network is asked. There is no home before the application is made; then it is for its owner alone.
    """
    home = tmp_path / "deep" / "home"
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(home, dataset=digits, tokens=None),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("worker []\nserver []\nchildren:\n", "")
    assert ran.returncode == 0
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
