"""Fuzz what reads files: data sets (IDX, plain and gzipped), parameter sets and checkpoints (safetensors).

    pip install atheris
    python -m tests.long fuzz_files -max_total_time=60 [CORPUS]

It begins from the seeds below; a corpus, a folder that it fills, is kept outside of the repository, if at all.

A file must be taken or refused with its own error. Parameter sets and checkpoints are read as if their
SHA-256 were the recorded one, which only a deliberate change of both could make so.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["falcon_mnist", "safetensors"]):
    from falcon_mnist.data import idx
    from falcon_mnist.runs import checkpoints
    from falcon_mnist.storage import files, parameter_files

import numpy as np
import safetensors.numpy

from falcon_mnist.storage.files import DamagedFileError, Written
from falcon_mnist.training import network
from falcon_mnist.training.state import State

ARCHITECTURE = {"input_size": 784, "layers": [{"type": "linear", "in": 784, "out": 10}]}
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-files-"))
for _place in ("parameters", "checkpoints"):
    (FOLDER / _place).mkdir()
PARAMETERS = parameter_files.ParameterFiles(files.LocalFolder(FOLDER / "parameters"))
CHECKPOINTS = checkpoints.Checkpoints(files.LocalFolder(FOLDER / "checkpoints"))
ARRAY = np.zeros(7850, dtype=np.float32)
IMAGES = idx.header(idx.IMAGES, 1) + bytes(784)
LABELS = idx.header(idx.LABELS, 2) + b"\1\2"
SEEDS = (
    b"\0" + IMAGES,
    b"\1" + LABELS,
    b"\2" + gzip.compress(IMAGES),
    b"\3" + gzip.compress(LABELS),
    b"\4" + safetensors.numpy.save({"linear.0.W": ARRAY[:7840].reshape(784, 10), "linear.0.b": ARRAY[:10]})[:500],
    b"\4" + safetensors.numpy.save({"linear.0.W": ARRAY[:6].reshape(3, 2), "linear.0.b": ARRAY[:10]}),
    b"\5" + safetensors.numpy.save({"parameters": ARRAY[:20], "velocity": ARRAY[:20]}),
)


def one_input(data: bytes) -> None:
    kind, data = data[:1], data[1:]
    if kind in (b"\0", b"\1"):
        path = FOLDER / "plain"
        path.write_bytes(data)
        try:
            idx.open_file(path, idx.LABELS if kind == b"\1" else idx.IMAGES)
        except idx.DataError as error:
            if str(FOLDER) in str(error):
                raise
    elif kind in (b"\2", b"\3"):
        wanted = idx.LABELS if kind == b"\3" else idx.IMAGES
        read = 0
        try:
            for piece in idx.unpacked(io.BytesIO(data), wanted, "packed"):
                read += len(piece)
        except idx.DataError:
            pass
        assert read <= idx.MAX_UNPACKED + wanted.header_length
    elif kind == b"\4":
        (FOLDER / "parameters" / "p.safetensors").write_bytes(data)
        with contextlib.suppress(DamagedFileError):
            PARAMETERS.read("p", Written(len(data), hashlib.sha256(data).hexdigest()), ARCHITECTURE)
    elif kind == b"\5":
        (FOLDER / "checkpoints" / "c").write_bytes(data)
        recorded: checkpoints.Checkpoint = {
            "file": "c", "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
            "epoch": 1, "done": 0, "loss": 0.0, "correct": 0,
        }  # fmt: skip
        with contextlib.suppress(DamagedFileError):
            assert isinstance(CHECKPOINTS.read(recorded), State)


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """Begin from a seed now and then."""
    if len(data) < 2 or seed % 1000 == 0:
        data = SEEDS[seed // 1000 % len(SEEDS)]
    return data[:1] + bytes(atheris.Mutate(data[1:], max_size - 1))


if __name__ == "__main__":
    network.build(ARCHITECTURE)
    atheris.Setup(sys.argv, one_input, custom_mutator=mutated)
    atheris.Fuzz()
