"""The parts of one running service, put together once and handed to the resources."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from falcon_mnist.api.auth import Tokens
from falcon_mnist.api.turns import Limits
from falcon_mnist.inference.predictors import Predictors
from falcon_mnist.runs.pool import Executor, PoolExecutor
from falcon_mnist.settings import Settings
from falcon_mnist.storage.parameter_files import ParameterFiles
from falcon_mnist.storage.store import Store

EXECUTORS = {"pool": PoolExecutor}


@dataclass(frozen=True)
class Service:
    """What the resources work with."""

    settings: Settings
    tokens: Tokens
    store: Store
    files: ParameterFiles
    predictors: Predictors
    executor: Executor
    limits: Limits = field(default_factory=Limits)
    draining: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def open(cls, settings: Settings) -> Service:
        """Make the folders, the token and the database where they are missing; starts nothing.

        Raises `SettingsError` or `SchemaError` if what is there cannot be used.
        """
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(settings.database)
        files = ParameterFiles(settings.storage)
        return cls(
            settings=settings,
            tokens=Tokens(settings),
            store=store,
            files=files,
            predictors=Predictors(store, files),
            executor=EXECUTORS[settings.executor](settings, store),
        )

    def close(self) -> None:
        """End the workers, whose runs the next server goes on with, and close the database."""
        self.executor.stop()
        self.store.close()

    @property
    def max_numbers(self) -> int:
        """More values than this stand in no valid body."""
        return self.settings.max_parameters + 1_000_000
