"""Which rows a run trains on, and which it validates on."""

from __future__ import annotations

import pytest

from falcon_mnist.training.hyperparams import Hyperparams
from falcon_mnist.training.rows import split


@pytest.mark.parametrize(
    ("count", "share", "training"),
    [(100, 0.9, 90), (100, 1.0, 100), (100, 0.999, 99), (100, 1e-300, 1), (2, 1 - 2**-53, 1), (1, 0.5, 1)],
)
def test_a_share_below_one_leaves_a_row_to_validate_on(count: int, share: float, training: int) -> None:
    """Else `keep: best` and `early_stopping`, which need one, would do nothing in silence."""
    for_training, for_validation = split(count, Hyperparams(train_split=share))
    assert len(for_training) == training
    assert sorted([*for_training, *for_validation]) == list(range(count))
