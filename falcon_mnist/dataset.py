"""The digits to train and test on: MNIST, a folder of IDX files, or digits drawn here.

Whatever has to be made once (downloaded, unpacked, drawn) is kept under `home/data/` as plain IDX files, so
that every process maps the same pages:

    home/data/mnist/            the four files, and record.json with the SHA-256 of each
    home/data/synthetic-1/      the same, by version of the drawing
    home/data/folder-<sha>/     the unpacked files of a folder, by what was packed
    home/data/download/         parts of downloads that were cut off
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from falcon_mnist import digits, download, idx, kept
from falcon_mnist.idx import IMAGES, LABELS, Bytes, DataError, Kind
from falcon_mnist.kept import Progress

__all__ = ["DataError", "Dataset", "Progress", "describe", "fetch", "load"]

log = logging.getLogger(__name__)

FILES: dict[str, Kind] = {
    "train-images-idx3-ubyte": IMAGES,
    "train-labels-idx1-ubyte": LABELS,
    "t10k-images-idx3-ubyte": IMAGES,
    "t10k-labels-idx1-ubyte": LABELS,
}
