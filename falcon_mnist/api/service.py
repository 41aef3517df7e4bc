"""The parts of one running service, as they are handed to the resources."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from falcon_mnist.api.auth import Tokens
from falcon_mnist.api.metrics import Metrics
from falcon_mnist.api.traffic import Traffic
from falcon_mnist.api.turns import Limits
from falcon_mnist.data.ready import ReadyDataset
from falcon_mnist.inference.predictors import Predictors
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.runs.elsewhere import ExecutorElsewhere
from falcon_mnist.runs.executor import Executor
from falcon_mnist.settings import Settings
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.removal import Remover
from falcon_mnist.storage.store import Store


@dataclass(frozen=True)
class Service:
    """What the resources work with."""

    settings: Settings
    tokens: Tokens
    store: Store
    files: ParameterFiles
    checkpoints: Checkpoints
    predictors: Predictors
    executor: Executor | ExecutorElsewhere
    remover: Remover
    datasets: ReadyDataset
    traffic: Traffic = field(default_factory=Traffic)
    metrics: Metrics = field(default_factory=Metrics)
    limits: Limits = field(default_factory=Limits)
    draining: threading.Event = field(default_factory=threading.Event)

    def close(self) -> None:
        """End the workers, whose runs the next server resumes, and close the database."""
        self.executor.stop()
        self.store.close()

    @property
    def workers(self) -> int:
        """How many runs train at the same time: on Ray no more than its cluster has CPUs, none while it is away."""
        return self.settings.workers if self.settings.executor == "pool" else self.executor.workers_alive()

    @property
    def max_numbers(self) -> int:
        """More values than this stand in no valid body."""
        return self.settings.max_parameters + 1_000_000
