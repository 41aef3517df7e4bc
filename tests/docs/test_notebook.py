"""The notebook of docs/, run against a server.

`pytest tests/docs/test_notebook.py --write-examples` keeps in it what a server with MNIST answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from asking import WRITE
from drawn import write_drawn_digits
from server_process import Server

NOTEBOOK = Path(__file__).parents[2] / "docs" / "first_run.ipynb"
# Jupyter's packages warn of each other, and leave sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("default")


def test_the_notebook_runs(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    serve: Callable[..., Server],
    drawn_digits: tuple[np.ndarray, np.ndarray],
) -> None:
    import nbformat  # take long: not in each process that collects tests
    from nbclient import NotebookClient

    writes = request.config.getoption("--write-examples")
    data: object = os.environ.get("FALCON_MNIST_DATASET", "mnist")
    if not writes:
        data = write_drawn_digits(tmp_path / "drawn", drawn_digits)
    variables = dict(os.environ) | {"FALCON_MNIST_URL": serve(dataset=data).url(), "FALCON_MNIST_TOKEN": WRITE}
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = [bool(cell.get("outputs")) for cell in notebook.cells]
    NotebookClient(notebook, timeout=300, record_timing=False).execute(env=variables)  # raises if a cell does
    if writes:
        for output in [each for cell in notebook.cells for each in cell.get("outputs", ())]:
            output.get("data", {}).pop("image/jpeg", None)  # each picture is there as PNG too
        nbformat.write(notebook, NOTEBOOK)
    else:
        assert [bool(cell.get("outputs")) for cell in notebook.cells] == shown
