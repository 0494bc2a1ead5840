"""Batches as slices of a permutation: convert once, move once, index; or gather ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import starmap
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sklearn_mlcl.losses import LabelIndices
from sklearn_mlcl.losses._inputs import SampledLabels
from sklearn_mlcl.training._parallel import processes_of_fit
from sklearn_mlcl.training._torch_compat import sample_dirichlet
from sklearn_mlcl.utils.fit_data import FitData
from sklearn_mlcl.utils.runtime import generator_on
from sklearn_mlcl.utils.samples import MemmapView, as_tensor, each_tensor, is_table, tensors_of

#: Inputs of the module, then labels and weights. Inputs are a tensor, or a dict of them for a
#: module of the user's. Training may see some of the labels, or lists of them.
Batch = tuple[Any, tuple[Any, Tensor | None]]

#: Share of the free memory of a GPU that samples may take; larger arrays stay on the host.
DEVICE_SHARE = 0.5
ALL = slice(None)


def _stored(array: Any, device: torch.device, dtype: type = np.float32) -> Tensor | Any:
    """Return a tensor on the device; what has to stay on the host, CSR and memory maps, stays."""
    if isinstance(array, MemmapView):
        return array
    if sp.issparse(array):
        return sp.csr_array(array, dtype=dtype)
    return _placed(as_tensor(np.asarray(array, dtype=dtype)), device)


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if tensor.nbytes > DEVICE_SHARE * free:
            return tensor
    return tensor.to(device)


class RowTensors(Dataset[Batch]):
    """The samples of one fit: features, labels and weights, ready to be indexed.

    Parameters
    ----------
    data : FitData
        The samples. CSR and memory maps stay what they are and become tensors a batch at a time.
    device : torch.device
        Where the batches live.
    members : list of ndarray, default=None
        Numbers of the samples that each member of an ensemble learns from; None: all samples, and
        each batch is shared by the members.
    weights : list of ndarray, default=None
        Weights of all samples for each member, in place of those of ``data``.
    columns : ndarray of int, default=None
        Numbers of the features of a CSR X that batches have; None for all.

    Attributes
    ----------
    streams : bool
        Whether a batch has to be gathered on the host, which is worth doing ahead.
    lists_labels : bool
        Whether the labels of a batch are lists, where Y is CSR. The net sets it when training
        begins.
    """

    lists_labels = False

    def __init__(
        self,
        data: FitData,
        device: torch.device,
        members: list[np.ndarray] | None = None,
        weights: list[np.ndarray] | None = None,
        columns: np.ndarray | None = None,
    ) -> None:
        self.device = device
        self.members = None if members is None else [torch.from_numpy(own) for own in members]
        # Chosen before a batch is dense: most of 300,000 features are zeros that nobody reads.
        X = data.X if columns is None or not sp.issparse(data.X) else data.X[:, columns]
        if is_table(X) or isinstance(X, MemmapView):
            self.X = _stored(X, device)
        else:
            self.X = each_tensor(lambda tensor: _placed(tensor, device), tensors_of(X))
        # Boolean labels tell the losses that none is missing, which makes them cheaper.
        self.Y = _stored(data.Y, device, np.float32 if data.has_missing() else bool)
        weight = data.sample_weight
        self.sample_weight = None if weight is None else _stored(weight, device)
        self.own_weights = None if weights is None else _stored(np.stack(weights), device)
        self._n_samples = data.n_samples
        inputs = self.X.values() if isinstance(self.X, dict) else (self.X,)
        self.streams = any(
            not isinstance(array, Tensor) or array.device.type != device.type
            for array in (*inputs, self.Y)
        )

    @property
    def labels_known(self) -> bool:
        """Whether no label is missing."""
        return self.Y.dtype == (torch.bool if isinstance(self.Y, Tensor) else np.bool_)

    def __len__(self) -> int:
        return self._n_samples

    def __getitem__(self, index: int) -> Batch:
        return self.rows(torch.tensor([index]))

    def _gather(self, array: Tensor | Any, index: Tensor) -> Any:
        flat = index.flatten()
        if isinstance(array, dict):
            return each_tensor(lambda part: self._gather(part, index), array)
        if isinstance(array, Tensor):
            return array.index_select(0, flat.to(array.device)).unflatten(0, index.shape)
        rows = array[flat.cpu().numpy()]
        tensors = tensors_of(rows.toarray() if sp.issparse(rows) else rows)

        def shaped(tensor: Tensor) -> Tensor:
            tensor = tensor.unflatten(0, index.shape)
            # From pinned memory the copy to a GPU runs beside the products.
            return tensor.pin_memory() if self.device.type == "cuda" else tensor

        return each_tensor(shaped, tensors)

    def orders(self, generator: torch.Generator | None) -> Tensor:
        """Return the numbers of the samples of an epoch, (n,) or (M, n); None does not shuffle.

        Members that have fewer samples than others begin again within the epoch.
        """

        def order(n: int) -> Tensor:
            return torch.arange(n) if generator is None else torch.randperm(n, generator=generator)

        if self.members is None:
            return order(len(self))
        n = self.n_rows
        own = [index[order(len(index))] for index in self.members]
        return torch.stack([x.repeat(-(-n // len(x)))[:n] for x in own])

    @property
    def n_rows(self) -> int:
        """Number of samples that a member sees in an epoch."""
        return len(self) if self.members is None else max(map(len, self.members))

    def are_new(self, start: int, n: int) -> Tensor:
        """Return which of n samples (M, n) of an epoch without shuffling are no repetitions."""
        assert self.members is not None
        sizes = torch.tensor([len(own) for own in self.members])
        return torch.arange(start, start + n) < sizes[:, None]

    def rows(self, index: Tensor, samples: slice = ALL) -> Batch:
        """Return ``(X, (Y, sample_weight))`` of the rows ``index``, of shape (B,) or (M, B).

        ``samples`` are those whose X is wanted.
        """
        return self.on_device(self.gathered(index, samples))

    def gathered(self, index: Tensor, samples: slice = ALL) -> Batch:
        """Return a batch whose tensors lie where their rows are kept."""
        if self.own_weights is not None:
            member = torch.arange(len(self.own_weights))[:, None]
            weight = self.own_weights[member, index.to(self.own_weights.device)]
        else:
            weight = None if self.sample_weight is None else self._gather(self.sample_weight, index)
        if self.lists_labels and sp.issparse(self.Y):
            labels: Any = LabelIndices.from_csr(self.Y[index.flatten().cpu().numpy()])
        else:
            labels = self._gather(self.Y, index)
        return self._gather(self.X, index[..., samples]), (labels, weight)

    def on_device(self, batch: Batch) -> Batch:
        """Move a batch to the device; nothing happens to what is there."""
        X, (Y, weight) = batch

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(self.device, non_blocking=True)

        return each_tensor(moved, X), (moved(Y), None if weight is None else moved(weight))


class IndexBatches:
    """Iterate over a :class:`RowTensors` in batches, without a loader.

    Parameters
    ----------
    rows : RowTensors
        The data.
    batch_size : int
        Rows a batch.
    generator : torch.Generator or None
        Draws a new permutation for each pass; None keeps the order of the rows.
    own_labels : bool
        Whether a process that shares a batch gets the labels of its own samples only.

    Notes
    -----
    While shuffling, a last batch of a single row is left out (of another row each epoch): a
    row alone has no pair to learn from, and layers that normalise over the batch refuse it.
    Rows that are streamed are gathered by a thread, one batch ahead. Of a batch that processes
    share, each has the X of its own samples.
    """

    def __init__(
        self,
        rows: RowTensors,
        batch_size: int,
        generator: torch.Generator | None = None,
        own_labels: bool = False,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.generator = generator
        self.own_labels = own_labels

    def _starts(self) -> range:
        n = self.rows.n_rows
        lone_row = self.generator is not None and n > 1 and n % self.batch_size == 1
        return range(0, n - 1 if lone_row else n, self.batch_size)

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[Batch]:
        order = self.rows.orders(self.generator)
        if not self.rows.streams:
            order = order.to(self.rows.device)
        indices = [order[..., start : start + self.batch_size] for start in self._starts()]
        slices = map(self._own, indices)
        batches = self._ahead(slices) if self.rows.streams else starmap(self.rows.rows, slices)
        processes = processes_of_fit()
        for index, batch in zip(indices, batches, strict=True):
            if processes is not None:
                processes.n_samples = index.shape[-1]
            yield batch

    def _own(self, index: Tensor) -> tuple[Tensor, slice]:
        """Return the samples of a batch whose labels this process needs, and which of X."""
        processes = processes_of_fit()
        if processes is None:
            return index, ALL
        samples = processes.samples(index.shape[-1])
        return (index[..., samples], ALL) if self.own_labels else (index, samples)

    def _ahead(self, slices: Iterable[tuple[Tensor, slice]]) -> Iterator[Batch]:
        """Gather the next batch while the caller is busy with this one."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            coming = None
            for index, samples in slices:
                batch, coming = coming, pool.submit(self.rows.gathered, index, samples)
                if batch is not None:
                    yield self.rows.on_device(batch.result())
            if coming is not None:
                yield self.rows.on_device(coming.result())


def with_sampled_labels(batch: Batch, n_negatives: int | None, by_member: bool = False) -> Batch:
    """Return a batch on the labels that its samples have, and some drawn others; None takes all.

    ``by_member`` says whether each member has samples of its own.
    """
    X, (labels, weight) = batch
    if n_negatives is None:
        return batch
    sampled = SampledLabels.of(labels, n_negatives)
    if isinstance(labels, LabelIndices):
        # Lists of the samples of all members are one below the other.
        members = X.shape[:1] if by_member else ()
        values = sampled.values.unflatten(0, (*members, -1))
        sampled = replace(sampled, values=values)
    if weight is not None and weight.ndim == sampled.values.ndim:
        weight = weight.index_select(-1, sampled.columns)
    return X, (sampled, weight)


def mixed(batch: Batch, alpha: float) -> Batch:
    r"""Mix every sample of a batch with another one, features and labels alike.

    .. math::
        x_i' = \lambda_i x_i + (1 - \lambda_i) x_{\pi(i)}, \qquad
        y_i' = \lambda_i y_i + (1 - \lambda_i) y_{\pi(i)}

    with a permutation :math:`\pi`. The share is :math:`\max(\lambda_i, 1 - \lambda_i)` for
    :math:`\lambda_i \sim \mathrm{Beta}(\alpha, \alpha)`, so that a sample keeps the larger part.
    Weights are mixed too, :math:`w' = \lambda w_i + (1 - \lambda) w_{\pi(i)}`, and labels by their
    part of it: a loss that is linear in the labels, weighted by :math:`w'`, is the mixture of the
    weighted losses of the two labels. A missing label has weight 0: the mixture takes the other
    label, at its part of the weight.

    Parameters
    ----------
    batch : (Tensor of shape (B, d), (Tensor of shape (B, L), Tensor or None))
        Features, labels and weights, the last of shape (B,) or (B, L). With a leading M each
        member of an ensemble has samples of its own; shares and partners are drawn once.
    alpha : float
        Above 0; 1 draws uniformly, smaller values stay closer to the samples.

    Returns
    -------
    batch : tuple
        Of the same shapes, the labels in the dtype of the features. Where labels came as floats,
        which may hold NaN, every entry has a weight, (B, L).

    References
    ----------
    H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk Minimization",
    ICLR 2018, equation 1.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.training import mixed
    >>> batch = torch.eye(4), (torch.eye(4, dtype=torch.bool), None)
    >>> X, (Y, _) = mixed(batch, alpha=1.0)
    >>> bool((X == Y).all()), bool((Y.diagonal() >= 0.5).all())
    (True, True)
    """
    X, (labels, sample_weight) = batch
    if isinstance(labels, SampledLabels):
        X, (values, sample_weight) = mixed((X, (labels.values, sample_weight)), alpha)
        return X, (replace(labels, values=values), sample_weight)
    # torch.distributions.Beta draws the same numbers, more slowly.
    n = labels.shape[-2]
    generator = generator_on(X.device)
    processes = processes_of_fit()
    # Beta(alpha, alpha), as torch.distributions draws it, which takes no generator.
    concentration = torch.full((n, 2), alpha, dtype=torch.float32, device=X.device)
    both = sample_dirichlet(concentration, generator)
    share = torch.maximum(both[:, :1], 1 - both[:, :1]).to(X.dtype)
    if processes is None:
        other, samples = torch.randperm(n, generator=generator, device=X.device), ALL
    else:
        other, samples = processes.partners(n, generator, X.device), processes.samples(n)

    def mix(x: Tensor) -> Tensor:
        return x.index_select(-2, other).lerp(x, share)

    own = other[samples] - (samples.start or 0)
    X = X.index_select(-2, own).lerp(X, share[samples])
    Y, w = labels.to(X.dtype), _entry_weights(labels, sample_weight)
    if w is None:
        return X, (mix(Y), None)
    w = w.to(X.dtype)
    weight = mix(w)
    # Weighted labels mix linearly; an entry that is missing in both becomes NaN again.
    Y = torch.where(weight > 0, mix(w * Y.nan_to_num(nan=0.0)) / weight, torch.nan).clamp_max(1.0)
    return X, (Y, weight if weight.shape == Y.shape else weight[..., 0])


def _entry_weights(labels: Tensor, sample_weight: Tensor | None) -> Tensor | None:
    """Return weights (B, 1) or (B, L), 0 where missing; None if none is missing and all are 1."""
    w = sample_weight
    if w is not None and w.ndim < labels.ndim:
        w = w[..., None]
    if not labels.is_floating_point():
        return w
    given = ~labels.isnan()
    return given.to(labels.dtype) if w is None else given * w
