"""The Python client of the API: for programs, and for our own commands, demo and tests.

    from falcon_mnist.client import Client, network

    with Client("http://127.0.0.1:8000", token) as client:
        model = client.create_model(network(128), {"epochs": 5})
        run = client.wait(client.train(model["model_id"])["run_id"], progress=print)
        print(client.infer(run["param_id"], images).labels)

May import `constants` alone of ours: it knows the API from outside, as any client does.
"""

from falcon_mnist.client.client import AsyncClient, Client
from falcon_mnist.client.errors import ClientError
from falcon_mnist.client.networks import network

__all__ = ["AsyncClient", "Client", "ClientError", "network"]
