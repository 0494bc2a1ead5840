"""One fit by the processes of a ``torch.distributed`` group: all that they tell each other.

Every process runs the same fit on the same data, with the same random numbers. What costs time is
done in parts, each by one process: the samples of a batch, the anchors of its loss, the samples and
labels of what follows the training. What is chosen is chosen by process 0.

Each process computes its share of the loss of a batch and goes back from it: the shares sum to the
loss, and their gradients to its gradient. Both are sent as one tensor a step. The rows that
:meth:`Processes.gathered` returns carry gradients.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from sklearn_mlcl.losses._inputs import divisor
from sklearn_mlcl.training._torch_compat import timeout_of_world
from sklearn_mlcl.training.chunked import batch_norms
from sklearn_mlcl.utils.runtime import streams_of_fit
from sklearn_mlcl.utils.samples import part_of

#: Seconds after which a process says that it waits for the others to call ``fit``.
PATIENCE = 10.0
OFF = "net_params={'data_parallel': False}"


class Processes:
    """The processes that take part in one fit, and what they tell each other.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup
        A group of this fit alone, of all processes, for tensors on the CPU.

    Attributes
    ----------
    number, count : int
        The number of this process, from 0 on, and of how many.
    n_samples : int
        Samples of the batch that is worked on, of all processes. Who gives batches sets it.
    """

    n_samples = 0

    def __init__(self, group: Any) -> None:
        self._group = group
        self.number, self.count = dist.get_rank(group), dist.get_world_size(group)

    # ------------------------------------------------------------------ parts

    def part(self, n: int) -> slice:
        """Return which of n things this process works on; perhaps none."""
        return part_of(n, (self.number, self.count))

    def samples(self, n: int) -> slice:
        """Return which samples of a batch this process embeds: its part, but one at least.

        A module of the user's need not know batches without samples. Where the part is empty,
        nothing of that sample is used.
        """
        part = self.part(n)
        return part if part.start < part.stop else slice(0, 1)

    def partners(self, n: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """Return a permutation of n samples in which each stays with the process that it is of."""
        parts = (part_of(n, (k, self.count)) for k in range(self.count))
        orders = (
            part.start + torch.randperm(part.stop - part.start, generator=generator, device=device)
            for part in parts
        )
        return torch.cat(list(orders))

    # ------------------------------------------------------------------ tensors

    def add(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        with _told():
            dist.all_reduce(tensor, group=self._group_for(tensor))
        return tensor

    def share(self, total: Tensor, weight: Tensor) -> Tensor:
        """Return the own share of a mean: a total over the weights of all processes, or 0."""
        weight = self.add(weight.detach().to(total.dtype).clone())
        return total / divisor(weight)

    def gathered(self, rows: Tensor) -> Tensor:
        """Return rows (..., n, d) of all samples of the batch from those of :meth:`samples`."""
        part = self.part(self.n_samples)
        own = rows[..., : part.stop - part.start, :]
        return _Gathered.apply(own, self.n_samples, self)  # type: ignore[no-untyped-call]

    def joined(self, own: Tensor, n: int, dim: int) -> Tensor:
        """Return a tensor of all n things from those of :meth:`part`, which lie along ``dim``."""
        longest = -(-n // self.count)
        own = own.movedim(dim, 0).contiguous()
        sent = own.new_zeros(longest, *own.shape[1:])
        sent[: len(own)] = own
        received = [torch.empty_like(sent) for _ in range(self.count)]
        with _told():
            dist.all_gather(received, sent, group=self._group_for(sent))
        sizes = (part_of(n, (k, self.count)) for k in range(self.count))
        parts = [r[: s.stop - s.start] for r, s in zip(received, sizes, strict=True)]
        return torch.cat(parts).movedim(0, dim)

    def _group_for(self, tensor: Tensor) -> Any:
        """Return the group of this fit; on a GPU the user's own, if its backend is for GPUs."""
        of_user = tensor.device.type != "cpu" and dist.get_backend() != "gloo"
        return dist.group.WORLD if of_user else self._group

    # ------------------------------------------------------------------ a net

    def hand_out(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the tensors of process 0, in place."""
        for own in _by_kind(tensors):
            sent = torch.cat([tensor.detach().flatten() for tensor in own])
            with _told():
                dist.broadcast(sent, 0, group=self._group_for(sent))
            _give_back(sent, own)

    def learning(self, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """Return the parameters that have a gradient in some process."""
        known = list(parameters)
        has = torch.tensor([p.grad is not None for p in known], dtype=torch.int64)
        return [p for p, n in zip(known, self.add(has).tolist(), strict=True) if n]

    def sum_gradients(
        self, loss: Tensor, parameters: list[nn.Parameter], of_all: Iterable[nn.Parameter]
    ) -> Tensor:
        """Let parameters have the sum of the gradients of all processes.

        Parameters
        ----------
        loss : Tensor
            The own share of the loss.
        parameters : list of Parameter
            Those that learn, the same in all processes.
        of_all : iterable of Parameter
            All that there are.

        Returns
        -------
        loss : Tensor
            The loss.

        Raises
        ------
        RuntimeError
            If another parameter has a gradient.
        """
        n_learning = sum(p.grad is not None for p in of_all)
        if n_learning > sum(p.grad is not None for p in parameters):
            raise RuntimeError(
                "A parameter had no gradient in the first step and has one now. A fit by several "
                f"processes cannot handle this. Set {OFF}."
            )
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        loss = loss.detach().clone()
        for own in _by_kind([loss, *gradients]):
            flat = self.add(torch.cat([tensor.flatten() for tensor in own]))
            _give_back(flat, own)
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient
        return loss

    # ------------------------------------------------------------------ values

    def agreed(self, value: Any) -> Any:
        """Return what process 0 has; any value that can be pickled."""
        box = [value]
        with _told():
            dist.broadcast_object_list(box, 0, group=self._group, device=torch.device("cpu"))
        return value if self.number == 0 else box[0]

    def largest(self, values: list[float]) -> list[float]:
        """Return the largest of each number in all processes."""
        tensor = torch.tensor(values, dtype=torch.float64)
        with _told():
            dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self._group)
        return [float(value) for value in tensor]

    def check_same(self, known: Mapping[str, tuple[str, str]]) -> None:
        """Raise the same ``ValueError`` in all processes unless they know the same.

        Parameters
        ----------
        known : dict of str to (str, str)
            By name: what is compared, and what a message shows.
        """
        everywhere: list[Any] = [None] * self.count
        with _told():
            dist.all_gather_object(everywhere, dict(known), group=self._group)
        for k, other in enumerate(everywhere):
            for name in dict.fromkeys([*everywhere[0], *other]):
                first, here = (them.get(name, ("", "absent")) for them in (everywhere[0], other))
                if first[0] != here[0]:
                    raise ValueError(
                        f"{name} must be the same in all processes of the torch.distributed group, "
                        f"got {first[1]} in process 0 and {here[1]} in process {k}. Pass all "
                        "samples to each process, which takes its part by itself. For a separate "
                        f"fit in each process, set {OFF}."
                    )

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.largest([0.0])

    def end(self) -> None:
        """Close the connections.

        Tracebacks and graphs of tensors may know this object for longer. A group that lives on
        until the interpreter ends has threads that end after it, which aborts the process.
        """
        group, self._group = self._group, None
        dist.destroy_process_group(group)


class _Gathered(torch.autograd.Function):
    """Rows of all processes; back go the gradients of all processes in the own rows."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, n: int, processes: Processes) -> Tensor:
        ctx.processes = processes
        return processes.joined(own, n, -2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        gradient = ctx.processes.add(outer[0].contiguous().clone())
        return gradient[..., ctx.processes.part(gradient.shape[-2]), :], None, None


def _by_kind(tensors: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    """Return tensors by device and dtype: those of a list are sent as one."""
    kinds: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    return kinds.values()


def _give_back(flat: Tensor, tensors: list[Tensor]) -> None:
    """Copy the parts of what was sent as one to where they came from."""
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.detach().copy_(part.view_as(tensor))


@contextmanager
def _told() -> Iterator[None]:
    """Say what an error of a collective is about."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            "fit: another process of the torch.distributed group failed, ended or did not answer "
            f"in time; its own message says why. ({error})"
        ) from error


# ---------------------------------------------------------------------- the fit of a thread


class _OfThread(threading.local):
    """The processes that share the fit which runs in a thread; None for a fit alone."""

    processes: Processes | None = None


_OF_THREAD = _OfThread()


class _Fork:
    """The group that a fork has from its parent: its connections are the parent's."""

    inherited: Any = None


def _after_fork() -> None:
    _Fork.inherited = dist.group.WORLD if _has_group() else None


def _has_group() -> bool:
    return dist.is_available() and dist.is_initialized()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def processes_of_fit() -> Processes | None:
    """Return the processes that share the fit which runs in this thread; None for a fit alone."""
    return _OF_THREAD.processes


@contextmanager
def taking_part(wanted: bool) -> Iterator[Processes | None]:
    """Share the fit in the block with the other processes of a ``torch.distributed`` group.

    Nothing happens without a group, in a thread other than the main one (the order of fits in
    threads is not the same everywhere), or where it is not wanted. If the block fails in one
    process it fails in all, as their connections end.

    Parameters
    ----------
    wanted : bool
        Whether to take part.

    Yields
    ------
    processes : Processes or None
        None for a fit alone.
    """
    in_main = threading.current_thread() is threading.main_thread()
    there = wanted and in_main and _has_group() and dist.group.WORLD is not _Fork.inherited
    if not there or dist.get_world_size() == 1:
        with alone():
            yield None
        return
    outer, processes = _OF_THREAD.processes, Processes(_interruptible(_new_group))
    try:
        _OF_THREAD.processes = processes
        yield processes
        processes.wait()
    finally:
        _OF_THREAD.processes = outer
        processes.end()


@contextmanager
def alone() -> Iterator[None]:
    """Let what is computed in the block be computed by this process for itself."""
    outer, _OF_THREAD.processes = _OF_THREAD.processes, None
    try:
        yield
    finally:
        _OF_THREAD.processes = outer


def _new_group() -> Any:
    """Return a group of this fit: what fits and users send does not meet, and can end alone."""
    timeout: timedelta = timeout_of_world()
    return dist.new_group(backend="gloo", timeout=timeout)


def _interruptible(call: Callable[[], Any]) -> Any:
    """Return what a call returns that waits for the other processes.

    An interrupt ends the wait, which torch itself does not allow. After a while it is said what is
    waited for.
    """
    done: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            done.append(call())
        # Raised below, in the thread of the caller.
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="process group")
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        warnings.warn(
            f"fit waits for the other {dist.get_world_size() - 1} processes of the "
            "torch.distributed group to call fit too. If they do not, set "
            f"{OFF}: the fit is then that of this process alone.",
            UserWarning,
            stacklevel=2,
        )
    while thread.is_alive():
        thread.join(0.1)
    if errors:
        raise RuntimeError(
            "fit: the other processes of the torch.distributed group did not call fit in time. "
            f"Call it in all of them, or set {OFF}. ({errors[0]})"
        ) from errors[0]
    return done[0]


# ---------------------------------------------------------------------- what others need


def agreed(value: Any) -> Any:
    """Return what process 0 has; the value itself in a fit alone."""
    processes = _OF_THREAD.processes
    return value if processes is None else processes.agreed(value)


def n_processes() -> int:
    """Return how many processes share the fit which runs in this thread."""
    return 1 if _OF_THREAD.processes is None else _OF_THREAD.processes.count


def is_first() -> bool:
    """Return whether this process speaks for all: prints, and writes files."""
    return _OF_THREAD.processes is None or _OF_THREAD.processes.number == 0


def in_parts(n: int, work: Callable[[slice], np.ndarray], axis: int = 0) -> np.ndarray:
    """Return what ``work`` makes of n things, which lie along an axis of its result.

    Each process does a part of the work; where there are fewer things than processes, each all.
    """
    processes = _OF_THREAD.processes
    if processes is None:
        return work(slice(0, n))
    if n < processes.count:
        return np.asarray(processes.agreed(work(slice(0, n))))
    own = torch.from_numpy(np.ascontiguousarray(work(processes.part(n))))
    return processes.joined(own, n, axis).numpy()


def by_first(work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns, which process 0 does for all."""
    processes = _OF_THREAD.processes
    if processes is None:
        return work()
    return processes.agreed(work() if processes.number == 0 else None)


def own_turns(n: int) -> range:
    """Return which of n pieces of work this process does."""
    processes = _OF_THREAD.processes
    return range(n) if processes is None else range(processes.number, n, processes.count)


def added(array: np.ndarray) -> np.ndarray:
    """Return the sum of what the processes found: 0 where others did the work."""
    processes = _OF_THREAD.processes
    return array if processes is None else processes.add(torch.from_numpy(array)).numpy()


def own_rows(labels: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return labels and weights of the samples of a batch that this process embeds."""
    processes = _OF_THREAD.processes
    if processes is None:
        return labels, sample_weight
    samples = processes.samples(labels.shape[-2])
    if sample_weight is not None:
        each = sample_weight.ndim == labels.ndim
        sample_weight = sample_weight[..., samples, :] if each else sample_weight[..., samples]
    labels = labels[..., samples, :]
    return labels, own_weight(labels, sample_weight)


def own_weight(labels: Tensor, sample_weight: Tensor | None) -> Tensor | None:
    """Return weights of the own samples of a batch: 0 for one that stands in for none.

    Where a process has none, all have weights: what they send each other has one shape.
    """
    processes = _OF_THREAD.processes
    if processes is None or processes.n_samples >= processes.count:
        return sample_weight
    if sample_weight is None:
        sample_weight = torch.ones(labels.shape[:-1], device=labels.device)
    part = processes.part(processes.n_samples)
    return sample_weight * float(part.stop - part.start)


def samples_of_batch(labels: Tensor) -> int:
    """Return the number of samples of a batch, of all processes that share it."""
    processes = _OF_THREAD.processes
    return labels.shape[-2] if processes is None else processes.n_samples


def equal_share(value: Tensor) -> Tensor:
    """Return the own share of a value that all processes that share a batch compute."""
    processes = _OF_THREAD.processes
    return value if processes is None else value / processes.count


def own_seed(step: int, use: int) -> int:
    """Return a seed of this process, step and use, which no other has.

    It moves no generator of the fit: these stay the same in all processes, and as in a fit alone.
    """
    processes = _OF_THREAD.processes
    key = [streams_of_fit().seed, step, 0 if processes is None else processes.number, use]
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def check_module(module: nn.Module) -> None:
    """Raise a ``ValueError`` for a module that needs all samples of a batch at once."""
    for name, part in batch_norms(module):
        if not isinstance(part, nn.SyncBatchNorm):
            raise ValueError(
                f"module has {type(part).__name__} ({name}), whose statistics would be those of "
                "the samples of one process. Take LayerNorm or GroupNorm, on GPUs "
                f"torch.nn.SyncBatchNorm, or fit in each process alone: {OFF}."
            )
