"""A running average of the weights: what a short decay of the learning rate gives, at any epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

#: Epochs that the average looks back on, about.
WINDOW = 2


class WeightAverage:
    r"""Exponential average of the weights of modules over the steps of a training.

    .. math:: \bar w_t = d_t \bar w_{t-1} + (1 - d_t) w_t, \qquad
       d_t = \min\Big(1 - \frac{1}{2 n}, \frac{1 + t}{10 + t}\Big)

    with n steps an epoch: it looks back on about two epochs, on fewer at first. At a constant
    learning rate it is at every epoch what a training that ends there would give, so one training
    serves to choose the number of epochs.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        What is trained.
    steps_per_epoch : int
        The n above.
    """

    def __init__(self, modules: Sequence[nn.Module], steps_per_epoch: int) -> None:
        # A tensor that both modules have counts once.
        self._weights = list(dict.fromkeys(p for module in modules for p in module.parameters()))
        self._averages = [p.detach().clone() for p in self._weights]
        self._longest = 1 - 1 / (WINDOW * steps_per_epoch)
        self._n_steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self._n_steps += 1
        share = 1 - min(self._longest, (1 + self._n_steps) / (10 + self._n_steps))
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.lerp_(weight.detach(), share)

    def state(self) -> dict[str, Any]:
        """Return the averages, and the number of steps in them."""
        return {"averages": self._averages, "n_steps": self._n_steps}

    def put_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        for average, kept in zip(self._averages, state["averages"], strict=True):
            average.copy_(kept)
        self._n_steps = state["n_steps"]

    def put(self) -> None:
        """Make the averages the weights of the modules."""
        for weight, average in zip(self._weights, self._averages, strict=True):
            weight.data.copy_(average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the modules have the averages, within the block."""
        trained = [weight.data for weight in self._weights]
        try:
            for weight, average in zip(self._weights, self._averages, strict=True):
                weight.data = average
            yield
        finally:
            for weight, data in zip(self._weights, trained, strict=True):
                weight.data = data
