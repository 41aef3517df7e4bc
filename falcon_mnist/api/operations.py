"""Every operation of the API: its route, the resource that answers it, and what its description says."""

from __future__ import annotations

from typing import ClassVar

import falcon

from falcon_mnist.api import inference_responses as inference_answers
from falcon_mnist.api import openapi, paths, schemas
from falcon_mnist.api import responses as answers
from falcon_mnist.api import service_responses as service_answers
from falcon_mnist.api.auth import READ
from falcon_mnist.api.openapi import Operation
from falcon_mnist.api.request import read_query
from falcon_mnist.api.resources import (
    digits,
    evaluations,
    health,
    imports,
    inference,
    metrics,
    models,
    open_inference,
    page,
    parameters,
    recipes,
    runs,
    snapshots,
    status,
)
from falcon_mnist.api.resources.base import Resource, answer

_FIELDS = ("invalid-json", "body-too-large", "unsupported-media-type", "malformed-request", "invalid-fields", "busy")


class Description(Resource):
    """`/openapi.json`."""

    access: ClassVar = {"GET": READ}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the document."""
        read_query(req)
        answer(resp, openapi.document(OPERATIONS))


_MODELS = (
    Operation(
        "/api/models", models.Models, "post", "createModel", "Create a model.",
        200, answers.Model, (*_FIELDS, "invalid-architecture", "idempotency-key-reused", "read-only-token"),
        body=schemas.CreateModel, headers=("Idempotency-Key",),
    ),
    Operation(
        "/api/models", models.Models, "get", "listModels", "List all models, newest first.",
        200, answers.ModelPage, ("invalid-fields",), query=("limit", "cursor"),
    ),
    Operation(
        "/api/models/{model_id}", models.Model, "get", "showModel", "Show a model.",
        200, answers.Model, ("unknown-model", "invalid-fields"),
    ),
    Operation(
        "/api/models/{model_id}", models.Model, "delete", "deleteModel",
        "Delete a model, its runs and its parameter sets.",
        204, None, ("unknown-model", "invalid-fields", "in-use", "read-only-token"),
    ),
    Operation(
        "/api/recipes", recipes.Recipes, "get", "listRecipes", "List networks that are known to do well.",
        200, service_answers.Recipes, ("invalid-fields",),
    ),
)  # fmt: skip

_RUNS = (
    Operation(
        "/api/models/{model_id}/train", models.Training, "post", "startTraining", "Queue a training run.",
        202, answers.RunQueued,
        (*_FIELDS, "unknown-model", "unknown-parameters", "conflicting-hyperparams", "other-architecture",
         "idempotency-key-reused", "queue-full", "read-only-token"),
        body=schemas.StartTraining, body_required=False, headers=("Idempotency-Key",),
    ),
    Operation(
        "/api/models/{model_id}/runs", runs.ModelRuns, "get", "listRuns", "List a model's runs, newest first.",
        200, answers.RunPage, ("unknown-model", "invalid-fields"), query=("limit", "cursor"),
    ),
    Operation(
        "/api/runs", runs.Runs, "get", "listAllRuns", "List all runs, newest first.",
        200, answers.RunPage, ("unknown-model", "invalid-fields"), query=("state", "model_id", "limit", "cursor"),
    ),
    Operation(
        paths.RUN, runs.Run, "get", "showRun", "Show how far a run has come.",
        200, answers.RunState, ("unknown-run", "invalid-fields"),
    ),
    Operation(
        paths.RUN, runs.Run, "delete", "deleteRun", "Delete a run and its parameter set.",
        204, None, ("unknown-run", "invalid-fields", "in-use", "read-only-token"),
    ),
    Operation(
        f"{paths.RUN}/cancel", runs.Cancellation, "post", "cancelRun", "End a queued or running run.",
        200, answers.RunState, (*_FIELDS, "unknown-run", "run-finished", "read-only-token"),
        body=schemas.Nothing, body_required=False,
    ),
    Operation(
        f"{paths.RUN}/finish", runs.Finish, "post", "finishRun", "Stop a run, and keep what it has learned.",
        202, answers.RunState, (*_FIELDS, "unknown-run", "run-not-running", "read-only-token"),
        body=schemas.Nothing, body_required=False,
    ),
    Operation(
        f"{paths.RUN}/snapshot", snapshots.Snapshot, "get", "showSnapshot", "Get what a run has learned so far.",
        200, answers.Snapshot,
        ("unknown-run", "no-snapshot", "malformed-request", "not-acceptable", "invalid-fields", "damaged-parameters",
         "busy"),
        query=("format",), headers=("If-None-Match",),
    ),
)  # fmt: skip

_PARAMETERS = (
    Operation(
        "/api/params", imports.ParameterSets, "post", "importParameters", "Bring parameters from elsewhere.",
        201, answers.Imported, (*_FIELDS, "invalid-architecture", "idempotency-key-reused", "read-only-token"),
        body=schemas.ImportParameters, query=("activation",), headers=("Idempotency-Key",),
    ),
    Operation(
        "/api/params", imports.ParameterSets, "get", "listParameters", "List all parameter sets, newest first.",
        200, answers.ParameterPage, ("unknown-model", "invalid-fields"), query=("model_id", "limit", "cursor"),
    ),
    Operation(
        paths.PARAMETERS, parameters.Parameters, "get", "showParameters", "Get parameters.",
        200, answers.ParameterSet,
        ("unknown-parameters", "malformed-request", "not-acceptable", "invalid-fields", "damaged-parameters", "busy"),
        query=("format",), headers=("If-None-Match",),
    ),
    Operation(
        paths.PARAMETERS, parameters.Parameters, "delete", "deleteParameters", "Delete a parameter set.",
        204, None, ("unknown-parameters", "invalid-fields", "in-use", "read-only-token"),
    ),
    Operation(
        f"{paths.PARAMETERS}/evaluation", evaluations.Evaluation, "get", "showEvaluation",
        "Show what trained parameters reach on the test images.",
        200, inference_answers.Evaluation,
        ("unknown-parameters", "no-test-data", "invalid-fields", "damaged-parameters", "busy"),
        headers=("If-None-Match",),
    ),
)  # fmt: skip

_INFERENCE = (
    Operation(
        paths.INFER, inference.Inference, "post", "infer", "Infer with trained parameters.",
        200, inference_answers.Prediction, (*_FIELDS, "unknown-parameters", "damaged-parameters"),
        body=schemas.Infer, query=("param_id", "dtype", "return"),
    ),
    Operation(
        "/api/infer_adhoc", inference.AdhocInference, "post", "inferAdhoc", "Infer with the parameters in the body.",
        200, inference_answers.AdhocPrediction, (*_FIELDS, "invalid-architecture"), body=schemas.InferAdhoc,
    ),
    Operation(
        "/v2", open_inference.Server, "get", "openInferenceServer", "Open Inference Protocol: what answers.",
        200, inference_answers.OpenInferenceServer, (),
    ),
    Operation(
        "/v2/health/live", open_inference.Live, "get", "openInferenceLive", "Whether the process lives.",
        200, service_answers.Status, (),
    ),
    Operation(
        "/v2/health/ready", open_inference.Ready, "get", "openInferenceReady", "Whether requests can be served.",
        200, service_answers.Status, ("not-ready",),
    ),
    Operation(
        "/v2/models/{param_id}", open_inference.Model, "get", "openInferenceModel", "The tensors of a parameter set.",
        200, inference_answers.OpenInferenceModel, ("unknown-parameters",),
    ),
    Operation(
        "/v2/models/{param_id}/ready", open_inference.ModelReady, "get", "openInferenceModelReady",
        "Whether a parameter set is there.",
        200, inference_answers.OpenInferenceReady, ("unknown-parameters",),
    ),
    Operation(
        "/v2/models/{param_id}/infer", open_inference.ModelInfer, "post", "openInfer", "Infer, by that protocol.",
        200, inference_answers.OpenInferenceAnswer, (*_FIELDS, "unknown-parameters", "damaged-parameters"),
        body=schemas.OpenInference,
    ),
)  # fmt: skip

_SERVICE = (
    Operation(
        "/api/digits/{part}", digits.Digits, "get", "listDigits", "Show digits of the data set: of train or test.",
        200, service_answers.Digits, ("unknown-path", "no-test-data", "invalid-fields"), query=("indices",),
    ),
    Operation(
        "/api/version", status.Version, "get", "version", "Show what runs here.",
        200, service_answers.Version, ("invalid-fields",),
    ),
    Operation(
        "/api/status", status.ServiceStatus, "get", "status", "Show how the service is doing.",
        200, service_answers.ServiceStatus, ("invalid-fields",),
    ),
    Operation(
        "/api/openapi.json", Description, "get", "describe", "This document.", 200, None, ("invalid-fields",),
    ),
    Operation(
        "/", page.Page, "get", "showPage", "The page for people.",
        200, None, (), headers=("If-None-Match",), media_types=(page.MEDIA_TYPES[".html"],),
    ),
    Operation(
        "/page/{name}", page.PageFile, "get", "showPageFile", "A file of the page.",
        200, None, ("unknown-path",), headers=("If-None-Match",), media_types=tuple(page.MEDIA_TYPES.values()),
    ),
    Operation(
        "/docs", page.Docs, "get", "showDocs", "This document, for people.",
        200, None, (), headers=("If-None-Match",), media_types=(page.MEDIA_TYPES[".html"],),
    ),
    Operation(
        "/docs/{name}", page.DocsFile, "get", "showDocsFile", "A file of what shows it.",
        200, None, ("unknown-path",), headers=("If-None-Match",),
        media_types=(page.MEDIA_TYPES[".js"], page.MEDIA_TYPES[".css"]),
    ),
    Operation(
        "/metrics", metrics.MetricsText, "get", "metrics", "What Prometheus scrapes.",
        200, None, ("invalid-fields",), media_types=(metrics.MEDIA_TYPE,),
    ),
    Operation(
        "/healthz", health.Health, "get", "health", "Whether the process lives.", 200, service_answers.Status, (),
    ),
    Operation(
        "/readyz", health.Readiness, "get", "readiness", "Whether requests can be served.",
        200, service_answers.Status, ("not-ready",),
    ),
)  # fmt: skip

# In the order of the document, each with the tag under which viewers list it.
OPERATIONS = tuple(
    operation._replace(tag=tag)
    for tag, operations in (
        ("models", _MODELS),
        ("runs", _RUNS),
        ("parameters", _PARAMETERS),
        ("inference", _INFERENCE),
        ("service", _SERVICE),
    )
    for operation in operations
)
