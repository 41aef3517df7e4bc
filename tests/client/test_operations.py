"""Every operation of the API through the client, against a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from asking import READ, WRITE, Document, until
from asynchronous import run_async
from checking_client import Client
from server_process import Server
from small_networks import pixels

from falcon_mnist.api.operations import OPERATIONS
from falcon_mnist.client import AsyncClient, ClientError, network
from falcon_mnist.client import Client as ApiClient

# What browsers ask for.
OF_BROWSERS = ("/page", "/docs")


def test_the_client_has_every_operation(client: Client) -> None:
    with Client(str(client.url)) as asked:  # its description has seen nothing yet
        api = asked.api
        model = api.create_model(network(16), {"epochs": 2})
        assert api.model(model["model_id"]) == model == api.models(limit=1)["items"][0]
        seen: list[int] = []
        run_id = api.train(model["model_id"], {"seed": 7})["run_id"]
        run = api.wait(run_id, progress=lambda run: seen.append(run["epoch"]))
        assert (run["state"], run["epoch"], run["hyperparams"]["seed"]) == ("succeeded", 2, 7)
        assert seen == sorted(seen)
        assert seen[-1] == 2
        assert api.run(run_id) == run
        (listed,) = api.model_runs(model["model_id"])["items"]
        assert [listed] == api.runs(model_id=model["model_id"], state="succeeded")["items"]
        assert [listed] == api.all_runs(model_id=model["model_id"])

        param_id = run["param_id"]
        shown = api.parameters(param_id)["parameters"]
        (parameter_set,) = api.parameter_sets(model_id=model["model_id"])["items"]
        assert parameter_set["param_id"] == param_id
        assert sum(map(sum, api.evaluation(param_id)["confusion"])) == 100
        digits = api.digits("test", range(20))
        assert digits.images.shape == (20, 784)
        found = api.infer(param_id, digits.images, logits=True)
        again = api.infer_adhoc(model["architecture"], shown, digits.images, logits=True)
        for name in ("labels", "probabilities", "logits"):
            assert np.array_equal(getattr(found, name), getattr(again, name))
        assert np.array_equal(api.arrays(param_id)["linear.0.W"], np.array(shown["layers"][0]["W"], np.float32))
        tensors = api.v2_infer(param_id, digits.images, ("labels", "logits", "probabilities"))
        assert all(np.array_equal(tensors[name], getattr(found, name)) for name in tensors)
        assert len(tensors) == len(api.v2_model(param_id)["outputs"]) == 3
        assert api.v2_model_ready(param_id)
        assert not api.v2_model_ready("p_0")
        assert api.v2_server()["name"] == "falcon-mnist"
        assert api.v2_live()
        assert api.v2_ready()
        brought = api.import_parameters(api.export(param_id))
        told = api.import_parameters({"architecture": model["architecture"], "parameters": shown})
        assert api.parameters(brought["param_id"])["parameters"] == api.parameters(told["param_id"])["parameters"]

        assert api.status()["token"] == "write"
        assert api.version()["isa"]
        assert [recipe["name"] for recipe in api.recipes()]
        assert api.openapi() == asked.description.document
        assert "falcon_mnist" in api.metrics()
        assert api.live()
        assert api.ready()
        with asked.endless_run() as endless:
            until(lambda: has_snapshot(api, endless["run_id"]), "there is a checkpoint")
            assert api.cancel(endless["run_id"])["state"] == "cancelled"
        with pytest.raises(ClientError, match="409"):
            api.finish(endless["run_id"])
        api.delete_parameters(param_id)
        api.delete_run(run_id)
        api.delete_model(model["model_id"])
        with pytest.raises(ClientError) as caught:
            api.run(run_id)
        assert (caught.value.code, caught.value.status) == ("unknown-run", 404)
        seen_operations = {(path, method) for path, method, _ in asked.description.seen}
    ours = {(op.path, op.method) for op in OPERATIONS if not op.path.startswith(OF_BROWSERS) and op.path != "/"}
    assert ours - seen_operations == set()


def has_snapshot(api: ApiClient, run_id: str) -> bool:
    with suppress(ClientError):
        return api.snapshot(run_id)["epoch"] >= 0
    return False


def test_a_run_is_stopped_and_kept(client: Client) -> None:
    with client.endless_run() as run:
        assert client.api.finish(run["run_id"])["state"] in ("running", "succeeded")
        assert client.api.wait(run["run_id"])["state"] == "succeeded"


def test_every_page_is_walked(client: Client) -> None:
    made = [client.model() for _ in range(3)]
    newest = [model["model_id"] for model in client.api.all_models()]
    assert newest[:3] == made[::-1]
    assert len(newest) == len(set(newest)) >= 3
    assert client.api.all_parameter_sets(model_id=made[0]) == []


def test_images_of_every_form_are_read_alike(client: Client, trained: Document) -> None:
    images = pixels(5)
    wanted = client.api.infer(trained["param_id"], images)
    assert wanted.logits is None
    scaled = images / np.float32(255)
    fortran = np.asfortranarray(scaled.astype(np.float64))
    for form in (scaled, fortran, images.reshape(5, 28, 28), scaled.astype(">f4")):
        found = client.api.infer(trained["param_id"], form)
        assert np.array_equal(found.probabilities, wanted.probabilities)
        assert found.probabilities.dtype == np.float32
    assert client.api.infer(trained["param_id"], images[0]).labels == wanted.labels[:1]
    assert client.api.infer(trained["param_id"], images[0].reshape(28, 28)).labels.shape == (1,)


@pytest.mark.parametrize(
    "images", [np.zeros((0, 784)), np.zeros(783), np.zeros((2, 2, 784)), np.zeros((1, 784), np.int64), np.array("7")]
)
def test_what_are_no_images_is_not_sent(client: Client, trained: Document, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="images must be"):
        client.api.infer(trained["param_id"], images)


def test_more_images_than_one_request_may_have_are_sent_in_several(client: Client, trained: Document) -> None:
    images = pixels(1100)
    found = client.api.infer(trained["param_id"], images)
    assert found.probabilities.shape == (1100, 10)
    tensors = client.api.v2_infer(trained["param_id"], images / np.float32(255))
    for start in (0, 500, 1000):
        part = client.api.infer(trained["param_id"], images[start : start + 100])
        assert np.array_equal(tensors["probabilities"][start : start + 100], part.probabilities)
        assert np.array_equal(part.probabilities, found.probabilities[start : start + 100])


def test_the_async_client_does_the_same(client: Client, trained: Document) -> None:
    images = pixels(600)

    async def ask() -> None:
        async with AsyncClient(str(client.url), READ) as api:
            run, found, status = await asyncio.gather(
                api.wait(trained["run_id"]), api.infer(trained["param_id"], images), api.status()
            )
            assert run == client.api.run(trained["run_id"])
            assert np.array_equal(found.labels, client.api.infer(trained["param_id"], images).labels)
            assert status["token"] == "read"
            with pytest.raises(ClientError) as caught:
                await api.create_model(network(8))
            assert (caught.value.code, caught.value.status) == ("read-only-token", 403)

    run_async(ask())


def test_a_wait_goes_on_when_the_server_starts_again(serve: Callable[..., Server]) -> None:
    first = serve()
    url = first.url()
    with Client(url) as asked:
        run_id = asked.train(asked.model(epochs=50))
    restarted = False

    def restart(run: Document) -> None:
        nonlocal restarted
        if not restarted:
            restarted = True
            first.stop()
            serve(port=int(url.rpartition(":")[2])).url()

    with ApiClient(url, WRITE) as api:
        assert api.wait(run_id, progress=restart)["state"] == "succeeded"
