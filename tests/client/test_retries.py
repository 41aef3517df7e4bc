"""What both clients send, send again and give up on, over a transport that answers as a test says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from asynchronous import run_async
from cases import for_each

from falcon_mnist.client import AsyncClient, Client, ClientError, network
from falcon_mnist.client.methods import Operations

IMAGE = np.zeros(784, np.uint8)
RUN = {"run_id": "r_1", "state": "succeeded"}
BUSY = {"type": "urn:falcon-mnist:problem:busy", "detail": "Too much is being done."}

Outcome = httpx.Response | Exception


class Script(httpx.MockTransport):
    """Answers requests with these outcomes, one after another, and keeps what was sent and how long was paused."""

    def __init__(self, *outcomes: Outcome) -> None:
        super().__init__(self._answer)
        self._outcomes = list(outcomes)
        self.sent: list[httpx.Request] = []
        self.pauses: list[float] = []

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def with_client(self, call: Callable[[Any], Any], **options: Any) -> Any:
        with Client("http://server", "a-token", transport=self, pause=self.pauses.append, **options) as client:
            return call(client)

    def with_async_client(self, call: Callable[[Any], Any], **options: Any) -> Any:
        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        async def ask() -> Any:
            async with AsyncClient("http://server", "a-token", transport=self, pause=pause, **options) as client:
                return await call(client)

        return run_async(ask())


@pytest.fixture(params=[Script.with_client, Script.with_async_client], ids=["Client", "AsyncClient"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Does one thing with a client of each kind."""
    chosen: Callable[..., Any] = request.param
    return chosen


def ok(body: object = RUN) -> httpx.Response:
    return httpx.Response(200, json=body)


def busy(status: int = 503, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=BUSY, headers={name.replace("_", "-"): text for name, text in headers.items()})


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_busy_server_is_asked_again(ask: Callable[..., Any], status: int) -> None:
    script = Script(busy(status), busy(status), ok())
    assert ask(script, lambda client: client.run("r_1")) == RUN
    assert len(script.pauses) == 2


def test_a_server_that_was_reached_is_tried_again_when_it_is_lost(ask: Callable[..., Any]) -> None:
    looked: list[str] = []
    running = {"run_id": "r_1", "state": "running"}
    script = Script(ok(running), httpx.ConnectError("refused"), httpx.ReadError("gone"), ok())
    assert ask(script, lambda client: client.wait("r_1", progress=lambda run: looked.append(run["state"]))) == RUN
    assert looked == ["running", "succeeded"]
    look, *waits = script.pauses
    assert look == 0.1
    assert 0.125 <= waits[0] <= 0.25 <= waits[1] <= 0.5


def test_a_server_that_was_never_reached_is_not_waited_for(ask: Callable[..., Any]) -> None:
    script = Script(httpx.ConnectError("refused"))
    with pytest.raises(ClientError, match="no server answers at http://server") as caught:
        ask(script, lambda client: client.run("r_1"))
    assert (caught.value.code, caught.value.status) == ("unreachable", None)
    assert script.pauses == []


def test_retry_after_is_waited_for(ask: Callable[..., Any]) -> None:
    script = Script(busy(Retry_After="7"), busy(Retry_After="Fri, 01 Jan 2100 00:00:00 GMT"))
    with pytest.raises(ClientError, match="503"):
        ask(script, lambda client: client.run("r_1"))
    assert script.pauses == [7]  # and nobody waits until 2100


def test_a_pause_is_longer_each_time_and_ends(ask: Callable[..., Any]) -> None:
    script = Script(*[busy(Retry_After="soon")] * 4)
    with pytest.raises(ClientError) as caught:
        ask(script, lambda client: client.run("r_1"), retries=3)
    assert (caught.value.code, caught.value.message, caught.value.status) == ("busy", BUSY["detail"], 503)
    assert all(longest / 2 <= pause <= longest for pause, longest in zip(script.pauses, (0.25, 0.5, 1), strict=True))


@pytest.mark.parametrize(
    "create",
    [
        lambda client: client.create_model(network(8)),
        lambda client: client.train("m_1", {"epochs": 2}),
        lambda client: client.import_parameters(b"a file"),
    ],
)
def test_what_creates_has_one_key_for_all_tries(ask: Callable[..., Any], create: Callable[[Any], Any]) -> None:
    script = Script(busy(), httpx.ReadError("gone"), ok({"model_id": "m_1"}), ok({"model_id": "m_2"}))
    ask(script, create)
    ask(script, create)
    first, second, third, another = [request.headers["Idempotency-Key"] for request in script.sent]
    assert first == second == third != another
    assert len({request.content for request in script.sent}) == 1


def test_a_key_of_the_caller_is_sent(ask: Callable[..., Any]) -> None:
    script = Script(ok({"model_id": "m_1"}))
    ask(script, lambda client: client.create_model(network(8), key="mine"))
    assert script.sent[0].headers["Idempotency-Key"] == "mine"


def test_a_deletion_whose_answer_was_lost_has_worked(ask: Callable[..., Any]) -> None:
    lost = Script(busy(), httpx.ReadError("gone"), httpx.Response(404, json={}))
    assert ask(lost, lambda client: client.delete_run("r_1")) is None
    with pytest.raises(ClientError) as caught:
        ask(Script(httpx.Response(404, json={})), lambda client: client.delete_run("r_1"))
    assert caught.value.status == 404


def test_what_is_refused_is_not_tried_again(ask: Callable[..., Any]) -> None:
    faults = [{"pointer": "/hyperparams/lr", "detail": "is not a known member"}, {"pointer": "", "detail": "is odd"}]
    problem = {"type": "urn:falcon-mnist:problem:invalid-fields", "detail": "2 faults found.", "errors": faults}
    script = Script(httpx.Response(422, json=problem))
    with pytest.raises(ClientError) as caught:
        ask(script, lambda client: client.create_model(network(8), {"lr": 1}))
    assert (caught.value.code, caught.value.status, caught.value.details) == ("invalid-fields", 422, faults)
    assert str(caught.value) == "the server answered 422: /hyperparams/lr: is not a known member; is odd"
    assert script.pauses == []


@for_each("text", ["", "<html>", "[]", '"words"', '{"errors": 1}'])
def test_an_answer_that_is_not_of_this_service_is_a_sentence_too(ask: Callable[..., Any], text: str) -> None:
    with pytest.raises(ClientError, match=r"^the server answered 404: Not Found$") as caught:
        ask(Script(httpx.Response(404, text=text)), lambda client: client.run("r_1"))
    assert caught.value.code == "http-404"


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(200, text="<html>"),
        lambda: httpx.Response(200, content=b"\xff"),
        lambda: httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"no gzip"),
    ],
)
@pytest.mark.parametrize("asked", [lambda client: client.run("r_1"), lambda client: client.infer("p_1", IMAGE)])
def test_an_answer_that_cannot_be_read_is_a_sentence(
    ask: Callable[..., Any], asked: Callable[[Any], Any], answer: Callable[[], httpx.Response]
) -> None:
    def unread(request: httpx.Request) -> httpx.Response:
        return answer()

    script = Script()
    script.handler = unread
    with pytest.raises(ClientError, match="http://server"):
        ask(script, asked)
    assert script.pauses == []


def test_readiness_is_an_answer_and_no_error(ask: Callable[..., Any]) -> None:
    script = Script(busy(), ok({"status": "ready"}))
    assert ask(script, lambda client: client.ready()) is False
    assert ask(script, lambda client: client.ready()) is True


def test_a_run_is_looked_at_less_often_the_longer_it_takes(ask: Callable[..., Any]) -> None:
    script = Script(*[ok({"state": "running"}) for _ in range(200)], ok())
    ask(script, lambda client: client.wait("r_1"))
    assert script.pauses == sorted(script.pauses)
    assert (script.pauses[0], script.pauses[-1]) == (0.1, 2)


def test_ids_stay_within_their_part_of_the_path(ask: Callable[..., Any]) -> None:
    script = Script(ok())
    ask(script, lambda client: client.run("../models?x"))
    assert script.sent[0].url.raw_path == b"/api/runs/..%2Fmodels%3Fx"


def test_an_address_may_lie_under_a_path_of_a_proxy() -> None:
    script = Script(ok())
    with Client("http://server/digits/", "a-token", transport=script) as client:
        client.run("r_1")
    assert str(script.sent[0].url) == "http://server/digits/api/runs/r_1"


@for_each("url", ["http://server/", "http://server/api", "http://server/api/"])
def test_an_address_may_be_the_one_of_the_api(url: str) -> None:
    script = Script(ok())
    with Client(url, "a-token", transport=script) as client:
        client.run("r_1")
    assert str(script.sent[0].url) == "http://server/api/runs/r_1"
    assert script.sent[0].headers["Authorization"] == "Bearer a-token"


@for_each("url, token", [("http://server:x", "a-token"), ("http://server", "tökén"), ("http://server", "a\n")])
def test_an_address_or_token_that_is_none_is_a_sentence(url: str, token: str) -> None:
    with pytest.raises(ClientError):
        Client(url, token)


def test_methods_say_what_they_take_and_do() -> None:
    client = Client("http://server", "a-token")
    assert list(inspect.signature(client.train).parameters) == ["model_id", "hyperparams", "start_from", "key"]
    for name in vars(Operations):
        if not name.startswith("_"):
            assert getattr(client, name).__doc__
            assert getattr(Client, name).__doc__


NO_ANSWERS = [b"", b"<html>", b"[]", b"null", b"5", b'"text"', b"[" * 100_000, b"\xff"]


@for_each("content", NO_ANSWERS)
def test_what_is_no_object_is_not_this_api(ask: Callable[..., Any], content: bytes) -> None:
    with pytest.raises(ClientError, match="not this API") as caught:
        ask(Script(httpx.Response(200, content=content)), lambda client: client.status())
    assert caught.value.code == "not-understood"


def test_a_member_that_an_answer_lacks_is_named(ask: Callable[..., Any]) -> None:
    run = ask(Script(httpx.Response(200, json={"metrics": {}})), lambda client: client.run("r_1"))
    for wanted in (run, run["metrics"]):
        with pytest.raises(ClientError, match="no member 'epoch'"):
            wanted["epoch"]
    with pytest.raises(KeyError):  # as of any dictionary
        run["param_id"]
    assert "param_id" not in run
    assert run.get("param_id") is None


STRANGE_REFUSALS = [
    b"[" * 100_000,
    b'{"errors": [{"pointer": 5, "detail": null}]}',
    b'{"detail": {}, "errors": [{"pointer": [], "detail": {}}]}',
    b'{"errors": 5}',
    b'{"errors": [5]}',
]


@for_each("content", STRANGE_REFUSALS)
def test_a_refusal_in_no_known_form_is_an_error_all_the_same(ask: Callable[..., Any], content: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        ask(Script(httpx.Response(422, content=content)), lambda client: client.run("r_1"))
    assert str(caught.value).startswith("the server answered 422: ")
