"""Optimizers by name, their parameter groups, and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from sklearn_mlcl.training._torch_compat import FusedAdamW

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": FusedAdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
#: Options under which torch offers no fused kernel of these.
_NOT_FUSED = {"foreach", "differentiable"}
#: "one_cycle": share of the steps with a rising rate, and the first rate.
WARM_UP, FIRST_RATE = 0.3, 0.04
#: "warm_restarts": first cycle in epochs, each later one twice as long, and its lowest rate.
FIRST_CYCLE, LOWEST_RATE = 50, 0.1


def _falling(share: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * share))


def _constant(progress: float, epoch: int) -> float:
    return 1.0


def _cosine(progress: float, epoch: int) -> float:
    return _falling(progress)


def _one_cycle(progress: float, epoch: int) -> float:
    """Rise from FIRST_RATE to 1, then fall to 0."""
    if progress < WARM_UP:
        rising = 0.5 * (1.0 - math.cos(math.pi * progress / WARM_UP))
        return FIRST_RATE + (1.0 - FIRST_RATE) * rising
    return _falling((progress - WARM_UP) / (1.0 - WARM_UP))


def _warm_restarts(progress: float, epoch: int) -> float:
    """Fall from 1 to LOWEST_RATE, and start again after 50, 150, 350, ... epochs."""
    length = FIRST_CYCLE
    while epoch >= length:
        epoch, length = epoch - length, 2 * length
    return LOWEST_RATE + (1.0 - LOWEST_RATE) * _falling(epoch / length)


#: Name -> factor on the learning rate. Its arguments are the share of the steps done, in [0, 1),
#: and the epochs done since the weights were initialised.
SCHEDULES: dict[str, Callable[[float, int], float]] = {
    "averaged": _constant,
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "constant": _constant,
    "warm_restarts": _warm_restarts,
}
#: Those that leave the learning rate alone; "averaged" averages the weights instead.
CONSTANT = ("averaged", "constant")


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
    """Split parameters into decayed matrices and undecayed vectors (biases, norms)."""
    parameters = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    optimizer: str | type[torch.optim.Optimizer],
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    **options: Any,
) -> torch.optim.Optimizer:
    """Return the optimizer, as one fused kernel where torch has it."""
    factory: Any = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    if issubclass(factory, tuple(OPTIMIZERS.values())) and not _NOT_FUSED & options.keys():
        options = {"fused": True, **options}
    return factory(parameter_groups(parameters, weight_decay), lr=learning_rate, **options)
