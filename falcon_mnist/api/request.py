"""What resources read from a request, in the contract's order of checks: size, media type, syntax, fields."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

import falcon
import orjson

from falcon_mnist.api.errors import Fault, Problem, invalid_fields, pointer
from falcon_mnist.api.json_body import decode
from falcon_mnist.api.sentences import shortly
from falcon_mnist.api.service import Service
from falcon_mnist.api.turns import SMALL_BODY
from falcon_mnist.constants import MAX_PAGE_SIZE, PAGE_SIZE
from falcon_mnist.training.fields import integral

JSON = "application/json"
BINARY = "application/octet-stream"

Params = Mapping[str, str | list[str]]  # of a query; a list where one is given more than once

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def read_body(req: falcon.Request, service: Service, *media_types: str, optional: bool = False) -> tuple[str, bytes]:
    """The media type (one of `media_types`) and bytes of the body; raises a 413, 415 or 503 `Problem`.

    A large body takes its turn, in which the request is answered (`RequestMiddleware` releases it). An `optional`
    body that is empty needs no media type: it counts as the first of them.
    """
    limit = service.settings.max_body_bytes
    declared = req.content_length
    length = declared or 0
    if declared is None and "HTTP_TRANSFER_ENCODING" in req.env and req.env.get("wsgi.input_terminated"):
        length = limit + 1
    elif length > limit:
        raise _too_large(limit)
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type not in media_types and not (optional and length == 0):
        sent = f"not {media_type!r}" if media_type else "and was not sent"
        known = " or ".join(filter(None, media_types))
        raise Problem("unsupported-media-type", f"Content-Type must be {known}, {sent[:100]}.")
    if req.env.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise Problem("unsupported-media-type", "Content-Encoding must be identity: send the body as it is.")
    if length > SMALL_BODY:
        req.context.turn = service.limits.take_body(length)
    body = req.stream.read(length)
    if len(body) > limit:
        raise _too_large(limit)
    return media_type or media_types[0], body


def read_json(req: falcon.Request, service: Service, *, optional: bool = False) -> dict[str, Any]:
    """The JSON object in the body; raises a 413, 415 or 400 `Problem`. No body counts as {} if `optional`."""
    _, body = read_body(req, service, JSON, optional=optional)
    return {} if optional and not body else decode(body, max_numbers=service.max_numbers)


def _too_large(limit: int) -> Problem:
    return Problem("body-too-large", f"The body may have at most {limit} bytes.", members={"limit_bytes": limit})


def read_query(req: falcon.Request, *names: str) -> dict[str, str]:
    """The query parameters of a request, as `known_query`."""
    return known_query(req.params, *names)


def known_query(params: Params, *names: str) -> dict[str, str]:
    """Query parameters that are all among `names` and given once; raises a 422 `Problem`."""
    faults = []
    given: dict[str, str] = {}
    for name, value in params.items():
        if name not in names:
            known = f"known are {', '.join(names)}" if names else "there are none here"
            faults.append(Fault(pointer([name]), f"is not a known query parameter: {known}"))
        elif isinstance(value, str):
            given[name] = value
        else:
            faults.append(Fault(f"/{name}", "must be given once"))
    if faults:
        raise invalid_fields(faults)
    return given


def query_fault(name: str, rule: str, given: str) -> Problem:
    """The 422 `Problem` of a query parameter that breaks a rule."""
    return invalid_fields([Fault(f"/{name}", f"{rule}, but is {shortly(given)}")])


def read_limit(query: Mapping[str, str]) -> int:
    """The query parameter `limit`; raises a 422 `Problem`."""
    text = query.get("limit", str(PAGE_SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_PAGE_SIZE):
        raise query_fault("limit", f"must be a whole number from 1 to {MAX_PAGE_SIZE}", text)
    return int(text)


def read_idempotency_key(req: falcon.Request) -> str | None:
    """The Idempotency-Key header; raises a 422 `Problem`."""
    key: str | None = req.get_header("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise Problem("invalid-fields", "Idempotency-Key must have 1 to 255 visible ASCII characters and no spaces.")
    return key


def fingerprint(body: Mapping[str, Any]) -> str:
    """The same for equal JSON documents, however they are spelled: 5 and 5.0 are one number."""
    return hashlib.sha256(orjson.dumps(_canonical(body), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _canonical(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_canonical(entry) for entry in value]
    return integral(value)


def write_cursor(key: bytes, model_id: str, number: int) -> str:
    """An opaque cursor that stands for "before run `number` of this model", signed by this server."""
    position = number.to_bytes(8, "big")
    return base64.urlsafe_b64encode(position + _signature(key, model_id, position)).decode()


def read_cursor(key: bytes, model_id: str, cursor: str | None) -> int | None:
    """The number in a cursor; raises a 422 `Problem` for one that this server did not issue for the model."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) == 24 and hmac.compare_digest(raw[8:], _signature(key, model_id, raw[:8])):
        return int.from_bytes(raw[:8], "big")
    raise invalid_fields([Fault("/cursor", "is not a cursor that this server issued for this list")])


def _signature(key: bytes, model_id: str, position: bytes) -> bytes:
    return hmac.digest(key, model_id.encode() + position, "sha256")[:16]
