"""Requests that Schemathesis generates from the description, and against it, to a real server: some 20 seconds.

    python -m tests.long generated_requests

Every answer must be one that the description promises, and none a 5xx. Its coverage phase has no findings either, but
takes three times as long: `--phases coverage,fuzzing`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from asking import WRITE, Document
from checking_client import Client
from server_process import Server, environment
from small_networks import write_digits

from falcon_mnist.api.operations import OPERATIONS

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
LONGEST = 120  # seconds that all requests may take


def configuration(run: Document) -> str:
    """What is known is asked for, and what others need is not deleted."""
    known = [f'{name} = "{run[name]}"' for name in ("run_id", "param_id")]
    runs = ["[[operations]]", 'include-name = "GET /api/models/{model_id}/runs"', "[operations.parameters]",
            f'model_id = "{run["model_id"]}"']  # fmt: skip
    deleted = ["[[operations]]", 'include-method = "DELETE"', "[operations.parameters]",
               'run_id = "r_0"', 'param_id = "p_0"', 'model_id = "m_0"']  # fmt: skip
    return "\n".join(["[parameters]", *known, *runs, *deleted])


def generate(client: Client, folder: Path) -> None:
    """Send the requests; raises if an answer is none that the description promises, or an operation was left out."""
    (folder / "schemathesis.toml").write_text(configuration(client.trained()))
    # From a file: the path that it loads a description from is none that it tests.
    description = folder / "openapi.json"
    description.write_text(json.dumps(client.description.document))
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", str(description),
        "--url", str(client.url), "--header", f"Authorization: Bearer {WRITE}",
        "--checks", CHECKS, "--phases", "fuzzing", "--mode", "all",
        "--max-examples", "20", "--generation-deterministic", "--no-color", "--request-timeout", "30",
    ]  # fmt: skip
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=variables, timeout=LONGEST, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Tested: {len(OPERATIONS)}" in ran.stdout, ran.stdout


def main() -> None:
    """Start a server, and send it the requests."""
    with tempfile.TemporaryDirectory(prefix="generated-") as name:
        folder = Path(name)
        digits = write_digits(folder / "digits")
        server = Server(environment(folder / "home", dataset=digits, workers=1, tokens=WRITE))
        try:
            with Client(server.url()) as client:
                generate(client, folder)
        finally:
            assert server.stop() == 0
    print(f"{len(OPERATIONS)} operations, nothing found")


if __name__ == "__main__":
    main()
