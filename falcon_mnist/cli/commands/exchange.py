"""`export` and `import`, against a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from falcon_mnist.cli import console, remote
from falcon_mnist.cli.options import flag


@remote.with_client
def export(
    param_id: remote.ParamId,
    *,
    name: Annotated[
        Literal["safetensors", "onnx", "npz", "json"], typer.Option("--format", help="Format of the file.")
    ] = "safetensors",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write (PARAM_ID.FORMAT).")] = None,
    force: Annotated[bool, flag("--force", help="Replace a file that is there.")] = False,
    client: Any,
) -> None:
    """Write a parameter set of a running server to a file."""
    from falcon_mnist.cli.exchange import export as write

    console.say(f"{write(client, param_id, name, output, force=force)}")


@remote.with_client
def bring(
    file: Annotated[
        Path,
        typer.Argument(help="A safetensors file of `export` or PyTorch, or .json of `architecture` and `parameters`."),
    ],
    *,
    activation: Annotated[
        str | None, typer.Option(help="For PyTorch's files: relu, sigmoid or tanh between the layers.")
    ] = None,
    as_json: remote.AsJson = False,
    client: Any,
) -> None:
    """Bring parameters that were trained elsewhere to a running server."""
    from falcon_mnist.cli.exchange import bring as send

    brought = send(client, file, activation)
    remote.show(brought, as_json=as_json, lines=[f"Parameters {brought['param_id']} of model {brought['model_id']}"])
