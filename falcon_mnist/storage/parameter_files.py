"""Parameter sets as safetensors: how they are coded, and under which names they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import safetensors.numpy

from falcon_mnist import kernels
from falcon_mnist.constants import Array
from falcon_mnist.storage.files import DamagedFileError, Storage, Written
from falcon_mnist.training import network

MEDIA_TYPE = "application/vnd.safetensors"


def encode(tensors: dict[str, Array]) -> bytes:
    """Arrays as a safetensors file."""
    return safetensors.numpy.save(tensors)


def decode(data: bytes, name: str) -> dict[str, Array]:
    """The arrays in a safetensors file. Raises `DamagedFileError`."""
    try:
        return dict(safetensors.numpy.load(data))
    except Exception as error:  # of many kinds, none of which means anything else
        raise DamagedFileError(f"{name}: is not a safetensors file of arrays") from error


def tensors(net: kernels.Network, parameters: Array) -> dict[str, Array]:
    """The arrays of a parameter set by their names in its file, as views into the flat vector."""
    found = {}
    for index, (weight, bias) in enumerate(network.views(net, parameters)):
        found[f"linear.{index}.W"] = weight
        found[f"linear.{index}.b"] = bias
    return found


def file_name(param_id: str) -> str:
    """The name that a parameter set is stored under."""
    return f"{param_id}.safetensors"


class ParameterFiles:
    """The files of all parameter sets in a storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def write(self, param_id: str, net: kernels.Network, parameters: Array) -> Written:
        """Write a parameter set, durably. Raises `OSError`, leaving nothing."""
        return self._storage.put(file_name(param_id), encode(tensors(net, parameters)))

    def remove(self, param_id: str) -> None:
        """Delete a file that no row records."""
        self._storage.delete(file_name(param_id))

    def read_bytes(self, param_id: str, expected: Written) -> bytes:
        """The file as it was written. Raises `DamagedFileError`."""
        return self._storage.get(file_name(param_id), expected)

    def read(self, param_id: str, expected: Written, architecture: Mapping[str, Any]) -> Array:
        """The flat parameter vector of a set. Raises `DamagedFileError`."""
        found = decode(self.read_bytes(param_id, expected), param_id)
        net = network.build(architecture)
        try:
            pairs = [(found[f"linear.{i}.W"], found[f"linear.{i}.b"]) for i in range(len(net.slices))]
            return network.flatten(net, pairs)
        except (KeyError, ValueError) as error:
            raise DamagedFileError(f"{param_id}: is not a parameter set of its model") from error
