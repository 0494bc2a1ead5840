"""What we use of torch that is private there.

One file to mend when a release moves it; ``tests/test_training.py`` compares every digit of the
optimizer's steps with those of torch's own, ``tests/test_threads.py`` tries the draws.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_mlcl.utils.runtime import generator_on

_ATEN = torch.ops.aten


def timeout_of_world() -> timedelta:
    """Return how long the user lets a collective of the default process group last."""
    world: Any = torch.distributed.group.WORLD
    timeout: timedelta = world._get_backend(world._device_types[0]).options._timeout
    return timeout


def sample_dirichlet(concentration: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return draws of the Dirichlet distribution; that of ``torch.distributions`` is the same."""
    return torch._sample_dirichlet(concentration, generator)


class PrivateDraws(TorchDispatchMode):
    """Let all that is drawn within come from the generators of the fit, and be float32.

    For modules from elsewhere, which know nothing of these generators. Torch's global generators
    are not moved. Only fused attention on a GPU draws its dropout from them.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FACTORIES and kwargs.get("dtype") is None:
            kwargs["dtype"] = torch.float32
        draw, device = _with_generator(func), _device_of(args, kwargs)
        # A tensor without storage draws nothing: some libraries fill it with saved weights later.
        if draw is None or device.type == "meta":
            return func(*args, **kwargs)
        if kwargs.get("generator") is None:
            kwargs["generator"] = generator_on(device)
        return draw(*args, **kwargs)


def private_draws(wanted: bool = True) -> AbstractContextManager[Any]:
    """Let modules from elsewhere draw from the generators of the fit, within the block."""
    return PrivateDraws() if wanted else nullcontext()  # type: ignore[no-untyped-call]


#: What makes tensors in the default dtype of torch, which is the whole process's.
_FACTORIES = {
    _ATEN.empty.memory_format, _ATEN.eye.default, _ATEN.eye.m, _ATEN.linspace.default,
    _ATEN.normal.float_float, _ATEN.ones.default, _ATEN.rand.default, _ATEN.randn.default,
    _ATEN.zeros.default,
}  # fmt: skip


def _device_of(args: Any, kwargs: dict[str, Any]) -> torch.device:
    tensors = (x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
    return kwargs.get("device") or next((x.device for x in tensors), torch.device("cpu"))


@cache
def _with_generator(func: Any) -> Callable[..., Any] | None:
    """Return what draws the same from a generator; None for what draws nothing."""
    if func in _REPLACED:
        return _REPLACED[func]
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return None
    asked = {name: kind for name, kind in _arguments(func).items() if name != "generator"}
    others = (getattr(func.overloadpacket, name) for name in func.overloadpacket.overloads())
    for overload in (func, *others):
        known = _arguments(overload)
        if known.pop("generator", None) is not None and known == asked:
            return overload
    return None


def _arguments(func: Any) -> dict[str, str]:
    """Return the types of the arguments of an operation by name."""
    return {argument.name: str(argument.type) for argument in func._schema.arguments}


def _rand_like(like: Tensor, *, generator: torch.Generator | None, **options: Any) -> Tensor:
    return torch.empty_like(like, **options).uniform_(generator=generator)


def _randn_like(like: Tensor, *, generator: torch.Generator | None, **options: Any) -> Tensor:
    return torch.empty_like(like, **options).normal_(generator=generator)


def _dropout(
    X: Tensor, p: float, train: bool | None, *, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    kept = torch.ones_like(X, dtype=torch.bool)
    if train is False:
        return X.clone(), kept
    kept.bernoulli_(1 - p, generator=generator)
    return X * kept * (1 / (1 - p) if p < 1 else 0.0), kept


#: Operations that take no generator, in all versions of torch or in some.
_REPLACED: dict[Any, Callable[..., Any]] = {
    _ATEN.native_dropout.default: _dropout,
    _ATEN.rand_like.default: _rand_like,
    _ATEN.randn_like.default: _randn_like,
}


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
