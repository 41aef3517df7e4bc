"""Where a running server is, for the commands that ask one: options, or FALCON_MNIST_URL and FALCON_MNIST_TOKEN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from falcon_mnist.cli import console
from falcon_mnist.settings import Settings, SettingsError

if TYPE_CHECKING:
    from falcon_mnist.client import Client

Url = Annotated[str, typer.Option(envvar="FALCON_MNIST_URL", help="Address of the server.")]
TokenFile = Annotated[
    Path | None, typer.Option(help="File whose first word is the token; else FALCON_MNIST_TOKEN, or the home's token.")
]
Token = Annotated[str | None, typer.Option("--token", envvar="FALCON_MNIST_TOKEN", hidden=True)]
AT_HOME = "http://127.0.0.1:8000"


def client(url: str, token_file: Path | None, token: str | None) -> Client:
    """A client of that server. Raises `SettingsError` if no token can be found."""
    from falcon_mnist.client import Client

    if token_file is None and token:
        return Client(url, token)
    place = token_file or Settings.from_env().made_token
    try:
        words = place.read_text("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII text"
        raise SettingsError(
            f"there is no token in {place} ({reason}): name its file with --token-file, or set FALCON_MNIST_TOKEN"
        ) from None
    if not words:
        raise SettingsError(f"there is no token in {place}: it is empty")
    return Client(url, words[0])


def show(document: object, *, as_json: bool, lines: list[str]) -> None:
    """Print a document for scripts, or sentences for people."""
    import orjson

    for line in [orjson.dumps(document).decode()] if as_json else lines:
        console.say(line)
