"""Starts for the next value of C on a path, from the minima at the values before it.

Were the curvature of the loss a constant h, the minimum would be ``theta_j = t_j a_j`` with
``t_j = h / (h + rho_j)``: linear in t_j, which grows from 0 to 1 with C. The secant through the
last two minima, in t_j for each coefficient, is exact then; it starts at the null model, C = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Secant:
    """The last two minima of each label: `theta` (r, L) at `C` (L,), `before` at `C_before`.

    `curvature` (L,) is that of the null model; `penalty` (r, 1) over C S is rho, with S = `total`.
    """

    penalty: Tensor
    total: Tensor
    curvature: Tensor
    theta: Tensor
    C: Tensor
    before: Tensor
    C_before: Tensor

    @classmethod
    def at_null(cls, penalty: Tensor, total: Tensor, theta: Tensor, p: Tensor) -> Secant:
        """At C = 0, where all rows have the probability `p` (L,)."""
        zero = torch.zeros_like(total)
        return cls(penalty[:, None], total, p * (1 - p), theta, zero, theta, zero)

    def move(self, theta: Tensor, C: Tensor) -> None:
        """Take in the minimum at C."""
        self.before, self.C_before, self.theta, self.C = self.theta, self.C, theta, C

    def start(self, C: Tensor) -> Tensor:
        """Coefficients expected at C; those of the last minimum where the path does not ascend."""
        ascends = (C > self.C) & (self.C_before < self.C)
        ratio = torch.where(ascends, self._ratio(C), 0.0)
        return torch.addcmul(self.theta, ratio, self.theta - self.before)

    def _ratio(self, C: Tensor) -> Tensor:
        """Steps of t after C_k over the one before it: t is ``h S C / (h S C + penalty)``."""
        pull = self.curvature * self.total
        steps = (C - self.C) / (self.C - self.C_before)
        return steps * (pull * self.C_before + self.penalty) / (pull * C + self.penalty)
