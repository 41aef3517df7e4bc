"""The Python client of the API, for commands, the demo and tests.

May import `constants` alone of ours: it knows the API from outside, as any client does.
"""

from falcon_mnist.client.client import Client, ClientError

__all__ = ["Client", "ClientError"]
