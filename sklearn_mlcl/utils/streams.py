"""Random streams of one fit: generators of its own, which no other thread draws from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Streams:
    """The generators of one fit, one for each device that it draws on.

    Parameters
    ----------
    seed : int
        Seeds each of them.

    Attributes
    ----------
    generators : dict of torch.device to torch.Generator
        Those that were drawn from so far.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator of a device."""
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self.generators[device]

    def state(self) -> dict[str, Tensor]:
        """Return where the generators stand, by device."""
        return {str(device): g.get_state() for device, g in self.generators.items()}

    def put_state(self, state: dict[str, Tensor]) -> None:
        """Let the generators stand where they stood."""
        for device, where in state.items():
            self.on(torch.device(device)).set_state(where)


class _OfThread(threading.local):
    """The streams of the fit that runs in a thread."""

    streams: Streams | None = None


_OF_THREAD = _OfThread()


@contextmanager
def seeded(seed: int) -> Iterator[Streams]:
    """Let layers and losses draw from generators of this fit, within the block and this thread.

    Torch's global generators are neither read nor moved.

    Parameters
    ----------
    seed : int
        Seeds the generators.

    Yields
    ------
    streams : Streams
        The generators.
    """
    outer, _OF_THREAD.streams = _OF_THREAD.streams, Streams(seed)
    try:
        yield _OF_THREAD.streams
    finally:
        _OF_THREAD.streams = outer


def streams_of_fit() -> Streams:
    """Return the generators of the fit that runs in this thread."""
    assert _OF_THREAD.streams is not None, "no fit runs in this thread"
    return _OF_THREAD.streams


def generator_on(device: torch.device) -> torch.Generator | None:
    """Return the generator to draw from: that of the fit, or None for torch's global one."""
    streams = _OF_THREAD.streams
    return None if streams is None else streams.on(device)


def standard_normal(like: Tensor) -> Tensor:
    """Return standard normal draws of the shape, dtype and device of a tensor."""
    return torch.randn(
        like.shape, generator=generator_on(like.device), dtype=like.dtype, device=like.device
    )
