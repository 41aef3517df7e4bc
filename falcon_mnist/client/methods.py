"""Operations as methods of both clients, typed for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Generic, ParamSpec, Self, TypeVar, overload

from falcon_mnist.client import inference, open_inference, operations
from falcon_mnist.client.steps import Steps

if TYPE_CHECKING:
    from falcon_mnist.client.client import AsyncClient, Client

P = ParamSpec("P")
T = TypeVar("T")


class Operation(Generic[P, T]):
    """A method whose steps the client carries out: at once in a `Client`, when awaited in an `AsyncClient`."""

    def __init__(self, steps: Callable[P, Steps[T]]) -> None:
        self._steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, client: Client, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    def __get__(self, client: Client | AsyncClient | None, owner: type) -> object:
        """The method of that client."""
        if client is None:
            return self

        @wraps(self._steps)
        def method(*arguments: P.args, **named: P.kwargs) -> object:
            return client.carry_out(self._steps(*arguments, **named))

        return method


class Operations:
    """What both clients can do; `falcon_mnist.client.operations` says it in full."""

    create_model = Operation(operations.create_model)
    models = Operation(operations.models)
    all_models = Operation(operations.all_models)
    model = Operation(operations.model)
    delete_model = Operation(operations.delete_model)
    train = Operation(operations.train)
    model_runs = Operation(operations.model_runs)
    runs = Operation(operations.runs)
    all_runs = Operation(operations.all_runs)
    run = Operation(operations.run)
    wait = Operation(operations.wait)
    cancel = Operation(operations.cancel)
    finish = Operation(operations.finish)
    delete_run = Operation(operations.delete_run)
    snapshot = Operation(operations.snapshot)
    import_parameters = Operation(operations.import_parameters)
    parameter_sets = Operation(operations.parameter_sets)
    all_parameter_sets = Operation(operations.all_parameter_sets)
    parameters = Operation(operations.parameters)
    arrays = Operation(operations.arrays)
    export = Operation(operations.export)
    delete_parameters = Operation(operations.delete_parameters)
    evaluation = Operation(operations.evaluation)
    digits = Operation(operations.digits)
    recipes = Operation(operations.recipes)
    infer = Operation(inference.infer)
    infer_adhoc = Operation(inference.infer_adhoc)
    status = Operation(operations.status)
    version = Operation(operations.version)
    openapi = Operation(operations.openapi)
    metrics = Operation(operations.metrics)
    live = Operation(operations.live)
    ready = Operation(operations.ready)
    v2_server = Operation(open_inference.v2_server)
    v2_live = Operation(open_inference.v2_live)
    v2_ready = Operation(open_inference.v2_ready)
    v2_model = Operation(open_inference.v2_model)
    v2_model_ready = Operation(open_inference.v2_model_ready)
    v2_infer = Operation(open_inference.v2_infer)
