"""Small inferences are answered in the thread that reads from all connections, with no WSGI and no Falcon between.

To wake another thread, to make an environment and to route would take three quarters of such a request's time. The
thread that reads must not wait, nor compute for long. So only what is quick and succeeds is answered here: all else,
each refusal among it, is left to the application, which begins from the beginning, in another thread.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Protocol

from falcon.uri import parse_query_string

from falcon_mnist.api import paths
from falcon_mnist.api.answered import ANSWER_HEADERS, Answered, request_id_of
from falcon_mnist.api.auth import bearer
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.json_answer import dumps
from falcon_mnist.api.json_body import FaultAt, decode
from falcon_mnist.api.request import BINARY, JSON
from falcon_mnist.api.resources.inference import Wanted, answer_of, wanted_by_bytes, wanted_by_json
from falcon_mnist.api.schemas import Return, rows_of
from falcon_mnist.api.service import Service

# Room for a row of JSON with all digits of a double, which are 20 bytes for each of 784 numbers and a comma.
_MAX_BYTES = 2**15
_MAX_QUERY = 500  # characters
# A body with more members than this takes longer to refuse than a valid one to answer.
_MAX_MEMBERS = 20
# The members of nearly all bodies, and the outputs they get: pydantic takes longer for them than the forward pass.
_PLAIN = {"param_id", "inputs"}
_USUAL = Return()
# Each row reads all parameters: 8 MB of them take less than a millisecond.
_MAX_PARAMETER_BYTES = 2**23


class Head(Protocol):
    """The head of a request that asks for nothing special of HTTP; the names of headers as in WSGI, without prefix."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


class Answer(NamedTuple):
    """One with status 200."""

    headers: list[tuple[str, str]]
    data: bytes


def may_be_quick(head: Head, length: int) -> bool:
    """Whether it is worth while to try, with a body of `length` bytes."""
    return (
        head.path == paths.INFER
        and head.method == "POST"
        and 0 < length <= _MAX_BYTES
        and len(head.query) <= _MAX_QUERY
        and head.headers.get("CONNECTION", "").lower() != "close"
        and "CONTENT_ENCODING" not in head.headers
    )


class AtOnce:
    """Answers what `may_be_quick` lets pass, or leaves it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._answered = Answered(service)

    def __call__(self, head: Head, body: bytes) -> Answer | None:
        """The answer; None for what another thread is to ask the application."""
        start = time.perf_counter()
        headers = head.headers
        if self._service.tokens.holder(bearer(headers.get("AUTHORIZATION", ""))) is None:
            return None
        try:
            document = self._document(head, body)
        except (Problem, FaultAt):
            return None
        if document is None:
            return None
        request_id = request_id_of(headers.get("X_REQUEST_ID"))
        data = dumps(document)
        self._answered({"request_id": request_id}, "POST", paths.INFER, paths.INFER, 200, time.perf_counter() - start)
        return Answer([("x-request-id", request_id), *_HEADERS, ("content-length", str(len(data)))], data)

    def _document(self, head: Head, body: bytes) -> dict[str, Any] | None:
        """Raises a `Problem` as the application would, or `FaultAt` where that would."""
        wanted = self._wanted(head, body)
        if wanted is None:
            return None
        max_bytes = _MAX_PARAMETER_BYTES / max(len(wanted.rows), 1)
        predictor = self._service.predictors.loaded(wanted.param_id, max_bytes)
        return None if predictor is None else answer_of(self._service, predictor, wanted)

    def _wanted(self, head: Head, body: bytes) -> Wanted | None:
        media_type = head.headers.get("CONTENT_TYPE")
        query = parse_query_string(head.query, keep_blank=True, csv=False) if head.query else {}
        if media_type == BINARY:
            return wanted_by_bytes(body, query)
        if media_type != JSON:
            return None
        document = decode(body, max_numbers=self._service.max_numbers)
        if document.keys() == _PLAIN and type(document["param_id"]) is str and not query:
            return Wanted(document["param_id"], rows_of(document["inputs"]), _USUAL)
        if sum(len(each) for each in (document, *document.values()) if isinstance(each, dict)) > _MAX_MEMBERS:
            return None
        return wanted_by_json(self._service, document, query)


_HEADERS = (("content-type", JSON), *((name.lower(), value) for name, value in ANSWER_HEADERS))
