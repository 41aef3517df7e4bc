"""The composition root: puts the parts of the service together."""

from __future__ import annotations

from falcon_mnist.api.app import App, build_app
from falcon_mnist.api.service import Service
from falcon_mnist.server import dispatcher
from falcon_mnist.settings import Settings


def create_app(settings: Settings | None = None) -> App:
    """The WSGI application, for `waitress-serve --call falcon_mnist.app:create_app`.

    Settings come from the environment unless given. Starts no process and no thread, and touches no network:
    the first request starts the executor. A waitress that this process starts works with our `Dispatcher`.
    Raises `SettingsError` or `SchemaError`.
    """
    dispatcher.use()
    return build_app(Service.open(settings or Settings.from_env()))
