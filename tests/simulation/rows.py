"""The rows as they lie in the database, read without the code that is tested."""

from __future__ import annotations

from typing import Any, NamedTuple


class Run(NamedTuple):
    """A row of `runs`."""

    id: str
    model_id: str
    state: str
    owner: str | None
    epoch: int
    worker_losses: int
    checkpointed_since_claim: bool
    drain: bool
    finish: bool
    renewals: int
    checkpoint: str | None
    error: str | None
    dataset: str | None
    isa: str | None
    finished_at: str | None
    hyperparams: str
    start_from: str | None
    param_id: str | None


class ParameterSet(NamedTuple):
    """A row of `parameter_sets`."""

    id: str
    run_id: str
    model_id: str
    size_bytes: int
    sha256: str


class Rows(NamedTuple):
    """All of them, by id."""

    models: set[str]
    runs: dict[str, Run]
    sets: dict[str, ParameterSet]
    epochs: dict[str, int]  # run to how many


_RUNS = f"SELECT {', '.join(Run._fields)} FROM runs"
_SETS = f"SELECT {', '.join(ParameterSet._fields)} FROM parameter_sets"


def read_rows(connection: Any) -> Rows:
    """What an `sqlite3.Connection` sees now."""
    return Rows(
        {row[0] for row in connection.execute("SELECT id FROM models")},
        {row[0]: Run(*row) for row in connection.execute(_RUNS)},
        {row[0]: ParameterSet(*row) for row in connection.execute(_SETS)},
        dict(connection.execute("SELECT run_id, COUNT(*) FROM epochs GROUP BY run_id")),
    )
