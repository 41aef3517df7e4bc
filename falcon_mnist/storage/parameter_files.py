"""Parameter sets as safetensors: how they are coded, and under which names they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import safetensors.numpy

from falcon_mnist.constants import Array
from falcon_mnist.storage.files import DamagedFileError, Storage, Written, discard
from falcon_mnist.training import network

MEDIA_TYPE = "application/vnd.safetensors"


def encode(tensors: dict[str, Array], metadata: dict[str, str] | None = None) -> bytes:
    """Arrays as a safetensors file. Of more metadata than one member, the order would not be sure."""
    return safetensors.numpy.save(tensors, metadata)


def decode(data: bytes, name: str) -> dict[str, Array]:
    """The arrays in a safetensors file. Raises `DamagedFileError`."""
    try:
        return dict(safetensors.numpy.load(data))
    except Exception as error:  # of many kinds, none of which means anything else
        raise DamagedFileError(name, "is not a safetensors file of arrays") from error


_SUFFIX = ".safetensors"


def file_name(param_id: str) -> str:
    """The name that a parameter set is stored under."""
    return param_id + _SUFFIX


def param_id_of(name: str) -> str | None:
    """The parameter set that is stored under a name; None if it is another file."""
    return name.removesuffix(_SUFFIX) if name.startswith("p_") else None


class ParameterFiles:
    """The files of all parameter sets in a storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def write(self, param_id: str, architecture: Mapping[str, Any], parameters: Array) -> Written:
        """Write a parameter set, durably, with its architecture in it. Raises `OSError`, leaving nothing."""
        tensors = network.tensors(network.build(architecture), parameters)
        data = encode(tensors, {"architecture": orjson.dumps(architecture).decode()})
        return self._storage.put(file_name(param_id), data)

    def discard(self, param_id: str) -> bool:
        """As `files.discard`."""
        return discard(self._storage, file_name(param_id))

    def read_bytes(self, param_id: str, expected: Written) -> bytes:
        """The file as it was written. Raises `DamagedFileError`."""
        return self._storage.get(file_name(param_id), expected)

    def read(self, param_id: str, expected: Written, architecture: Mapping[str, Any]) -> Array:
        """The flat parameter vector of a set. Raises `DamagedFileError`."""
        found = decode(self.read_bytes(param_id, expected), file_name(param_id))
        net = network.build(architecture)
        try:
            pairs = [(found[f"linear.{i}.W"], found[f"linear.{i}.b"]) for i in range(len(net.slices))]
            return network.flatten(net, pairs)
        except (KeyError, ValueError) as error:
            raise DamagedFileError(file_name(param_id), "is not a parameter set of its model") from error
