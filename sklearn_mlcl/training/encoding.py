"""How an encoder runs while it is trained: as it is, compiled, in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

#: Names of ``precision``.
PRECISIONS = ("float32", "bf16")
#: Kept beside the modules and not in them: what is compiled can be neither copied nor pickled.
_COMPILED: WeakKeyDictionary[nn.Module, Callable[[Tensor], Tensor]] = WeakKeyDictionary()


@contextmanager
def compiled(module: nn.Module, wanted: bool) -> Iterator[None]:
    """Let :func:`encoded` run what ``torch.compile`` makes of the module, within the block."""
    if wanted:
        _COMPILED[module] = torch.compile(module)
    try:
        yield
    finally:
        _COMPILED.pop(module, None)


def encoded(module: nn.Module, X: Tensor, precision: str) -> Tensor:
    """Return what a module makes of rows, in the dtype of ``X``.

    Parameters
    ----------
    module : torch.nn.Module
        The encoder.
    X : Tensor
        Its input.
    precision : {"float32", "bf16"}
        "bf16" runs the encoder under autocast to bfloat16.
    """
    encode = _COMPILED.get(module, module)
    if precision == "float32":
        return encode(X)
    with torch.autocast(X.device.type, torch.bfloat16):
        return encode(X).to(X.dtype)
