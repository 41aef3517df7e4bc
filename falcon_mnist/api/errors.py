"""The one shape of every failure: RFC 9457 problem documents, from one table of kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """One thing that is wrong in what was sent, and where (a JSON Pointer, RFC 6901)."""

    pointer: str
    detail: str


class Kind(NamedTuple):
    """A kind of problem: its HTTP status and its title, which never changes."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "malformed-request": Kind(400, "Malformed request"),
    "invalid-json": Kind(400, "Body is not a JSON object"),
    "invalid-architecture": Kind(400, "Invalid architecture or parameters"),
    "unauthorized": Kind(401, "A valid token is required"),
    "forbidden": Kind(403, "The operation is closed"),
    "read-only-token": Kind(403, "The token may only read"),
    "unknown-path": Kind(404, "No such path"),
    "unknown-model": Kind(404, "Unknown model"),
    "unknown-run": Kind(404, "Unknown run"),
    "unknown-parameters": Kind(404, "Unknown parameter set"),
    "no-snapshot": Kind(404, "The run has no checkpoint"),
    "method-not-allowed": Kind(405, "Method not allowed"),
    "not-acceptable": Kind(406, "Not acceptable"),
    "conflicting-hyperparams": Kind(409, "Another run of the model is active"),
    "other-architecture": Kind(409, "The parameter set has another architecture"),
    "no-test-data": Kind(409, "The data set is not on this server"),
    "idempotency-key-reused": Kind(409, "Idempotency key already used"),
    "in-use": Kind(409, "A run that is queued or running needs it"),
    "run-finished": Kind(409, "The run has already finished"),
    "run-not-running": Kind(409, "The run is not running"),
    "body-too-large": Kind(413, "Request body too large"),
    "unsupported-media-type": Kind(415, "Unsupported media type"),
    "invalid-fields": Kind(422, "Invalid fields"),
    "damaged-parameters": Kind(500, "The stored parameters are damaged"),
    "internal-error": Kind(500, "Internal error"),
    "queue-full": Kind(503, "Too many runs are queued"),
    "not-ready": Kind(503, "Not ready"),
    "busy": Kind(503, "Too much is being done at the same time"),
    "storage-unavailable": Kind(503, "Storage is unavailable"),
}

# The most characters of a name, of a client's choosing, that an answer repeats.
MAX_ECHOED = 100


def pointer(place: Sequence[str | int]) -> str:
    """A place in a document as a JSON Pointer (RFC 6901); a long name is cut, for it is the client's to choose."""
    return "".join("/" + str(step)[:MAX_ECHOED].replace("~", "~0").replace("/", "~1") for step in place)


MEDIA_TYPE = "application/problem+json"


@dataclass
class Problem(Exception):
    """A request that cannot be answered as asked.

    `kind` is a key of `KINDS`; `members` go into the document, `headers` onto the response, and `faults`
    become its `errors`.
    """

    kind: str
    detail: str
    faults: Sequence[Fault] = ()
    members: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None

    @property
    def status(self) -> int:
        """The HTTP status code."""
        return KINDS[self.kind].status

    def document(self, instance: str) -> dict[str, Any]:
        """The body of the response; `instance` is the id of the request."""
        status, title = KINDS[self.kind]
        document: dict[str, Any] = {
            "type": f"urn:falcon-mnist:problem:{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.faults:
            document["errors"] = [fault._asdict() for fault in self.faults]
        return document | dict(self.members or {})


def invalid_fields(faults: Sequence[Fault], *, structural: bool = False) -> Problem:
    """The problem of a body or query with `faults`; `structural` ones lie in an architecture (400)."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    first = faults[0]
    where = f" at {first.pointer}" if first.pointer else ""
    kind = "invalid-architecture" if structural else "invalid-fields"
    return Problem(kind, f"{count} found; the first{where}: {first.detail}.", faults=faults)


def of_open_inference(path: str) -> bool:
    """Whether the Open Inference Protocol says how errors under this path look."""
    return path.lstrip("/").partition("/")[0] == "v2"


def open_inference_status(status: int) -> int:
    """Of an error under that protocol: what is wrong with a body is a 400 there."""
    return 400 if status == 422 else status


_KIND_NAMES = {
    "NoneType": "null",
    "bool": "a boolean",
    "int": "a number",
    "float": "a number",
    "str": "a string",
    "list": "an array",
    "ndarray": "an array",
    "dict": "an object",
}


def kind_of(value: object) -> str:
    """The JSON kind of a decoded value, with its article, for sentences about what was sent."""
    return _KIND_NAMES.get(type(value).__name__, "another kind of value")
