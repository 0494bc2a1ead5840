"""Where the value of a feature lies among its quantiles, as input of a net."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_mlcl.modules._scaling import InputScaler, quantiles
from sklearn_mlcl.utils.state import Like, check_tensors

#: Narrower bins, in standard deviations of a feature, say nothing: rounding would be blown up.
SMALLEST_BIN = 0.01


class PiecewiseLinearEncoding(nn.Module):
    r"""Put beside each feature where it lies in each of its bins.

    For a bin of centre c and half-width h that is

    .. math:: g(x) = \min\Big(\max\Big(\frac{x - c}{h}, -1\Big), 1\Big)

    so -1 below the bin, 1 above it, and a line inside. A linear layer of these is a piecewise
    linear function of each feature: a net learns effects that rise and fall again, or that lie
    between two thresholds, from few samples. It is the encoding of [1]_ on [-1, 1].

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
