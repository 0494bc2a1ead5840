"""Optimisers by name, their parameter groups, and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw


class FusedAdamW(torch.optim.AdamW):
    """``torch.optim.AdamW(fused=True)`` with less work around the kernel.

    The first step is torch's own: it makes the state. The later ones call the functional form,
    which leaves out hooks, profiling and the checks of options that are off; on small nets that is
    a sixth of the step. A test compares every digit with a step of torch's own.
    """

    def step(self, closure: Any = None) -> Any:
        if closure is not None or not all(map(self._is_plain, self.param_groups)):
            return super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                self._update(group)
        return None

    def _is_plain(self, group: dict[str, Any]) -> bool:
        """Whether the kernel is all there is to a step, and the state is there."""
        options = ("amsgrad", "capturable", "differentiable")
        started = all(p in self.state for p in group["params"])
        return started and group["fused"] and not any(group[name] for name in options)

    def _update(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        states = [self.state[p] for p in parameters]
        adamw(
            parameters,
            [p.grad for p in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": FusedAdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
_FUSED = (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)
#: Options under which torch offers no fused kernel.
_NOT_FUSED = {"foreach", "differentiable"}


#: "one_cycle": share of the steps with a rising rate, and the rate that it starts from.
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
    """Fall from 1 to LOWEST_RATE, anew after 50, 150, 350, ... epochs."""
    length = FIRST_CYCLE
    while epoch >= length:
        epoch, length = epoch - length, 2 * length
    return LOWEST_RATE + (1.0 - LOWEST_RATE) * _falling(epoch / length)


#: Name -> factor on the learning rate, a function of the share of the steps done, in [0, 1), and
#: of the epochs done since the weights were initialised.
SCHEDULES: dict[str, Callable[[float, int], float]] = {
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "constant": _constant,
    "warm_restarts": _warm_restarts,
}


def parameter_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
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
    if issubclass(factory, _FUSED) and not _NOT_FUSED & options.keys():
        options = {"fused": True, **options}
    return factory(parameter_groups(parameters, weight_decay), lr=learning_rate, **options)
