"""The application factory: routes, tokens, request ids, and the one shape of every error."""

from __future__ import annotations

import logging
import re
import time
from functools import partial
from typing import TypeAlias

import falcon
import orjson

from falcon_mnist.api import errors
from falcon_mnist.api.answered import ANSWER_HEADERS, Answered, request_id_of
from falcon_mnist.api.auth import AuthMiddleware
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.memory import keep_freed
from falcon_mnist.api.operations import OPERATIONS
from falcon_mnist.api.request import JSON
from falcon_mnist.api.resources.base import unknown_parameters
from falcon_mnist.api.service import Service
from falcon_mnist.storage.database import DatabaseUnavailableError
from falcon_mnist.storage.files import DamagedFileError, StorageUnavailableError
from falcon_mnist.storage.parameter_files import param_id_of
from falcon_mnist.storage.removal import InUseError
from falcon_mnist.storage.store import Conflict, Refused, Store

log = logging.getLogger(__name__)

App: TypeAlias = "falcon.App[falcon.Request, falcon.Response]"  # in quotes: generic only from Falcon 4.2 on


def build_app(service: Service) -> App:
    """The WSGI application on a service that is open already."""
    keep_freed()
    app: App = falcon.App()
    auth = AuthMiddleware(service.tokens)
    app.add_middleware(RequestMiddleware(service))
    app.add_middleware(auth)
    app.add_sink(auth.unknown_path, re.compile(""))
    app.req_options.auto_parse_qs_csv = False
    app.req_options.keep_blank_qs_values = True
    app.add_error_handler(Exception, _internal_error)
    app.add_error_handler(falcon.HTTPError, _http_error)
    app.add_error_handler(Problem, _problem)
    app.add_error_handler(Conflict, _conflict)
    app.add_error_handler(InUseError, _in_use)
    app.add_error_handler(DamagedFileError, partial(_damaged, service.store))
    app.add_error_handler(StorageUnavailableError, _storage_unavailable)
    app.add_error_handler(DatabaseUnavailableError, _database_unavailable)
    for path, resource in {operation.path: operation.resource for operation in OPERATIONS}.items():
        app.add_route(path, resource(service))
    return app


class RequestMiddleware:
    """Every request gets an id, and every answer the headers that keep browsers from guessing, and a log line."""

    def __init__(self, service: Service) -> None:
        self._executor = service.executor
        self._bodies = service.limits.bodies
        self._answered = Answered(service)
        self._started = False

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Before anything else, take the request's own `X-Request-ID` if that is a short plain one, else a new one.

        The first request starts the executor.
        """
        _identify(req, resp)
        req.context.start = time.perf_counter()
        if not self._started:
            self._executor.start()
            self._started = True

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: object, req_succeeded: bool
    ) -> None:
        """After everything else; a large body's turn is over."""
        if turn := getattr(req.context, "turn", 0):
            self._bodies.release(turn)
        for name, value in ANSWER_HEADERS:
            if resp.get_header(name) is None:
                resp.set_header(name, value)
        start = getattr(req.context, "start", None)  # missing if Falcon refused the request before
        seconds = 0.0 if start is None else time.perf_counter() - start
        probed = getattr(resource, "is_probe", False) and resp.status_code < 400
        self._answered(_ids(req), req.method, req.path, req.uri_template, resp.status_code, seconds, quietly=probed)


def _ids(req: falcon.Request) -> dict[str, object]:
    """Of the request, and of the run that it made."""
    made = {"run_id": req.context.run_id} if "run_id" in req.context else {}
    return {"request_id": getattr(req.context, "request_id", None)} | made


def _identify(req: falcon.Request, resp: falcon.Response) -> str:
    if "request_id" not in req.context:
        req.context.request_id = request_id_of(req.env.get("HTTP_X_REQUEST_ID"))
        resp.set_header("X-Request-ID", req.context.request_id)
    return str(req.context.request_id)


def _problem(req: falcon.Request, resp: falcon.Response, problem: Problem, params: object) -> None:
    instance = _identify(req, resp)  # Falcon refuses some before the middleware
    if errors.of_open_inference(req.path):
        resp.status = errors.open_inference_status(problem.status)
        resp.content_type = JSON
        resp.data = orjson.dumps({"error": problem.detail})
    else:
        resp.status = problem.status
        resp.content_type = errors.MEDIA_TYPE
        resp.data = orjson.dumps(problem.document(instance))
    for name, value in (problem.headers or {}).items():
        resp.set_header(name, value)


def _http_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: object) -> None:
    """What Falcon itself refuses: unknown methods, and headers that cannot be read."""
    headers = dict(error.headers or {})
    if error.status_code == 405:
        problem = Problem("method-not-allowed", f"Allowed here: {headers.get('Allow')}.", headers=headers)
    else:
        problem = Problem("malformed-request", error.description or error.title or "It cannot be read.")
    _problem(req, resp, problem, params)


def _conflict(req: falcon.Request, resp: falcon.Response, conflict: Conflict, params: object) -> None:
    _problem(req, resp, _refused(conflict), params)


_KINDS_OF_REFUSALS = {
    Refused.KEY_REUSED: "idempotency-key-reused",
    Refused.OTHER_HYPERPARAMS: "conflicting-hyperparams",
    Refused.QUEUE_FULL: "queue-full",
    Refused.MODEL_REMOVED: "unknown-model",
    Refused.START_REMOVED: "unknown-parameters",
}


def _refused(conflict: Conflict) -> Problem:
    retry = {"Retry-After": "10"} if conflict.reason == Refused.QUEUE_FULL else None
    return Problem(_KINDS_OF_REFUSALS[conflict.reason], conflict.detail, headers=retry)


def _in_use(req: falcon.Request, resp: falcon.Response, error: InUseError, params: object) -> None:
    _problem(req, resp, Problem("in-use", str(error)), params)


def _damaged(store: Store, req: falcon.Request, resp: falcon.Response, error: DamagedFileError, params: object) -> None:
    param_id = param_id_of(error.name)
    if param_id is not None and store.parameters(param_id) is None:  # removed since its row was read
        _problem(req, resp, unknown_parameters(), params)
        return
    log.error("request failed: damaged parameter file %s", error, extra=_ids(req))
    _problem(req, resp, Problem("damaged-parameters", "The stored file of this parameter set is damaged."), params)


def _storage_unavailable(
    req: falcon.Request, resp: falcon.Response, error: StorageUnavailableError, params: object
) -> None:
    log.error("request failed: the storage failed: %s", error.strerror, extra=_ids(req))
    detail = "The storage of parameter files does not answer, or refuses: try again later."
    _problem(req, resp, Problem("storage-unavailable", detail, headers={"Retry-After": "10"}), params)


def _database_unavailable(
    req: falcon.Request, resp: falcon.Response, error: DatabaseUnavailableError, params: object
) -> None:
    log.error("request failed: the database failed: %s", error, extra=_ids(req))
    detail = "The database cannot take this now (it may be busy, or its disk full): try again later."
    _problem(req, resp, Problem("storage-unavailable", detail, headers={"Retry-After": "10"}), params)


def _internal_error(req: falcon.Request, resp: falcon.Response, error: Exception, params: object) -> None:
    log.error("request failed", exc_info=error, extra=_ids(req))
    _problem(req, resp, Problem("internal-error", "The request failed; the server's log says why."), params)
