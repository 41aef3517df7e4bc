"""The OpenAPI 3.1 document, made from the table of operations and from the schemas that validate."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from falcon_mnist.api import errors
from falcon_mnist.api import inference_responses as inference_answers
from falcon_mnist.api import service_responses as service_answers
from falcon_mnist.api.auth import PUBLIC
from falcon_mnist.api.request import BINARY, JSON
from falcon_mnist.api.resources.base import Resource
from falcon_mnist.constants import MAX_DIGITS, MAX_PAGE_SIZE, PAGE_SIZE, STATES
from falcon_mnist.exchange.formats import FORMATS
from falcon_mnist.exchange.imports import ACTIVATIONS
from falcon_mnist.storage.parameter_files import MEDIA_TYPE as SAFETENSORS

_EVERYWHERE = ("internal-error", "storage-unavailable")
# What some operations take beside JSON.
_OTHER_BODIES = {"infer": (BINARY,), "importParameters": (SAFETENSORS,), "openInfer": (BINARY,)}
_OTHER_ANSWERS = {
    "showParameters": [each.media_type for each in FORMATS.values() if each.media_type != JSON],
    "showSnapshot": [SAFETENSORS],
    "openInfer": [BINARY],
}


class Operation(NamedTuple):
    """One method of one path. `problems` are keys of `errors.KINDS` beyond those that every operation has."""

    path: str
    resource: type[Resource]
    method: str
    name: str
    summary: str
    status: int
    answer: type[BaseModel] | None
    problems: tuple[str, ...]
    body: type[BaseModel] | None = None
    body_required: bool = True
    query: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    media_types: tuple[str, ...] = (JSON,)
    tag: str = ""

    @property
    def public(self) -> bool:
        """Whether it needs no token."""
        return self.resource.access[self.method.upper()] == PUBLIC


_QUERY: dict[str, dict[str, Any]] = {
    "limit": {"schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE}},
    "cursor": {"schema": {"type": "string"}, "description": "The next_cursor of the page before."},
    "state": {"schema": {"type": "string", "enum": list(STATES)}},
    "model_id": {"schema": {"type": "string"}, "description": "Only what belongs to this model."},
    "format": {
        "schema": {"type": "string", "enum": list(FORMATS)},
        "description": "Goes before the Accept header.",
    },
    "activation": {
        "schema": {"type": "string", "enum": list(ACTIVATIONS)},
        "description": "For PyTorch's files, which need it: what stands between two of their layers.",
    },
    "param_id": {"schema": {"type": "string"}, "description": "For binary bodies, which need it."},
    "indices": {
        "schema": {"type": "string", "pattern": "^[0-9]+(,[0-9]+)*$"},
        "description": f"Numbers of up to {MAX_DIGITS} digits, counted from 0, by commas.",
        "required": True,
    },
    "dtype": {
        "schema": {"type": "string", "enum": ["float32", "uint8"]},
        "description": "For binary bodies, which need it: little-endian float32, or bytes 0-255, scaled by 1/255.",
    },
    "return": {
        "schema": {"type": "string"},
        "description": "For binary bodies: logits, probabilities, labels, separated by commas; "
        "without it, probabilities and labels.",
    },
}
_HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "description": "The same key with the same body answers the first answer again.",
    },
    "If-None-Match": {"schema": {"type": "string"}, "description": "ETags that the client has: 304 for one."},
}


@cache
def document(operations: tuple[Operation, ...]) -> dict[str, Any]:
    """The OpenAPI document of these operations."""
    models = [(model, "validation") for op in operations for model in (op.answer, op.body) if model]
    models += [(service_answers.ProblemDocument, "validation"), (inference_answers.OpenInferenceError, "validation")]
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "falcon-mnist",
            "version": version("falcon-mnist"),
            "summary": "Train and serve small neural networks on MNIST.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": [] if operation.public else [{"bearer": []}],
        "responses": _responses(operation),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("model_id", "run_id", "param_id", "name", "part")
        if f"{{{name}}}" in operation.path
    ]
    parameters += [{"name": name, "in": "query"} | _QUERY[name] for name in operation.query]
    parameters += [{"name": name, "in": "header"} | _HEADERS[name] for name in operation.headers]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        content: dict[str, Any] = {JSON: {"schema": _reference(operation.body)}}
        content |= {name: _bytes(name) for name in _OTHER_BODIES.get(operation.name, ())}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if operation.status != 204:
        media_types = operation.media_types
        success["content"] = {name: {"schema": _schema(operation, name)} for name in media_types}
    responses = {str(operation.status): success}
    if operation.status in (201, 202):
        success["headers"] = {"Location": {"schema": {"type": "string"}, "description": "Where it is."}}
    if operation.name in _OTHER_ANSWERS:
        success["content"] |= {name: _bytes(name) for name in _OTHER_ANSWERS[operation.name]}
    if "If-None-Match" in operation.headers:
        success["headers"] = {"ETag": {"schema": {"type": "string"}}}
        responses["304"] = {"description": "The client has it already."}
    kinds = [*operation.problems, *_EVERYWHERE]
    if not operation.public:
        kinds.append("unauthorized")
    theirs = errors.of_open_inference(operation.path)
    content = (
        {JSON: {"schema": _reference(inference_answers.OpenInferenceError)}}
        if theirs
        else {errors.MEDIA_TYPE: {"schema": _reference(service_answers.ProblemDocument)}}
    )
    titles: dict[int, list[str]] = {}
    for kind in kinds:
        status, title = errors.KINDS[kind]
        titles.setdefault(errors.open_inference_status(status) if theirs else status, []).append(title)
    for status, found in sorted(titles.items()):
        responses[str(status)] = {"description": "; ".join(found) + ".", "content": content}
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-ID"] = {"schema": {"type": "string"}}
    return responses


def _bytes(media_type: str) -> dict[str, Any]:
    return {"schema": {"type": "string", "contentMediaType": media_type}}


def _schema(operation: Operation, media_type: str) -> dict[str, str]:
    if operation.answer:
        return _reference(operation.answer)
    return {"type": "object" if media_type == JSON else "string"}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
