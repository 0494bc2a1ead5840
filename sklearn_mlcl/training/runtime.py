"""Device, threads and random streams of one fit, each put back as it was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: Multiply-adds of one forward pass of a batch below which a second thread costs more than it
#: brings: the products of a few hundred rows are over before a thread has woken up.
SINGLE_THREAD_WORK = 100_000_000


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` into a device; check that a named one is there.

    Raises
    ------
    ValueError
        If torch does not know the device, or a CUDA device is asked for that it does not see.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is no device that torch knows: {error}") from error
    n_devices = torch.cuda.device_count()
    if resolved.type == "cuda" and (resolved.index or 0) >= n_devices:
        raise ValueError(
            f"device={device!r} was asked for, but torch sees {n_devices} CUDA devices here."
        )
    return resolved


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch for one fit and put its global streams back afterwards.

    Parameters
    ----------
    seed : int
        Seeds initialisation, dropout and the generator that is yielded.
    device : torch.device
        Where the fit runs.

    Yields
    ------
    generator : torch.Generator
        A CPU generator for permutations.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


@contextmanager
def few_threads_for(work: int, device: torch.device) -> Iterator[None]:
    """Use one thread where the products are small; never more than the caller allows.

    Parameters
    ----------
    work : int
        Multiply-adds of the forward pass of one batch.
    device : torch.device
        Where the products run.
    """
    n_threads = torch.get_num_threads()
    if device.type == "cpu" and work < SINGLE_THREAD_WORK:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
