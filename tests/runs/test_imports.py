"""What a server and its workers import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "modules",
    [["falcon_mnist.runs.worker"], ["falcon_mnist.app", "falcon_mnist.server.serve"]],
    ids=["worker", "server"],
)
def test_opening_data_that_is_there_imports_no_http_client(modules: list[str], digits: Path, tmp_path: Path) -> None:
    program = (
        f"import sys, pathlib, {', '.join(modules)}\n"
        "from falcon_mnist.data import dataset\n"
        "dataset.load(sys.argv[1], pathlib.Path(sys.argv[2]))\n"
        "print(sorted({'httpx', 'httpcore', 'anyio'} & sys.modules.keys()))\n"
    )
    command = [sys.executable, "-c", program, str(digits), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
