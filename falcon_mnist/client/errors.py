"""The one exception of the client."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from falcon_mnist.client.answers import Fault

UNREACHABLE = "unreachable"


class ClientError(Exception):
    """A request that was refused or not answered; as text, one sentence.

    `code` is the last part of the problem's type, as `unknown-run`, or `unreachable`; `status` is the HTTP status,
    None without an answer; `details` are the faults in what was sent.
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


def unreachable(url: httpx.URL, fault: httpx.TransportError) -> ClientError:
    """The error of a request without an answer."""
    reason = str(fault) or type(fault).__name__
    return ClientError(UNREACHABLE, f"no server answers at {url} ({reason}): start one, or name it")


def refused(response: httpx.Response) -> ClientError:
    """The error of an answer that is none of the wanted ones; a proxy's may say nothing."""
    code, message, details = f"http-{response.status_code}", response.reason_phrase, []
    try:
        problem = response.json()
        message = str(problem.get("detail") or problem.get("error") or message)
        code = str(problem.get("type") or code).rpartition(":")[2]
        details = [Fault(pointer=fault["pointer"], detail=fault["detail"]) for fault in problem.get("errors", ())]
    except (ValueError, KeyError, AttributeError, TypeError):
        pass  # not one of ours
    return ClientError(code, message, status=response.status_code, details=details)
