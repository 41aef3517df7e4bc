"""The Python client of the API."""

from falcon_mnist.client.client import Client, ClientError

__all__ = ["Client", "ClientError"]
