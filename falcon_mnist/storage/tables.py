"""The rows: one Peewee model for each table, bound to no database.

Their constraints and indexes stand in `migrations`, which makes them. A query says where it is executed:
`query.execute(database)`, `query.first(database)`.
"""

from __future__ import annotations

from typing import Any

import orjson
from peewee import (
    AutoField,
    BooleanField,
    CompositeKey,
    DoubleField,
    ForeignKeyField,
    IntegerField,
    Model,
    TextField,
)

from falcon_mnist.storage.files import Written


class JSONText(TextField):
    """A JSON document in a text column."""

    def db_value(self, value: Any) -> str | None:
        """Python to text."""
        return None if value is None else orjson.dumps(value).decode()

    def python_value(self, value: str | None) -> Any:
        """Text to Python."""
        return None if value is None else orjson.loads(value)


class Table(Model):
    """Base of all tables."""

    class Meta:
        legacy_table_names = False


class Meta(Table):
    """Facts about the database itself: the schema's version, the key that signs cursors."""

    key = TextField(primary_key=True)
    value = TextField()


class ModelRow(Table):
    """A model definition; it never changes."""

    number = AutoField()
    id = TextField()
    architecture = JSONText()
    hyperparams = JSONText()
    created_at = TextField()
    idempotency_key = TextField(null=True)
    fingerprint = TextField(null=True)

    class Meta:
        table_name = "models"


class RunRow(Table):
    """A training job: everything that a worker needs, and how far it has come."""

    number = AutoField()
    id = TextField()
    model = ForeignKeyField(ModelRow, field="id", column_name="model_id", lazy_load=False)
    model_id: str  # what the column holds; Peewee makes it
    state = TextField()
    hyperparams = JSONText()
    created_at = TextField()
    started_at = TextField(null=True)
    finished_at = TextField(null=True)
    epoch = IntegerField(default=0)
    start_from = TextField(null=True)  # the parameter set that it begins with, instead of random weights
    param_id = TextField(null=True)  # the parameter set that it made, also when that is deleted
    best_epoch = IntegerField(default=0)  # of lowest validation loss; 0 before there is one
    best_accuracy_epoch = IntegerField(default=0)  # of highest validation accuracy, the earliest; likewise
    dataset = JSONText(null=True)
    isa = TextField(null=True)  # the instruction set that it trains with: another one would give other bits
    error = JSONText(null=True)
    checkpoint = JSONText(null=True)
    owner = TextField(null=True)  # of a running run: the name under which a worker, or a task on Ray, claimed it
    renewals = IntegerField(default=0)  # grows with each claim, and whenever its worker renews the lease
    drain = BooleanField(default=False)  # whether that worker is to save the run and requeue it
    finish = BooleanField(default=False)  # whether it is to succeed at the end of the epoch under way
    worker_losses = IntegerField(default=0)
    checkpointed_since_claim = BooleanField(default=False)
    idempotency_key = TextField(null=True)
    fingerprint = TextField(null=True)

    class Meta:
        table_name = "runs"


class EpochRow(Table):
    """The metrics of one finished epoch of a run."""

    run = ForeignKeyField(RunRow, field="id", column_name="run_id", lazy_load=False)
    run_id: str
    epoch = IntegerField()
    train_loss = DoubleField()
    train_accuracy = DoubleField()
    val_loss = DoubleField(null=True)
    val_accuracy = DoubleField(null=True)
    lr = DoubleField(null=True)  # these three are null where an earlier version trained
    seconds = DoubleField(null=True)
    samples = IntegerField(null=True)

    class Meta:
        table_name = "epochs"
        primary_key = CompositeKey("run", "epoch")


class ParameterRow(Table):
    """A parameter set, of a run or imported, and the file that holds it; it never changes."""

    number = AutoField()
    id = TextField()
    run = ForeignKeyField(RunRow, field="id", column_name="run_id", lazy_load=False, null=True)
    run_id: str | None
    model = ForeignKeyField(ModelRow, field="id", column_name="model_id", lazy_load=False)
    model_id: str
    size_bytes = IntegerField()
    sha256 = TextField()
    created_at = TextField()
    idempotency_key = TextField(null=True)
    fingerprint = TextField(null=True)

    @property
    def written(self) -> Written:
        """What its file holds."""
        return Written(self.size_bytes, self.sha256)

    class Meta:
        table_name = "parameter_sets"


class EvaluationRow(Table):
    """What a parameter set reached on the test images, and of which data set; it never changes."""

    param_id = TextField(primary_key=True)
    evaluation = JSONText()

    class Meta:
        table_name = "evaluations"
