"""Where a running server is, for the commands that ask one: options, or FALCON_MNIST_URL and FALCON_MNIST_TOKEN."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from falcon_mnist.cli import console
from falcon_mnist.cli.options import flag
from falcon_mnist.settings import Settings, SettingsError

if TYPE_CHECKING:
    from falcon_mnist.client import Client

AT_HOME = "http://127.0.0.1:8000"
COMPLETION_SECONDS = 2.0

AsJson = Annotated[bool, flag("--json", help="Print JSON, for scripts.")]


def _options(
    *,
    url: Annotated[str, typer.Option(envvar="FALCON_MNIST_URL", help="Address of the server.")] = AT_HOME,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File whose first word is the token; else FALCON_MNIST_TOKEN, or the home's token."),
    ] = None,
    token: Annotated[str | None, typer.Option("--token", envvar="FALCON_MNIST_TOKEN", hidden=True)] = None,
) -> None:
    """The options that name a server."""


def with_client(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose argument `client` is made of the options that name a server."""

    @wraps(command)
    def call(*, url: str, token_file: Path | None, token: str | None, **options: Any) -> None:
        with client(url, token_file, token) as asked:
            command(**options, client=asked)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "client"]
    named = inspect.signature(_options, eval_str=True).parameters.values()
    call.__signature__ = signature.replace(parameters=[*own, *named])  # type: ignore[attr-defined]
    return call


def client(url: str, token_file: Path | None, token: str | None, **options: Any) -> Client:
    """A client of that server. Raises `SettingsError` if no token can be found."""
    from falcon_mnist.api.auth import token_to_enter_with
    from falcon_mnist.client import Client

    if token_file is not None or not token:
        token = _first_word(token_file) if token_file else token_to_enter_with(Settings.from_env())
    return Client(url, token, **options)


def _first_word(file: Path) -> str:
    """The token in a file, which may be a server's file of tokens. Raises `SettingsError`."""
    try:
        words = file.read_text("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII text"
        raise SettingsError(f"there is no token in {file}: {reason}") from None
    if not words:
        raise SettingsError(f"there is no token in {file}: it is empty")
    return words[0]


def run_ids(ctx: typer.Context) -> list[str]:
    """The newest runs of the server, for shells that complete."""
    return _ids(ctx, lambda client: [run["run_id"] for run in client.runs()["items"]])


def param_ids(ctx: typer.Context) -> list[str]:
    """The newest parameter sets of the server, for shells that complete."""
    return _ids(ctx, lambda client: [each["param_id"] for each in client.parameter_sets()["items"]])


def _ids(ctx: typer.Context, ask: Callable[[Client], list[str]]) -> list[str]:
    named = (ctx.params.get(name) for name in ("url", "token_file", "token"))
    try:
        with client(*named, timeout=COMPLETION_SECONDS, retries=0) as asked:  # type: ignore[arg-type]
            return ask(asked)
    except Exception:  # a shell that completes has no place for what went wrong
        return []


ParamId = Annotated[str, typer.Argument(autocompletion=param_ids, help="A parameter set of the server.")]
RunId = Annotated[str, typer.Argument(autocompletion=run_ids, metavar="RUN", help="A run of the server.")]


def show(document: object, *, as_json: bool, lines: Sequence[str]) -> None:
    """Print a document for scripts, or sentences for people."""
    import orjson

    for line in [orjson.dumps(document).decode()] if as_json else lines:
        console.say(line)
