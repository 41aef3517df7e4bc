"""Requests that are generated from the description, and those that are generated against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from serving import PATIENCE, WRITE, Client

from falcon_mnist.api.operations import OPERATIONS


def test_generated_requests_get_the_answers_that_the_description_promises(client: Client, tmp_path: Path) -> None:
    """In a process of its own: Schemathesis brings plugins and warnings that this one has no use for.

    Its coverage phase has no findings either, but takes three times as long: `--phases coverage,fuzzing`.
    """
    run = client.trained()  # of its own: what others share must not be deleted
    known = [f'{name} = "{run[name]}"' for name in ("run_id", "param_id")]
    runs = ["[[operations]]", 'include-name = "GET /api/models/{model_id}/runs"', "[operations.parameters]",
            f'model_id = "{run["model_id"]}"']  # fmt: skip
    deleted = ["[[operations]]", 'include-method = "DELETE"', "[operations.parameters]",
               'run_id = "r_0"', 'param_id = "p_0"', 'model_id = "m_0"']  # fmt: skip
    (tmp_path / "schemathesis.toml").write_text("\n".join(["[parameters]", *known, *runs, *deleted]))
    # From a file: the path that it loads a description from is none that it tests.
    description = tmp_path / "openapi.json"
    description.write_text(json.dumps(client.description.document))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", str(description),
        "--url", str(client.url), "--header", f"Authorization: Bearer {WRITE}",
        "--checks", checks, "--phases", "fuzzing", "--mode", "all",
        "--max-examples", "4", "--generation-deterministic", "--no-color", "--request-timeout", "30",
    ]  # fmt: skip
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FALCON_MNIST_")}
    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=variables, timeout=2 * PATIENCE, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Tested: {len(OPERATIONS)}" in ran.stdout
