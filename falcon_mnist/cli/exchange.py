"""`falcon-mnist export` and `import`: parameter sets of a running server, as files."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from falcon_mnist.client import Client, ClientError
from falcon_mnist.client.answers import Imported
from falcon_mnist.client.operations import Format


class ExportError(Exception):
    """A file that is not to be written; the message is one sentence."""


class ImportedFileError(Exception):
    """A file that cannot be read; the message is one sentence."""


def export(client: Client, param_id: str, name: Format, output: Path | None, *, force: bool) -> Path:
    """Write a parameter set in a format to a file, whole or not at all; returns the file's path.

    A symbolic link stays: the file that it names is written. Raises `ExportError`, `ClientError`.
    """
    path = output or Path(f"{param_id}.{name}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ExportError(f"{path} is there already and is no regular file: name another with --output")
    if os.path.exists(path) and not force:
        raise ExportError(f"{path} is there already: --force replaces it")
    data = client.export(param_id, name)
    try:
        _write(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise ExportError(f"{path} cannot be written ({error.strerror}): name another with --output") from None
    return path


def _write(path: Path, data: bytes) -> None:
    """Write the whole file or nothing. Raises `OSError`."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def bring(client: Client, file: Path, activation: str | None) -> Imported:
    """Send a file of parameters: JSON by its name, else safetensors.

    Raises `ImportedFileError`, `ClientError`, `OSError`.
    """
    try:
        data = json.loads(file.read_bytes()) if file.suffix == ".json" else file.read_bytes()
        return client.import_parameters(data, activation=activation)
    except (ValueError, RecursionError) as error:
        raise ImportedFileError(f"{file} is not JSON: {error}") from None
    except ClientError as error:
        for fault in error.details:
            if fault["pointer"] == "/activation":
                raise ImportedFileError(f"--activation: {fault['detail']}") from None
        raise
