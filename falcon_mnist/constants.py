"""Facts that several packages share: sizes, the states of a run, the type of arrays. Imports nothing of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:  # commands that need no arrays start without NumPy
    import numpy as np
    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[np.float32]"

SIDE = 28  # of an image, in pixels
PIXELS = SIDE * SIDE
CLASSES = 10
MAX_ROWS = 512  # of one inference request
PAGE_SIZE, MAX_PAGE_SIZE = 20, 100  # items of a list, unless a request says, and at most
MAX_DIGITS = 100  # of the data set, in one answer
MAX_LINEAR_LAYERS = 5
# The specification bounds linear layers alone. Activations cost memory too, so all together are bounded, and
# what they put out for one image by the limit on parameters.
MAX_LAYERS = 32

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = STATES
ACTIVE = (QUEUED, RUNNING)

# Why a run failed.
FailureCode = Literal[
    "diverged", "no_dataset", "start_unavailable", "out_of_memory", "disk_full", "worker_lost", "internal_error"
]

METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
