"""How embeddings lie on the sphere: alignment, uniformity, positive-regularisation ratio."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

_BLOCK = 512


def alignment(
    embeddings: ArrayLike | torch.Tensor,
    labels: ArrayLike | torch.Tensor,
    *,
    exponent: float = 2.0,
    weighting: str = "any",
) -> float:
    r"""Mean distance of positive pairs, :math:`E_{(i,j) \in pos} \|z_i - z_j\|^a`.

    Pairs are streamed by blocks of rows; no array of all pairs is built.

    Parameters
    ----------
    embeddings : array-like of shape (n, d)
        Divided by their length first.
    labels : array-like of shape (n, L)
        Indicator matrix; a pair is judged on the labels known (not NaN) in both rows.
    exponent : float, default=2
        The power a.
    weighting : {"any", "jaccard"}, default="any"
        Which pairs are positive: those that share a label, counted alike, or weighted by the
        Jaccard similarity of their label sets.

    Returns
    -------
    float
        0 when positives coincide, at most ``2 ** exponent``; NaN without a positive pair.

    Raises
    ------
    ValueError
        If the numbers of rows differ or ``weighting`` is unknown.

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
    z, Y = _unit(embeddings), _array(labels)
    if len(Y) != len(z):
        raise ValueError(f"embeddings has {len(z)} rows but labels has {len(Y)}")
    if weighting not in ("any", "jaccard"):
        raise ValueError(f"weighting must be 'any' or 'jaccard', got {weighting!r}")
    total = mass = 0.0
    for rows in _blocks(len(z)):
        weight = np.triu(_jaccard(Y[rows], Y), k=rows.start + 1)
        if weighting == "any":
            weight = (weight > 0).astype(z.dtype)
        total += float(np.sum(weight * _squared_distances(z[rows], z) ** (exponent / 2)))
        mass += float(weight.sum())
    return total / mass if mass > 0 else float("nan")


def uniformity(embeddings: ArrayLike | torch.Tensor, *, t: float = 2.0) -> float:
    r"""Log of the mean Gaussian potential, :math:`\log E_{i<j} e^{-t \|z_i - z_j\|^2}`.

    Pairs are streamed by blocks of rows through a log-sum-exp; no array of all pairs is built.

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
        If there are fewer than two rows.

    References
    ----------
    Wang and Isola, ICML 2020, equation 2.

    Examples
    --------
    >>> from sklearn_mlcl.representation import uniformity
    >>> uniformity([[1, 0], [-3, 0]])
    -8.0
    """
    z = _unit(embeddings)
    n = len(z)
    if n < 2:
        raise ValueError(f"embeddings must have at least 2 rows, got {n}")
    partial = []
    for rows in _blocks(n - 1):
        potential = -t * _squared_distances(z[rows], z)
        above = np.triu(np.ones(potential.shape, dtype=bool), k=rows.start + 1)
        partial.append(logsumexp(potential[above]))
    return float(logsumexp(partial) - np.log(n * (n - 1) / 2))


def positive_regularization_ratio(
    points: ArrayLike | torch.Tensor,
    weights: ArrayLike | torch.Tensor,
    *,
    temperature: float,
    candidates: ArrayLike | torch.Tensor | None = None,
    repulsion: ArrayLike | torch.Tensor | None = None,
) -> float:
    r"""Share of positive pairs whose gradient the clamp of the regularised loss removes.

    A positive pair (:math:`W_{ij} > 0`) is pushed apart by plain cross-entropy when
    :math:`\bar W_i \pi_{ij} > W_{ij}`, with
    :math:`\pi_{ij} = b_j e^{s_{ij}} / \sum_{k \ne i} b_k e^{s_{ik}}` and :math:`s` the cosine over
    the temperature.

    Parameters
    ----------
    points : array-like of shape (n, d)
        Embeddings, then queue, then prototypes, as in the columns of ``weights``; divided by their
        length first.
    weights : array-like of shape (n_anchors, n)
        W, from ``pair_weights`` of a loss; its anchors are the first ``n_anchors`` points.
    temperature : float
        Temperature of the loss.
    candidates : array-like of shape (n_candidates, d), optional
        The points behind the columns of ``weights`` where these are not the anchors themselves
        (prototypes, for the prototype loss).
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
    >>> positive_regularization_ratio([[1, 0], [0.8, 0.6], [0, 1]], W, temperature=0.5)
    0.25
    """
    z, W = _unit(points), _array(weights)
    columns = z if candidates is None else _unit(candidates)
    if W.ndim != 2 or W.shape[1] != len(columns):
        raise ValueError(f"weights must have {len(columns)} columns, got shape {W.shape}")
    b = np.ones(len(columns)) if repulsion is None else _array(repulsion)
    repelled = positives = 0
    for rows in _blocks(len(W)):
        s = z[rows] @ columns.T / temperature
        if candidates is None:
            s[np.arange(len(s)), np.arange(rows.start, rows.stop)] = -np.inf
        # A row with no other candidate has no positive either; its sums are not looked at.
        top = s.max(axis=1, keepdims=True, initial=-1.0 / temperature)
        share = b * np.exp(s - top)
        share /= np.maximum(share.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        target, positive = W[rows], W[rows] > 0
        repelled += int(np.sum(positive & (target.sum(1, keepdims=True) * share > target)))
        positives += int(positive.sum())
    return repelled / positives if positives else float("nan")


def _array(x: ArrayLike | torch.Tensor) -> NDArray[np.float64]:
    if isinstance(x, torch.Tensor):
        x = x.detach().to("cpu", torch.float64).numpy()
    return np.asarray(x, dtype=np.float64)


def _unit(vectors: ArrayLike | torch.Tensor) -> NDArray[np.float64]:
    x = _array(vectors)
    if x.ndim != 2:
        raise ValueError(f"embeddings must have shape (n, d), got {x.shape}")
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK):
        yield slice(start, min(start + _BLOCK, n))


def _squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """|a - b|^2 between vectors of length 1 or 0."""
    squares = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)
    return np.maximum(squares - 2.0 * (a @ b.T), 0.0)


def _jaccard(A: NDArray[np.float64], B: NDArray[np.float64]) -> NDArray[np.float64]:
    known_a, known_b = (~np.isnan(A)).astype(A.dtype), (~np.isnan(B)).astype(B.dtype)
    a, b = np.nan_to_num(A), np.nan_to_num(B)
    intersection = a @ b.T
    return intersection / np.maximum(a @ known_b.T + known_a @ b.T - intersection, 1.0)
