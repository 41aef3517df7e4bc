"""Runs: lists, one run, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import falcon

from falcon_mnist.api import paths, schemas
from falcon_mnist.api.auth import READ, WRITE
from falcon_mnist.api.errors import Problem
from falcon_mnist.api.request import query_fault, read_json, read_query
from falcon_mnist.api.resources.base import Resource, answer, unknown_run
from falcon_mnist.api.resources.lists import read_page
from falcon_mnist.constants import CANCELLED, METRICS, RUNNING, STATES, SUCCEEDED
from falcon_mnist.storage.removal import remove_run
from falcon_mnist.storage.store import Epoch
from falcon_mnist.storage.tables import RunRow
from falcon_mnist.training.hyperparams import normalised


class RunList(Resource):
    """Base of what lists runs, newest first."""

    access: ClassVar = {"GET": READ}

    def _answer_page(self, resp: falcon.Response, name: str, query: Mapping[str, str], **filters: str | None) -> None:
        """`name` is the list that cursors belong to; the filters hold when the page is read."""
        store = self._service.store
        with store.snapshot():
            page, cursor = read_page(store, name, query, store.runs, **filters)
            epochs = store.shown_epochs(page)
        items = [run_document(run, epochs[run.id]) for run in page]
        answer(resp, {"items": items, "next_cursor": cursor})


class Runs(RunList):
    """`/runs`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all runs, or those of a model or in a state."""
        query = read_query(req, "state", "model_id", "limit", "cursor")
        state, model_id = query.get("state"), query.get("model_id")
        if state is not None and state not in STATES:
            raise query_fault("state", f"must be one of {', '.join(STATES)}", state)
        if model_id is not None:
            self._model(model_id)
        self._answer_page(resp, "runs", query, state=state, model_id=model_id)


class ModelRuns(RunList):
    """`/models/{model_id}/runs`."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, model_id: str) -> None:
        """List the model's runs."""
        self._model(model_id)
        self._answer_page(resp, model_id, read_query(req, "limit", "cursor"), model_id=model_id)


class RunResource(Resource):
    """Base of what answers one run with its history."""

    def _read_nothing(self, req: falcon.Request, run_id: str) -> None:
        """Check a request about a run that has no body but an empty object, in the contract's order."""
        body = read_json(req, self._service, optional=True)
        self._run(run_id)
        self._parse(schemas.Nothing, body)
        read_query(req)

    def _document(self, run: RunRow) -> dict[str, Any]:
        return whole_document(run, self._service.store.history(run.id))


class Run(RunResource):
    """`/runs/{run_id}`."""

    access: ClassVar = {"GET": READ, "DELETE": WRITE}

    def on_get(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        """Show how far a run has come."""
        with self._service.store.snapshot():
            run = self._run(run_id)
            read_query(req)
            document = self._document(run)
        answer(resp, document)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        """Delete a run that has ended, and its parameter set."""
        self._run(run_id)
        read_query(req)
        if self._remove(req, resp, remove_run, run_id) is None:
            raise unknown_run()


class Cancellation(RunResource):
    """`/runs/{run_id}/cancel`."""

    access: ClassVar = {"POST": WRITE}

    def on_post(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        """End a queued or running run; one that was cancelled before is answered as it is."""
        self._read_nothing(req, run_id)
        with self._service.limits.write():
            cancelled = self._service.store.cancel(run_id)
        run = self._run(run_id)
        if not cancelled and run.state != CANCELLED:
            raise Problem("run-finished", f"The run has {run.state} already and cannot be cancelled.")
        answer(resp, self._document(run))


class Finish(RunResource):
    """`/runs/{run_id}/finish`."""

    access: ClassVar = {"POST": WRITE}

    def on_post(self, req: falcon.Request, resp: falcon.Response, run_id: str) -> None:
        """Let a running run succeed at the end of the epoch under way, with what it has learned."""
        self._read_nothing(req, run_id)
        with self._service.limits.write():
            asked = self._service.store.finish(run_id)
        run = self._run(run_id)
        if not asked:
            raise Problem("run-not-running", f"The run is {run.state}: only a running one can finish early.")
        answer(resp, self._document(run), status=falcon.HTTP_202)
        resp.location = paths.RUN.format(run_id=run_id)


def run_document(run: RunRow, epochs: Mapping[int, Epoch]) -> dict[str, Any]:
    """A run as lists show it; `epochs` has at least its latest and that of best accuracy, by number."""
    latest, best = epochs.get(run.epoch), epochs.get(run.best_accuracy_epoch)
    document: dict[str, Any] = {
        "run_id": run.id,
        "model_id": run.model_id,
        "state": run.state,
        "epoch": run.epoch,
        "epochs_total": run.hyperparams["epochs"],
        "metrics": {name: getattr(latest, name, None) for name in METRICS},
        "start_from": run.start_from,
        "best_epoch": run.best_epoch or None,
        "best_accuracy": best and {"epoch": best.epoch, "val_accuracy": best.val_accuracy},
        **_pace(run, latest),
        "hyperparams": normalised(run.hyperparams),
        "dataset": run.dataset,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
    if run.state == SUCCEEDED:
        document["param_id"] = run.param_id
    if run.error is not None:
        document["error"] = run.error
    return document


def whole_document(run: RunRow, history: Sequence[Epoch]) -> dict[str, Any]:
    """A run with all its finished epochs."""
    return run_document(run, {row.epoch: row for row in history}) | {"history": [_epoch(row) for row in history]}


def _epoch(row: Epoch) -> dict[str, Any]:
    return {"epoch": row.epoch} | {name: getattr(row, name) for name in (*METRICS, "lr", "seconds")}


def _pace(run: RunRow, latest: Epoch | None) -> dict[str, Any]:
    """How fast the latest finished epoch was, and how long the rest takes at its pace if the run is running."""
    if latest is None or latest.seconds is None or latest.samples is None:
        return {"samples_per_second": None, "eta_seconds": None}
    left = (run.hyperparams["epochs"] - run.epoch) * latest.seconds if run.state == RUNNING else None
    return {"samples_per_second": latest.samples / max(latest.seconds, 1e-9), "eta_seconds": left}
