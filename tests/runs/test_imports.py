"""What a server and its workers import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_opening_data_that_is_there_imports_no_http_client(digits: Path, tmp_path: Path) -> None:
    """First in what a worker imports, then with all of the server."""
    program = (
        "import sys, pathlib\n"
        "from falcon_mnist.data import dataset\n"
        "def loaded():\n"
        "    dataset.load(sys.argv[1], pathlib.Path(sys.argv[2]))\n"
        "    return sorted({'httpx', 'httpcore', 'anyio'} & sys.modules.keys())\n"
        "import falcon_mnist.runs.worker\n"
        "print('worker', loaded())\n"
        "import falcon_mnist.app, falcon_mnist.server.serve\n"
        "print('server', loaded())\n"
    )
    command = [sys.executable, "-c", program, str(digits), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("worker []\nserver []\n", "")
