"""How embeddings lie on the sphere: alignment, uniformity, positive-regularisation ratio."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike
from sklearn.utils import gen_batches
from torch import Tensor

from sklearn_mlcl.utils.parameters import ABOVE_0, check_arguments
from sklearn_mlcl.utils.targets import as_array, as_label_matrix
from sklearn_mlcl.utils.validation import as_floats

# Samples whose pairs are looked at together.
_BLOCK = 512
# A shorter vector has no direction.
_SHORTEST = 1e-12


def alignment(
    embeddings: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    *,
    exponent: float = 2.0,
) -> float:
    r"""Mean distance of positive pairs, :math:`E_{(i,j) \in pos} \|z_i - z_j\|^a`.

    Pairs are read by blocks of samples; no array of all pairs is built.

    Parameters
    ----------
    embeddings : array-like of shape (n, d)
        Divided by their length first.
    labels : {array-like, sparse matrix} of shape (n, L)
        Indicator matrix.  A pair is positive if the two share a label; NaN marks a missing label.
    exponent : float, default=2
        The power a.

    Returns
    -------
    float
        0 when positives coincide, at most ``2 ** exponent``; NaN without a positive pair.

    Raises
    ------
    ValueError
        If the numbers of samples differ, or labels have other entries than 0, 1 and NaN.

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", ICML 2020, equation 1.

    Examples
    --------
    >>> from sklearn_mlcl.representation import alignment
    >>> alignment([[1, 0], [0, 2], [-1, 0]], [[1, 0], [1, 1], [0, 0]])
    2.0
    """
    check_arguments("alignment", exponent=(exponent, ABOVE_0))
    z, Y = _unit(embeddings), _labels(labels)
    if len(Y) != len(z):
        raise ValueError(f"embeddings has {len(z)} rows but labels has {len(Y)}")
    Y = (Y > 0).to(z.dtype)
    total = mass = 0.0
    for rows in gen_batches(len(z), _BLOCK):
        weight = (Y[rows] @ Y.T).sign().triu(rows.start + 1)
        total += (weight * _squared_distances(z[rows], z).pow_(exponent / 2)).sum().item()
        mass += weight.sum().item()
    return total / mass if mass > 0 else float("nan")


def uniformity(embeddings: ArrayLike | Tensor, *, t: float = 2.0) -> float:
    r"""Log of the mean Gaussian potential, :math:`\log E_{i<j} e^{-t \|z_i - z_j\|^2}`.

    Pairs are read by blocks of samples; no array of all pairs is built.

    Parameters
    ----------
    embeddings : array-like of shape (n, d)
        Divided by their length first; n >= 2.
    t : float, default=2
        Sharpness of the potential.

    Returns
    -------
    float
        0 when all embeddings coincide, lower the more evenly they fill the sphere.

    Raises
    ------
    ValueError
        If there are fewer than two samples.

    References
    ----------
    Wang and Isola, ICML 2020, equation 2.

    Examples
    --------
    >>> from sklearn_mlcl.representation import uniformity
    >>> uniformity([[1, 0], [-3, 0]])
    -8.0
    """
    check_arguments("uniformity", t=(t, ABOVE_0))
    z = _unit(embeddings)
    n = len(z)
    if n < 2:
        raise ValueError(f"embeddings must have at least 2 rows, got {n}")
    partial = []
    for rows in gen_batches(n - 1, _BLOCK):
        squares = _squared_distances(z[rows], z)
        above = torch.ones_like(squares, dtype=torch.bool).triu(rows.start + 1)
        partial.append((-t * squares[above]).logsumexp(0))
    return torch.stack(partial).logsumexp(0).item() - log(n * (n - 1) / 2)


def positive_regularization_ratio(
    points: ArrayLike | Tensor,
    weights: ArrayLike | Tensor,
    *,
    temperature: float,
    candidates: ArrayLike | Tensor | None = None,
    repulsion: ArrayLike | Tensor | None = None,
) -> float:
    r"""Share of positive pairs that repel, whose gradient the regularised loss removes.

    A positive pair (:math:`W_{ij} > 0`) is pushed apart by plain cross-entropy when
    :math:`\bar W_i \pi_{ij} > W_{ij}`, with
    :math:`\pi_{ij} = b_j e^{s_{ij}} / \sum_{k \ne i} b_k e^{s_{ik}}` and :math:`s` the cosine over
    the temperature.

    Parameters
    ----------
    points : array-like of shape (n, d)
        Embeddings, then queue, then prototypes, as in the columns of ``weights``.  They are
        divided by their length first.
    weights : array-like of shape (n_anchors, n)
        W, from ``pair_weights`` of a loss; its anchors are the first ``n_anchors`` points.
    temperature : float
        Temperature of the loss.
    candidates : array-like of shape (n_candidates, d), optional
        The points of the columns of ``weights`` where these are not ``points`` (the prototypes,
        for the prototype loss).
    repulsion : array-like of shape (n_candidates,), optional
        Repulsion b of each column; 1 by default.

    Returns
    -------
    float
        Between 0 and 1; NaN without a positive pair.

    Raises
    ------
    ValueError
        If the columns of ``weights`` do not match the candidates.

    References
    ----------
    Audibert, Gauffre and Amini, "Multi-label contrastive learning: a comprehensive study",
    arXiv 2412.00101.  The definition here is a working one.

    Examples
    --------
    >>> from sklearn_mlcl.representation import positive_regularization_ratio
    >>> W = [[0, 0.5, 0.5], [1, 0, 0], [1, 0, 0]]
    >>> positive_regularization_ratio(
    ...     [[1, 0], [0.8, 0.6], [0, 1]], W, temperature=0.5
    ... )
    0.25
    """
    check_arguments("positive_regularization_ratio", temperature=(temperature, ABOVE_0))
    z, W = _unit(points, "points"), _tensor(weights, "weights")
    columns = z if candidates is None else _unit(candidates, "candidates")
    if W.ndim != 2 or W.shape[1] != len(columns):
        raise ValueError(f"weights must have {len(columns)} columns, got shape {tuple(W.shape)}")
    log_b = torch.zeros(()) if repulsion is None else _tensor(repulsion, "repulsion").log()
    if log_b.shape not in ((), (len(columns),)) or log_b.isnan().any():
        raise ValueError(
            f"repulsion must have {len(columns)} numbers that are not negative, got {repulsion!r}"
        )
    repelled = positives = 0
    for rows in gen_batches(len(W), _BLOCK):
        s = z[rows] @ columns.T / temperature + log_b
        if candidates is None:
            s.diagonal(rows.start).fill_(-torch.inf)
        # NaN for an anchor without another candidate, which has no positive either.
        share = s.softmax(1)
        target, positive = W[rows], W[rows] > 0
        repelled += int((positive & (target.sum(1, keepdim=True) * share > target)).sum())
        positives += int(positive.sum())
    return repelled / positives if positives else float("nan")


def _tensor(x: ArrayLike | Tensor, name: str) -> Tensor:
    """Return finite numbers in float64."""
    if isinstance(x, Tensor):
        x = x.detach().to("cpu", torch.float64).numpy()
    if np.ma.is_masked(x):
        raise ValueError(f"{name} must have no masked entries.")
    values = as_floats(as_array(x), name)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity.")
    return torch.tensor(values)


def _labels(labels: ArrayLike | Tensor) -> Tensor:
    if isinstance(labels, Tensor):
        labels = labels.detach().to("cpu", torch.float64).numpy()
    Y: Any = as_label_matrix(labels, name="labels")
    return torch.tensor(np.asarray(Y.toarray() if sp.issparse(Y) else Y, dtype=np.float64))


def _unit(vectors: ArrayLike | Tensor, name: str = "embeddings") -> Tensor:
    x = _tensor(vectors, name)
    if x.ndim != 2:
        raise ValueError(f"{name} must have shape (n, d), got {tuple(x.shape)}")
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return torch.where(length > _SHORTEST, x / length, 0.0)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|^2 of vectors of length 1 or 0."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)
    return squares.sub_(2.0 * (a @ b.T)).clamp_min_(0.0)
