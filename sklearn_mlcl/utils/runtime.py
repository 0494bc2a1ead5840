"""Device, threads and random generators of one fit; the global ones are restored after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sklearn_mlcl.utils._sklearn_compat import in_joblib_worker

#: With fewer multiply-adds in the forward pass of a batch, a second thread costs more than it
#: saves: the products of a few hundred samples end before a thread has woken up.
SINGLE_THREAD_WORK = 100_000_000
#: What torch chose by itself. Another number at the time of a fit is the caller's choice.
THREADS_AT_IMPORT = torch.get_num_threads()
#: With one of these in the environment the number at import is the caller's choice too.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

# What ``device="auto"`` assumes: orders of magnitude for one CPU and one recent GPU, not measured.
#: Multiply-adds a second on the CPU, on the GPU.
CPU_RATE, GPU_RATE = 5e10, 5e12
#: Seconds that a process waits for the first result of a GPU, and that the kernels of one step
#: take to start.
GPU_START, GPU_STEP = 2.0, 1e-3


def resolve_device(
    device: str | torch.device, multiply_adds: float = 0.0, n_steps: int = 1
) -> torch.device:
    """Turn ``"auto"`` into a device, and check that a named device exists.

    Parameters
    ----------
    device : str or torch.device
        "auto" is the GPU where :func:`gpu_pays` for the work, else the CPU.
    multiply_adds : float
        Of one step.
    n_steps : int
        Steps in a row.

    Raises
    ------
    ValueError
        If torch does not know the device, or a CUDA device is asked for that it does not see.
    """
    if device == "auto":
        pays = torch.cuda.is_available() and gpu_pays(multiply_adds, n_steps)
        return torch.device("cuda" if pays else "cpu")
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


def gpu_pays(multiply_adds: float, n_steps: int) -> bool:
    """Estimate whether a GPU runs ``n_steps`` steps of so many multiply-adds faster than the CPU.

    A step takes multiply_adds / CPU_RATE seconds on the CPU, and GPU_STEP + multiply_adds /
    GPU_RATE on the GPU, which takes GPU_START seconds more if the process has not used it yet.
    """
    start = 0.0 if torch.cuda.is_initialized() else GPU_START
    on_gpu = start + n_steps * (GPU_STEP + multiply_adds / GPU_RATE)
    return on_gpu < n_steps * multiply_adds / CPU_RATE


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seed torch's CPU generator for one fit, and restore its state afterwards.

    Parameters
    ----------
    seed : int
        Seeds initialisation, dropout and the generator that is yielded.

    Yields
    ------
    generator : torch.Generator
        A CPU generator for permutations.
    """
    with torch.random.fork_rng(devices=[]):
        generator = torch.Generator().manual_seed(seed)
        # Not torch.manual_seed, which would seed the streams of all GPUs for good.
        torch.set_rng_state(generator.get_state())
        yield generator


@contextmanager
def seeded_device(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generator of a GPU and restore its state afterwards; do nothing on the CPU."""
    if device.type != "cuda":
        yield
        return
    with torch.random.fork_rng(devices=[device]), torch.cuda.device(device):
        torch.cuda.manual_seed(seed)
        yield


def n_threads_for(work: float) -> int:
    """Return how many threads to compute with: never more than torch has now.

    The number stays if the caller chose it, by ``torch.set_num_threads`` or by the environment.
    It is one in a worker of joblib, and where the products are small.

    Parameters
    ----------
    work : float
        Multiply-adds of the forward pass of one batch.
    """
    n_threads = torch.get_num_threads()
    if n_threads != THREADS_AT_IMPORT:
        return n_threads
    if in_joblib_worker():
        return 1
    if any(os.environ.get(name) for name in THREAD_VARIABLES):
        return n_threads
    return 1 if work < SINGLE_THREAD_WORK else n_threads


@contextmanager
def threads_for(work: float, device: torch.device) -> Iterator[None]:
    """Use :func:`n_threads_for` threads for products on the CPU, then the number from before."""
    before = torch.get_num_threads()
    if device.type == "cpu" and n_threads_for(work) != before:
        torch.set_num_threads(n_threads_for(work))
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
