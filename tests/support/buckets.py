"""Object stores of the tests' own on loopback: a server process of each kind, and a proxy that fails when told to.

As a program, `python buckets.py KIND` is such a server: it prints its port, and ends with its standard input.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

BUCKET = "bucket"
KINDS = ("s3", "gs")


@dataclass
class Bucket:
    """An empty prefix in a bucket, and how it is reached: by the server itself, or by what stands before it."""

    kind: str
    port: int
    prefix: str

    @property
    def place(self) -> str:
        return f"{BUCKET}/{self.prefix}"

    @property
    def url(self) -> str:
        return f"{self.kind}://{self.place}"

    def connect(self, port: int | None = None) -> Callable[[], AsyncFileSystem]:
        """What opens it, by another port if one is given."""
        from falcon_mnist.storage.object_store import connect_gcs, connect_s3

        endpoint = f"http://127.0.0.1:{port or self.port}"
        if self.kind == "gs":
            return partial(connect_gcs, endpoint_url=endpoint, token="anon", project="tests")
        options = {"key": "tests", "secret": "tests", "client_kwargs": REGION, "session": _session()}
        return partial(connect_s3, endpoint_url=endpoint, **options)

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What a server is told so that its S3 is this one."""
        assert self.kind == "s3"
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": REGION["region_name"],
        }


REGION = {"region_name": "us-east-1"}


@cache
def _session() -> Any:
    """For all clients of S3 here: each of its own would read the description of all of its requests anew."""
    from aiobotocore.session import AioSession

    return AioSession()


@contextmanager
def buckets(kind: str) -> Iterator[Callable[[], Bucket]]:
    """Makes empty places in the bucket of a server process."""
    command = [sys.executable, __file__, kind]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line, f"the server of {kind} does not start"
            port, numbers = int(line), itertools.count()
            yield lambda: Bucket(kind, port, f"p{next(numbers)}")
        finally:
            process.kill()


def _serve_s3() -> int:
    from urllib.request import Request, urlopen

    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    urlopen(Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")).close()
    return int(port)


def _serve_gs() -> int:
    from gcp_storage_emulator.server import create_server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET).start()
    return port


def main() -> None:
    kind = sys.argv[1]
    told = os.dup(1)  # what the servers print is not for who reads the port
    os.dup2(2, 1)
    port = {"s3": _serve_s3, "gs": _serve_gs}[kind]()
    os.write(told, f"{port}\n".encode())
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
