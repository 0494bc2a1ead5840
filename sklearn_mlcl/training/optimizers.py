"""Optimisers by name, their parameter groups, and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class LeanAdamW(torch.optim.AdamW):
    """``torch.optim.AdamW`` whose steps in the fused kernel cost little beside the kernel.

    A step of torch's own sorts the tensors by device and dtype and asks after options that are
    off, which takes a fifth to a third of the step of a small net. The kernel is private to torch:
    a test compares every digit with a step of torch's own.
    """

    def zero_grad(self, set_to_none: bool = True) -> None:
        if not set_to_none:
            super().zero_grad(set_to_none)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self, closure: Any = None) -> Any:
        if closure is not None or not all(map(self._is_plain, self.param_groups)):
            return super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                self._update(group)
        return None

    def _is_plain(self, group: dict[str, Any]) -> bool:
        """Whether the kernel is all there is to a step: its state is there, on one device."""
        options = ("amsgrad", "capturable", "differentiable")
        if not group["fused"] or any(group[name] for name in options):
            return False
        parameters = group["params"]
        started = all(p in self.state for p in parameters)
        return started and len({(p.device, p.dtype) for p in parameters}) == 1

    def _update(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        states = [self.state[p] for p in parameters]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            parameters,
            [p.grad for p in parameters],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adamw": LeanAdamW,
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
