"""What an epoch of training is made of, in groups with names: the rows, and the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ._interface import Noise, Optimizer


class Batches(NamedTuple):
    """The rows that `order` picks (None: all), `batch_size` at a time, the last batch with those that are left."""

    images: npt.NDArray[np.uint8] | npt.NDArray[np.float32]  # (n, inputs); bytes are read as float32(byte / 255)
    labels: npt.NDArray[np.uint8]  # (n,)
    order: npt.NDArray[np.int64] | None
    batch_size: int


class Steps(NamedTuple):
    """A step of the optimizer for each batch.

    `smoothing`, in [0, 1), spreads that share of each label evenly over all classes. With `noise` each row is drawn
    anew for this `epoch`; images are then uint8, unless only units are dropped.
    """

    optimizer: Optimizer
    learning_rates: npt.NDArray[np.float32]  # (batches,)
    first_step: int = 0  # steps before these
    smoothing: float = 0.0
    noise: Noise | None = None
    epoch: int = 0
