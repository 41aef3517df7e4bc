"""The one exception of the client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx

from falcon_mnist.client.answers import Fault

UNREACHABLE, NOT_UNDERSTOOD = "unreachable", "not-understood"


class ClientError(Exception):
    """A request that was refused or not answered; as text, one sentence.

    `code` is the last part of the problem's type, as `unknown-run`; or `unreachable`; or `not-understood`, where
    something else than this API answers. `status` is the HTTP status of a refusal, `details` are the faults in what
    was sent.
    """

    def __init__(self, code: str, message: str, *, status: int | None = None, details: Sequence[Fault] = ()) -> None:
        self.code = code
        self.message = message
        self.status = status
        self.details = list(details)
        super().__init__(message)

    def __str__(self) -> str:
        if self.status is None:
            return self.message
        faults = [": ".join(filter(None, (fault["pointer"], fault["detail"]))) for fault in self.details]
        return f"the server answered {self.status}: {'; '.join(faults) or self.message}"


def unanswered(url: httpx.URL, fault: httpx.RequestError) -> ClientError:
    """The error of a request without an answer, or with one that cannot be read."""
    reason = str(fault) or type(fault).__name__
    if isinstance(fault, httpx.TransportError):
        return ClientError(UNREACHABLE, f"no server answers at {url} ({reason})")
    return ClientError(NOT_UNDERSTOOD, f"what answers at {url} is not this API ({reason})")


class MissingMemberError(ClientError, KeyError):
    """An answer without a member that was asked of it: as the run of a server of another version."""


class Answer(dict[str, Any]):
    """An object in an answer."""

    def __missing__(self, name: str) -> Any:
        raise MissingMemberError(NOT_UNDERSTOOD, f"the server's answer has no member {name!r}: is it this API?")


def read_json(response: httpx.Response, length: int | None = None) -> Any:
    """The JSON object of an answer, of its first `length` bytes. Raises `ClientError`."""
    try:
        found = json.loads(response.content[:length], object_hook=Answer)
    except (ValueError, RecursionError):
        raise not_this_api(response, "it is no JSON") from None
    if not isinstance(found, dict):
        raise not_this_api(response, "it is no JSON object")
    return found


def not_this_api(response: httpx.Response, reason: str) -> ClientError:
    """The error of an answer that this API does not give."""
    return ClientError(NOT_UNDERSTOOD, f"what answers at {response.url} is not this API: {reason}")


def refused(response: httpx.Response) -> ClientError:
    """The error of an answer that is none of the wanted ones; a proxy's may say nothing."""
    code, message, details = f"http-{response.status_code}", response.reason_phrase, []
    try:
        problem = response.json()
        message = str(problem.get("detail") or problem.get("error") or message)
        code = str(problem.get("type") or code).rpartition(":")[2]
        faults = problem.get("errors", ())
        details = [Fault(pointer=str(fault["pointer"]), detail=str(fault["detail"])) for fault in faults]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        pass  # not one of ours
    return ClientError(code, message, status=response.status_code, details=details)
