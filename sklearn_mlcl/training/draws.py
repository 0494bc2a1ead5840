"""Draws of modules from elsewhere: a user's encoder or loss knows no generator of ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from sklearn_mlcl.modules import ACTIVATIONS
from sklearn_mlcl.training._torch_compat import PrivateDraws
from sklearn_mlcl.utils.runtime import generator_on

#: Layers of torch that draw nothing once they are made, and containers of layers.
_QUIET: tuple[Any, ...] = (
    nn.BatchNorm1d, nn.Identity, nn.LayerNorm, nn.LeakyReLU, nn.Linear, nn.ModuleList,
    nn.Sequential, *ACTIVATIONS.values(),
)  # fmt: skip
#: What they run; a subclass that runs the same draws nothing either.
QUIET = {layer.forward for layer in _QUIET}
_GLOBAL = threading.Lock()


def is_foreign(module: nn.Module) -> bool:
    """Return whether a module has parts that may draw from torch's global generators."""
    kinds = {type(part) for part in module.modules()}
    unknown = (kind for kind in kinds if kind.forward not in QUIET)
    return any(not kind.__module__.startswith("sklearn_mlcl.") for kind in unknown)


def private_draws(wanted: bool = True) -> AbstractContextManager[Any]:
    """Let modules from elsewhere draw from the generators of the fit, within the block."""
    return PrivateDraws() if wanted else nullcontext()  # type: ignore[no-untyped-call]


@contextmanager
def seeded_global(device: torch.device, wanted: bool) -> Iterator[None]:
    """Seed torch's global generators from that of the fit, and put them back.

    For modules from elsewhere that are compiled: nothing can redirect their draws. One fit at a
    time does so. Other threads must not draw from the global generators meanwhile.

    Parameters
    ----------
    device : torch.device
        Where the fit computes.
    wanted : bool
        Whether to do anything.
    """
    if not wanted:
        yield
        return
    seed = int(torch.randint(2**63 - 1, (), generator=generator_on(torch.device("cpu"))))
    on_gpu = device.type == "cuda"
    with _GLOBAL, torch.random.fork_rng(devices=[device] if on_gpu else []):
        seed_global(device, seed)
        yield


def seed_global(device: torch.device, seed: int) -> None:
    """Seed torch's global generators of the CPU and of a device.

    ``torch.manual_seed`` would seed the streams of all GPUs for good.
    """
    torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
