"""Optimisers by name, their parameter groups, and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
_FUSED = (torch.optim.AdamW, torch.optim.Adam)


def _constant(progress: float) -> float:
    return 1.0


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _one_cycle(progress: float, warm_up: float = 0.3, start: float = 0.04) -> float:
    """Rise from ``start`` to 1 over the first ``warm_up`` of the steps, then fall to 0."""
    if progress < warm_up:
        return start + (1.0 - start) * 0.5 * (1.0 - math.cos(math.pi * progress / warm_up))
    return _cosine((progress - warm_up) / (1.0 - warm_up))


#: Name -> factor on the learning rate as a function of the share of the steps done, in [0, 1).
SCHEDULES: dict[str, Callable[[float], float]] = {
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "constant": _constant,
}


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    """Split parameters into decayed matrices and undecayed vectors (biases, norms)."""
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for parameter in parameters:
        (decayed if parameter.ndim > 1 else undecayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    optimizer: str | type[torch.optim.Optimizer],
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    **options: Any,
) -> torch.optim.Optimizer:
    """Build the optimiser, in one fused kernel where torch has it."""
    factory: Any = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
    if issubclass(factory, _FUSED):
        options = {"fused": True, **options}
    return factory(parameter_groups(parameters, weight_decay), lr=learning_rate, **options)
