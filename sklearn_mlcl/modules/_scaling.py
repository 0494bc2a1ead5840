"""Features before the encoder: standardised, placed among quantiles, noisy while training."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from sklearn_mlcl.utils.runtime import standard_normal
from sklearn_mlcl.utils.samples import chunks
from sklearn_mlcl.utils.state import Like, check_tensors


class InputScaler(nn.Module):
    r"""Shift and scale each feature, and bring outliers in smoothly.

    .. math:: f(x) = \frac{u}{\sqrt{1 + (u / c)^2}}, \qquad u = (x - a) \, b

    Parameters
    ----------
    shift : Tensor of shape (n_features,) or (M, 1, n_features)
        The shift a; zeros for sparse input, which stays uncentred. The M members of an ensemble
        may each have their own.
    factor : Tensor of the same shape
        The factor b.
    limit : float or Tensor of the shape of ``shift``, default=None
        The bound c that :math:`|f|` stays below, one or of each feature. None bounds it by 1e18
        alone, whose square float32 still holds.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import InputScaler
    >>> InputScaler(torch.tensor([1.0]), torch.tensor([2.0]))(torch.tensor([[3.0]]))
    tensor([[4.]])
    """

    shift: Tensor
    factor: Tensor
    limit: Tensor | None

    def __init__(self, shift: Tensor, factor: Tensor, limit: Tensor | float | None = None) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("factor", factor)
        self.register_buffer("limit", None if limit is None else torch.as_tensor(limit))

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors fit together."""
        n_members, n_features = self.shift.shape[:-2], self.shift.shape[-1]
        each = Like((*n_members, 1, n_features) if n_members else (n_features,))
        limit = self.limit
        bound = None if limit is None else Like(()) if limit.ndim == 0 else each
        check_tensors(self, {"shift": each, "factor": each, "limit": bound})

    def forward(self, X: Tensor, index: Tensor | None = None) -> Tensor:
        """Return the scaled rows, of the shape of ``X``, by member where each scales for itself.

        ``index`` has the numbers of the features of ``X``; None for all.
        """
        shift, factor, limit = self.shift, self.factor, self.limit
        if index is not None:
            shift, factor = shift.index_select(-1, index), factor.index_select(-1, index)
            limit = limit.index_select(-1, index) if limit is not None and limit.ndim else limit
        # Difference first: shift * factor would cancel badly for a mean far from zero. In place:
        # rows of CSR are wide, and new memory costs more than the arithmetic.
        scaled = (X - shift).mul_(factor)
        if limit is None:
            return scaled.clamp_(-FAR, FAR)
        # What is further out is at the limit, and neither infinite nor squared to infinity.
        u = scaled.div_(limit).clamp_(-FAR, FAR)
        return (u * limit).mul_(u.square().add_(1).rsqrt_())

    @property
    def keeps_zeros(self) -> bool:
        """Whether zeros stay zeros."""
        return not self.shift.any()

    def of_csr(self, X: Any, dtype: Any = None) -> sp.csr_array:
        """Return scaled rows of CSR; zeros have to stay zeros.

        Parameters
        ----------
        X : CSR matrix of shape (n, n_features)
            Rows of floats.
        dtype : dtype, default=None
            Of the result; None is that of ``X``.

        Returns
        -------
        scaled : csr_array of shape (n, n_features)
            A copy.
        """
        scaled = sp.csr_array(X, dtype=dtype, copy=True)
        entries, features = torch.from_numpy(scaled.data), torch.from_numpy(scaled.indices)
        device = self.factor.device
        for part in chunks(scaled.nnz):
            entries[part] = self(entries[part].to(device), features[part].to(device))
        return scaled


class FeatureNoise(nn.Module):
    """Add Gaussian noise to the features during training, and none in evaluation.

    Parameters
    ----------
    scale : float
        Standard deviation of the noise on standardised features.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import FeatureNoise
    >>> FeatureNoise(0.5).eval()(torch.ones(1, 2))
    tensor([[1., 1.]])
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, X: Tensor) -> Tensor:
        """Return the rows, noisy while training, of the shape of ``X``."""
        if not self.training or self.scale == 0:
            return X
        # Members see other samples, or other weights see the same: the noise may be the same.
        noise = standard_normal(X[0] if X.ndim > 2 else X)
        return torch.add(X, noise, alpha=self.scale)


class ScaledEncoder(nn.Module):
    """An encoder behind an :class:`InputScaler`, which sees all of the features or some.

    Parameters
    ----------
    scaler : torch.nn.Module
        The first layer, of all features: an :class:`InputScaler`, or one with bins behind it.
    encoder : torch.nn.Module
        Takes (n, n_kept), returns embeddings of shape (n, n_embedding), or
        (n_members, n, n_embedding).
    noise : FeatureNoise, default=None
        What training does to the scaled features that are kept.
    index : Tensor of shape (n_kept,), int64, default=None
        Numbers of the features that are kept; None keeps all of them.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import InputScaler, MLPEncoder, ScaledEncoder
    >>> scaler = InputScaler(torch.zeros(5), torch.ones(5))
    >>> ScaledEncoder(scaler, MLPEncoder(5, hidden_layer_sizes=(8, 3)))(
    ...     torch.ones(2, 5)
    ... ).shape
    torch.Size([2, 3])
    >>> ScaledEncoder(scaler, torch.nn.Identity(), index=torch.tensor([0, 2]))(
    ...     torch.ones(1, 5)
    ... )
    tensor([[1., 1.]])
    """

    index: Tensor | None

    def __init__(
        self,
        scaler: nn.Module,
        encoder: nn.Module,
        noise: nn.Module | None = None,
        index: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.scaler = scaler
        self.encoder = encoder
        self.noise = nn.Identity() if noise is None else noise
        self.register_buffer("index", index)

    @property
    def columns(self) -> np.ndarray | None:
        """Numbers of the features that are kept; None for all."""
        return None if self.index is None else self.index.cpu().numpy()

    def forward(self, X: Tensor) -> Tensor:
        """Return the embeddings of samples ``X``, which has all features or those that are kept."""
        if self.index is None:
            return self.encoder(self.noise(self.scaler(X)))
        if X.shape[-1] != len(self.index):
            X = X.index_select(-1, self.index)
        return self.encoder(self.noise(self.scaler(X, self.index)))


def embedding_width(module: nn.Module, n_features: Any, n_members: int = 1) -> int:
    """Return the width of what a module makes of rows, found by a pass over two of them.

    Parameters
    ----------
    module : torch.nn.Module
        Should map (n, n_features) to (n, n_embedding).
    n_features : int, Tensor or dict of str to Tensor
        Number of input features, for rows of zeros; or two samples.
    n_members : int, default=1
        Above 1 the module should map to (n_members, n, n_embedding).

    Returns
    -------
    width : int
        Number of entries of an embedding, of one member.

    Raises
    ------
    ValueError
        If the module returns anything else than one vector of float32 a row, or has parameters to
        train and returns vectors without a gradient.

    Examples
    --------
    >>> from sklearn_mlcl.modules import MLPEncoder, embedding_width
    >>> embedding_width(MLPEncoder(5, hidden_layer_sizes=(8, 3)), n_features=5)
    3
    """
    training = module.training
    module.eval()
    samples = n_features
    if isinstance(n_features, int):
        own = (t.dtype for t in (*module.parameters(), *module.buffers()) if t.is_floating_point())
        samples = torch.zeros(2, n_features, dtype=next(own, torch.float32))
    with torch.enable_grad():
        embedding = module(samples)
    module.train(training)
    expected = (2,) if n_members == 1 else (n_members, 2)
    if not isinstance(embedding, Tensor) or embedding.shape[:-1] != expected:
        shape = tuple(getattr(embedding, "shape", ()))
        raise ValueError(
            "module must map n samples to embeddings of shape (n, n_embedding); "
            f"for 2 samples it returned {type(embedding).__name__} of shape {shape}."
        )
    if embedding.dtype not in (torch.float32, torch.get_default_dtype()):
        raise ValueError(
            f"module must return embeddings of torch.float32, got {embedding.dtype}: "
            "end its forward with .float()."
        )
    if not embedding.requires_grad and any(p.requires_grad for p in module.parameters()):
        raise ValueError(
            "module has parameters to train, but its embeddings have no gradient: its forward runs "
            "under torch.no_grad or detaches them. To freeze parameters, call "
            "requires_grad_(False) on them."
        )
    return embedding.shape[-1]


#: Bound on a scaled dense feature, in standard deviations, and on one of CSR, in geometric means of
#: its entries.
LIMIT = 4.0
#: The limit of members whose samples need none, where others have one.
NO_LIMIT = 1e15
#: Scaled values, or limits, beyond so many count as that many, whose square float32 still holds.
FAR = 1e18


#: Root mean square of scaled sparse features, of which most are zero: next to the noise of
#: training they weigh less than standardised ones.
SPARSE_SIZE = 0.5
#: Samples that a sparse feature needs to be brought to the size of others. With fewer, frequent
#: words of small sets of texts get lost among rare ones.
RARE = 300


#: Rows that quartiles are taken from at most, evenly spaced.
QUARTILE_ROWS = 50_000


#: Below it float32 does not hold the factor; such a feature is constant beside others.
SMALLEST_DEVIATION = 1e-37
#: Below it float32 does not hold the limit; such a feature is as good as zero beside others.
SMALLEST_LIMIT = 1e-37


#: Distance of the quartiles of a normal variable, in standard deviations.
NORMAL_QUARTILES = 1.349
ALL = slice(None)


def input_scaler(X: Any, weights: np.ndarray | None, features: slice = ALL) -> InputScaler:
    """Return the layer that brings features to one size; of CSR, those that many samples have.

    A dense feature is centred at its median and divided by what its quartiles say its standard
    deviation is (where they coincide, by mean and deviation themselves); values beyond about LIMIT
    are brought in. Centring would make CSR dense: see :func:`sparse_factors`. Its entries are
    brought in below LIMIT geometric means of their feature, if any goes beyond. ``features`` are
    those of a dense X that are wanted.
    """
    if sp.issparse(X):
        shift, limits = np.zeros(X.shape[1]), LIMIT * typical_sizes(X)
        if not _goes_beyond(X, limits):
            return InputScaler(_float32(shift), _float32(sparse_factors(X, np.inf)))
        factor = sparse_factors(X, limits)
        limit = np.maximum(limits * factor, SMALLEST_LIMIT)
        return InputScaler(*map(_float32, (shift, factor, limit)))
    low, median, high = quantiles(X, weights, (0.25, 0.5, 0.75), features)
    deviation = (high - low) / NORMAL_QUARTILES
    # Quartiles that float32 cannot tell apart coincide: their distance is rounding.
    by_deviation = deviation <= np.finfo(np.float32).eps * np.abs(median)
    if by_deviation.any():
        scaler = StandardScaler()
        for part in chunks(len(X)):
            w = None if weights is None else weights[part]
            scaler.partial_fit(X[part][:, features][:, by_deviation], sample_weight=w)
        median[by_deviation], deviation[by_deviation] = scaler.mean_, scaler.scale_
    factor = 1 / np.maximum(deviation, SMALLEST_DEVIATION)
    return InputScaler(_float32(median), _float32(factor), LIMIT)


def typical_sizes(X: Any) -> np.ndarray:
    """Return the geometric mean of the sizes of the entries of each feature (d,) of CSR.

    A few huge entries hardly move it. A feature without entries gets that of all entries.
    """
    logs, counts = np.zeros((2, X.shape[1]))
    for part in chunks(X.nnz):
        values, features = X.data[part].astype(np.float64), X.indices[part]
        sizes = np.log(np.abs(values, where=values != 0, out=np.ones(len(values))))
        logs += np.bincount(features, sizes, minlength=X.shape[1])
        counts += np.bincount(features, values != 0, minlength=X.shape[1])
    overall = logs.sum() / max(counts.sum(), 1)
    return np.exp(np.where(counts > 0, logs / np.maximum(counts, 1), overall))


def _goes_beyond(X: Any, limits: np.ndarray) -> bool:
    """Return whether an entry of CSR is beyond the limit of its feature.

    If none is, as of indicators of words, a limit would change little and cost time.
    """
    parts = chunks(X.nnz)
    return any((np.abs(X.data[part]) > limits[X.indices[part]]).any() for part in parts)


def sparse_factors(X: Any, limits: np.ndarray | float) -> np.ndarray:
    r"""Return what the features (d,) of CSR are multiplied by; their entries have limits (d,).

    .. math::
        f_j = c \Big(m_j + \frac{300}{n} \bar v^2\Big)^{-1/2}

    Here :math:`m_j` is the mean square of feature j, :math:`\bar v^2` that of the stored entries,
    and c brings the root mean square of all entries to SPARSE_SIZE. So words that hundreds of
    samples have come out equally large, and rare words, which would drown them, as one.
    """
    n_samples, n_features = X.shape
    squares, limits = np.zeros(n_features), np.broadcast_to(limits, n_features)
    for part in chunks(X.nnz):
        values, features = X.data[part].astype(np.float64), X.indices[part]
        values /= np.hypot(1, values / limits[features])
        squares += np.bincount(features, np.square(values), minlength=n_features)
    total = squares.sum()
    if total == 0:
        return np.ones(n_features)
    relative = (squares + RARE * total / X.nnz) ** -0.5
    size = SPARSE_SIZE * np.sqrt(n_samples * n_features / (relative**2 @ squares))
    return relative * size


def quantiles(X: Any, weights: np.ndarray | None, shares: Any, features: slice = ALL) -> np.ndarray:
    """Return the quantiles of dense features, (n_shares, d), each the value of a sample."""
    rows = slice(None, None, ceil(len(X) / QUARTILE_ROWS))
    w = None if weights is None else weights[rows]
    some = np.asarray(X[rows])[:, features]
    return np.quantile(some, shares, axis=0, weights=w, method="inverted_cdf")


def _float32(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


# ---------------------------------------------------------------------- bins

#: Narrower bins, in standard deviations of a feature, say nothing: rounding would be blown up.
SMALLEST_BIN = 0.01


class PiecewiseLinearEncoding(nn.Module):
    r"""Add the position of each feature within each of its bins to the features.

    For a bin of centre c and half-width h the position is

    .. math:: g(x) = \min\Big(\max\Big(\frac{x - c}{h}, -1\Big), 1\Big)

    so -1 below the bin, 1 above it, and a line inside. A linear layer on these positions is a
    piecewise linear function of each feature. So a net learns from few samples effects that rise
    and fall again, or effects of a range. It is the encoding of [1]_ on [-1, 1].

    Parameters
    ----------
    center : Tensor of shape (n_features, n_bins) or (M, 1, n_features, n_bins)
        The centres c. The M members of an ensemble may each have their own bins.
    factor : Tensor of the same shape
        One over the half-widths h; 0 for a bin without values, which says 0.

    References
    ----------
    .. [1] Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in Tabular
       Deep Learning", NeurIPS 2022.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import PiecewiseLinearEncoding
    >>> bins = PiecewiseLinearEncoding(
    ...     torch.tensor([[0.5, 2.0]]), torch.tensor([[2.0, 1.0]])
    ... )
    >>> bins(torch.tensor([[0.25], [2.5]]))  # bins from 0 to 1 and from 1 to 3
    tensor([[ 0.2500, -0.5000, -1.0000],
            [ 2.5000,  1.0000,  0.5000]])
    """

    center: Tensor
    factor: Tensor

    def __init__(self, center: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("factor", factor)

    @property
    def n_outputs(self) -> int:
        """Entries of an encoded sample: each feature, and each of its bins."""
        n_features, n_bins = self.center.shape[-2:]
        return n_features * (1 + n_bins)

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors fit together."""
        shape = tuple(self.center.shape)
        if len(shape) != 2 and (len(shape) != 4 or shape[1] != 1):
            raise ValueError(f"{type(self).__name__}.center has the shape {shape}")
        each = Like(shape)
        check_tensors(self, {"center": each, "factor": each})

    def forward(self, X: Tensor) -> Tensor:
        """Return the features, then the bins of the first feature, of the second, and so on."""
        places = ((X[..., None] - self.center) * self.factor).clamp(-1, 1).flatten(-2)
        return torch.cat([X, places], dim=-1)


def quantile_bins(
    X: np.ndarray, weights: np.ndarray | None, scaler: InputScaler, n_bins: int
) -> PiecewiseLinearEncoding:
    """Return the encoding by bins of equal weight, for features as ``scaler`` leaves them.

    Parameters
    ----------
    X : ndarray or MemmapView of shape (n, d)
        The samples, not scaled. Of many, some are taken, as the scaler does.
    weights : ndarray of shape (n,) or None
        Their weights.
    scaler : InputScaler
        Scales them.
    n_bins : int
        Bins of each feature. Equal values share a bin, so that there may be fewer.
    """
    ends = quantiles(X, weights, np.linspace(0, 1, n_bins + 1)).astype(np.float64)
    with torch.inference_mode():
        edges = scaler(torch.from_numpy(ends)).numpy().T
    low, high = edges[:, :-1], edges[:, 1:]
    half = (high - low) / 2
    factor = np.divide(1, half, out=np.zeros_like(half), where=2 * half > SMALLEST_BIN)
    tensors = (torch.from_numpy(part.astype(np.float32)) for part in (low + half, factor))
    return PiecewiseLinearEncoding(*tensors)
