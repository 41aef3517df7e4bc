"""Facts that several packages share: sizes, the states of a run, the type of arrays. Imports nothing of ours."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

PIXELS = 784
CLASSES = 10
MAX_ROWS = 512  # of one inference request
MAX_LINEAR_LAYERS = 5
# The specification bounds linear layers alone. Activations cost memory too, so all together are bounded, and
# what they put out for one image by the limit on parameters.
MAX_LAYERS = 32

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = STATES
ACTIVE = (QUEUED, RUNNING)

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
