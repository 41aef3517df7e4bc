"""Parameter sets in files: the same numbers come back, and nothing that is not a set of that model."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from falcon_mnist.storage.files import DamagedFileError, LocalFolder, Written
from falcon_mnist.storage.parameter_files import ParameterFiles, encode, file_name
from falcon_mnist.training import network


def architecture(*widths: int) -> dict[str, object]:
    pairs = itertools.pairwise((784, *widths, 10))
    return {"input_size": 784, "layers": [{"type": "linear", "in": before, "out": after} for before, after in pairs]}


@pytest.fixture
def storage(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "parameters")


def test_parameters_come_back_to_the_last_bit(storage: LocalFolder) -> None:
    files, net = ParameterFiles(storage), network.build(architecture(7))
    parameters = np.random.default_rng(1).standard_normal(net.parameter_count).astype(np.float32)
    written = files.write("p_1", architecture(7), parameters)
    assert files.read("p_1", written, architecture(7)).tobytes() == parameters.tobytes()
    assert len(files.read_bytes("p_1", written)) == written.size_bytes
    assert files.discard("p_1")
    assert storage.list() == []


@pytest.mark.parametrize("other", [architecture(), architecture(8), architecture(7, 7)], ids=["fewer", "wider", "more"])
def test_a_set_of_another_architecture_is_damaged(storage: LocalFolder, other: dict[str, object]) -> None:
    files, net = ParameterFiles(storage), network.build(architecture(7))
    written = files.write("p_1", architecture(7), np.zeros(net.parameter_count, dtype=np.float32))
    with pytest.raises(DamagedFileError, match="p_1"):
        files.read("p_1", written, other)


@pytest.mark.parametrize(
    "data",
    [b"", b"no safetensors", encode({}), encode({"linear.0.W": np.zeros(3, dtype=np.float32)})],
    ids=["empty", "text", "nothing in it", "other arrays"],
)
def test_what_is_no_parameter_set_is_damaged_although_it_is_what_was_written(storage: LocalFolder, data: bytes) -> None:
    written: Written = storage.put(file_name("p_1"), data)
    with pytest.raises(DamagedFileError, match="p_1"):
        ParameterFiles(storage).read("p_1", written, architecture())
