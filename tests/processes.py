"""Functions that run in processes of their own.

The processes are forked from one that has imported the package and done nothing else. Where a
system has no fork, each imports for itself.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any

_HAS_FORKSERVER = "forkserver" in multiprocessing.get_all_start_methods()
#: What starts them.
CONTEXT = multiprocessing.get_context("forkserver" if _HAS_FORKSERVER else "spawn")
if _HAS_FORKSERVER:
    # The first step of an optimizer imports torch._dynamo, which takes as long as torch itself.
    CONTEXT.set_forkserver_preload(["sklearn_mlcl", "torch._dynamo"])


def in_process(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function of a module returns in a process of its own, or raise its error."""
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        return pool.submit(function, *args).result()


def in_group(count: int, function: Callable[..., Any], *args: Any) -> list[Future[Any]]:
    """Run a function of a module in several processes that know of each other.

    They have the environment of processes of ``benchmarks.bench_parallel``. One that is killed has
    the exception ``BrokenProcessPool``.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=CONTEXT)) for _ in range(count)
        ]
        group = {"WORLD_SIZE": str(count), "ADDRESS": f"file://{folder}/store"}
        return [
            pool.submit(_with_environment, group | {"RANK": str(k)}, function, args)
            for k, pool in enumerate(pools)
        ]


def _with_environment(
    environment: dict[str, str], function: Callable[..., Any], args: tuple[Any, ...]
) -> Any:
    os.environ.update(environment)
    return function(*args)
