"""What we use of torch that is private there: the fused kernel of AdamW.

One file to mend when a release moves it; ``tests/test_training.py`` compares every digit of its
steps with those of torch's own optimizer.
"""

from __future__ import annotations

from typing import Any

import torch


class FusedAdamW(torch.optim.AdamW):
    """``torch.optim.AdamW`` whose fused steps cost little beside the kernel.

    A step of torch's own sorts the tensors by device and dtype and asks after options that are
    off, which takes a fifth of the step of a small net.
    """

    def step(self, closure: Any = None) -> Any:
        if closure is not None or not all(map(self._is_plain, self.param_groups)):
            return super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                self._update(group)
        return None

    def _is_plain(self, group: dict[str, Any]) -> bool:
        """Whether the kernel is all there is to a step: its state exists, on one device."""
        special = any(group[name] for name in ("amsgrad", "capturable", "differentiable"))
        if special or not group["fused"] or any(p not in self.state for p in group["params"]):
            return False
        return len({(p.device, p.dtype) for p in group["params"]}) == 1

    def _update(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        states = [self.state[p] for p in parameters]
        first, second = ([s[name] for s in states] for name in ("exp_avg", "exp_avg_sq"))
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        options = {name: group[name] for name in ("lr", "weight_decay", "eps", "maximize")}
        beta1, beta2 = group["betas"]
        gradients = [p.grad for p in parameters]
        torch._fused_adamw_(
            parameters, gradients, first, second, [], steps,
            beta1=beta1, beta2=beta2, amsgrad=False, **options,
        )  # fmt: skip
