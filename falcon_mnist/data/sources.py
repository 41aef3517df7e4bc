"""Where MNIST can be downloaded, and what it is. What opens data sets imports this; what downloads, `download`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# Called with what is being done, how much of it is done, and how much there is in all.
Progress = Callable[[str, int, int], None]

_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


@dataclass(frozen=True)
class Source:
    """Where the four files are, what they are, and how long each step and each file may get."""

    mirrors: Sequence[str] = (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    )
    sha256: Mapping[str, str] = field(default_factory=lambda: dict(_SHA256))
    # Until the first file is here, or training starts without MNIST: someone is looking at a blank screen.
    first_seconds: float = 4
    # Between two pieces of a download that flows.
    read_seconds: float = 15
    total_seconds: float = 600
    # The largest of the four takes 10 MB, packed: a mirror that sends more sends something else.
    max_packed_bytes: int = 1 << 26


MNIST = Source()
