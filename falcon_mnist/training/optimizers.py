"""From hyperparameters to an update rule of the kernels."""

from __future__ import annotations

from falcon_mnist import kernels
from falcon_mnist.training.hyperparams import Hyperparams

# The largest float32 below 1, which a momentum even nearer to 1 would be rounded to.
BELOW_ONE = 1 - 2**-24


def build(hyperparams: Hyperparams) -> kernels.Optimizer:
    """The update rule with its parameters; the learning rate is given for each step."""
    params = hyperparams.optimizer.model_dump(exclude={"type", "lr"})
    if "momentum" in params:
        params["momentum"] = min(params["momentum"], BELOW_ONE)
    return kernels.Optimizer(hyperparams.optimizer.type, **params, averaging=hyperparams.averaging)
