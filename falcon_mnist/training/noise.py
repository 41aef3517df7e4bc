"""From hyperparameters to what is random in the rows of training."""

from __future__ import annotations

from falcon_mnist import kernels
from falcon_mnist.training.hyperparams import Hyperparams


def build(hyperparams: Hyperparams) -> kernels.Noise | None:
    """Dropout and distortions, or None without any; the epoch is given to each call."""
    dropout, augmentation = hyperparams.dropout, hyperparams.augmentation
    if augmentation is None and not dropout.input and not dropout.hidden:
        return None
    return kernels.Noise(
        seed=hyperparams.seed,
        input_dropout=dropout.input,
        hidden_dropout=dropout.hidden,
        augmentation=None if augmentation is None else augmentation.model_dump(),
    )
