"""JSON answers about the service itself: data set, recipes, version, status, health, and problems.

Pydantic models, for the OpenAPI document alone: resources build their answers as dictionaries, and tests check those
against these models.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from falcon_mnist.api.responses import Answer, Dataset, sometimes
from falcon_mnist.constants import CLASSES
from falcon_mnist.training.architecture import Architecture
from falcon_mnist.training.hyperparams import Hyperparams


class Digits(Answer):
    """Digits of a data set of `count`: each image 784 bytes row by row, 0 (background) to 255 (ink)."""

    dataset: Dataset
    count: Annotated[int, Field(ge=1)]
    images: list[list[Annotated[int, Field(ge=0, le=255)]]]
    labels: list[Annotated[int, Field(ge=0, lt=CLASSES)]]


class NamedRecipe(Answer):
    """A network and hyperparameters that are known to do well: a body for `POST /models`, and what they reached."""

    name: str
    purpose: str
    source: str
    architecture: Architecture
    hyperparams: Hyperparams
    errors: Annotated[list[float], Field(description="Percent of the test images, one for each seed measured.")]
    seconds: Annotated[list[float], Field(description="Of training, on all cores of `machine`.")]
    machine: str | None


class Recipes(Answer):
    """All of them."""

    items: list[NamedRecipe]


class Version(Answer):
    """The versions of the package and of the database's schema; `isa` is the instruction set of the kernels."""

    version: str
    schema_version: Annotated[int, Field(ge=1)]
    isa: str


class RunCounts(Answer):
    """How many runs are in each state."""

    queued: Annotated[int, Field(ge=0)]
    running: Annotated[int, Field(ge=0)]
    succeeded: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]
    cancelled: Annotated[int, Field(ge=0)]


class ServiceStatus(Answer):
    """How the service is doing; requests are those of the last minute that the answering process has answered."""

    token: Annotated[Literal["read", "write"], Field(description="What the token that asked may do.")]
    workers: Annotated[
        int,
        Field(
            ge=0, description="Runs that train at the same time; on Ray the CPUs of its cluster, 0 while it is away."
        ),
    ]
    runs: RunCounts
    dataset: Annotated[Dataset | None, Field(description="Null before a worker or a command has made it.")]
    isa: str
    requests_per_second: Annotated[float, Field(ge=0)]
    p50_ms: float | None
    p95_ms: float | None


class Status(Answer):
    """Whether the service lives or is ready."""

    status: Literal["live", "ready"]
    runs: Annotated[
        Literal["waiting"], Field(description="There while no run can be started: the executor is out of reach.")
    ] = sometimes()


class FieldFault(Answer):
    """One fault in what was sent, and where: a JSON Pointer (RFC 6901)."""

    pointer: str
    detail: str


class ProblemDocument(Answer):
    """RFC 9457. `errors` is there for faults in fields, `limit_bytes` for a body that is too large."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    instance: str
    errors: Annotated[list[FieldFault], Field(min_length=1)] = sometimes()
    limit_bytes: int = sometimes()
