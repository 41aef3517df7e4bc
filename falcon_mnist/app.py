"""The composition root: puts the parts of the service together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from falcon_mnist.api.app import App, build_app
from falcon_mnist.api.auth import Tokens
from falcon_mnist.api.metrics import Metrics
from falcon_mnist.api.service import Service
from falcon_mnist.api.turns import Limits
from falcon_mnist.data.ready import ReadyDataset
from falcon_mnist.inference.figures import SharedFigures
from falcon_mnist.inference.predictors import Predictors
from falcon_mnist.inference.removals import Removals
from falcon_mnist.runs.backend import Backend
from falcon_mnist.runs.checkpoints import Checkpoints
from falcon_mnist.runs.elsewhere import ExecutorElsewhere
from falcon_mnist.runs.executor import Executor
from falcon_mnist.runs.pool import PoolBackend
from falcon_mnist.runs.ray_backend import RayBackend
from falcon_mnist.settings import Settings
from falcon_mnist.storage.opening import (
    REQUEST_WAIT,
    Dialect,
    check_storage,
    checkpoint_storage,
    open_home,
    open_store,
    parameter_storage,
)
from falcon_mnist.storage.parameter_files import ParameterFiles

BACKENDS: dict[str, Callable[[Settings, Callable[[], None]], Backend]] = {"pool": PoolBackend, "ray": RayBackend}


def create_app(settings: Settings | None = None) -> App:
    """The WSGI application, for `waitress-serve --call falcon_mnist.app:create_app`.

    Settings come from the environment unless given. Starts no process and no thread, and touches no network:
    the first request starts the executor. Raises as `open_service`.
    """
    return build_app(open_service(settings or Settings.from_env()))


def open_service(
    settings: Settings,
    *,
    dialect: Dialect | None = None,
    make_executor: Callable[..., Executor | ExecutorElsewhere] = Executor,
    removals: Removals | None = None,
    figures: SharedFigures | None = None,
    metrics: Metrics | None = None,
) -> Service:
    """Make the home, the token and the database where they are missing; starts nothing.

    `removals`, `figures` and `metrics` are in memory that all processes of a server share, where it has several.

    Raises `SettingsError`, `SchemaError`, `DatabaseFileError` or `NotPrivateError` if what is there cannot be used.
    """
    open_home(settings)
    check_storage(settings)
    store = open_store(settings, wait=REQUEST_WAIT, dialect=dialect)
    store.prepare()
    files, checkpoints = ParameterFiles(parameter_storage(settings)), checkpoint_storage(settings)
    limits = Limits()
    # One set is read at a time. From a folder that takes a moment; from a bucket it may take long, so others give up.
    load = None if isinstance(settings.storage, Path) else limits.load
    return Service(
        settings=settings,
        tokens=Tokens(settings),
        store=store,
        files=files,
        checkpoints=Checkpoints(checkpoints),
        predictors=Predictors(store, files, removals=removals, figures=figures, load=load),
        executor=make_executor(settings, store, BACKENDS[settings.executor]),
        remover=store.remover(files, checkpoints),
        datasets=ReadyDataset(settings.dataset, settings.home),
        metrics=metrics or Metrics(),
        limits=limits,
    )
