"""Mixup: rows between the rows."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from sklearn_mlcl.training.batches import Batch


def mixed(batch: Batch, alpha: float) -> Batch:
    r"""Mix every row of a batch with another one, features and labels alike.

    .. math::
        x_i' = \lambda_i x_i + (1 - \lambda_i) x_{\pi(i)}, \qquad
        y_i' = \lambda_i y_i + (1 - \lambda_i) y_{\pi(i)}

    with a permutation :math:`\pi` and :math:`\max(\lambda_i, 1 - \lambda_i)` in place of
    :math:`\lambda_i \sim \mathrm{Beta}(\alpha, \alpha)`, so that a row keeps the larger share.
    Weights are mixed too, :math:`w' = \lambda w_i + (1 - \lambda) w_{\pi(i)}`, and labels by their
    share of it: a loss that is linear in the labels, weighted by :math:`w'`, is the mixture of the
    weighted losses of the two labels. An unknown label has the weight 0, so that the other one is
    the label of the mixture, at its share of the weight.

    Parameters
    ----------
    batch : (Tensor of shape (B, d), (Tensor of shape (B, L), Tensor or None))
        Features, labels and weights, the last of shape (B,) or (B, L).
    alpha : float
        Above 0; 1 draws uniformly, smaller values stay closer to the rows.

    Returns
    -------
    batch : tuple
        Of the same shapes, the labels in the dtype of the features; where labels came as floats,
        which may hold NaN, the weights are those of cells, (B, L).

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
    # As torch.distributions.Beta draws it, whose layers above this cost twice the drawing.
    share = torch._sample_dirichlet(torch.full((len(X), 2), alpha, device=X.device))[:, :1]
    share = torch.maximum(share, 1 - share).to(X.dtype)
    other = torch.randperm(len(X), device=X.device)
    mix = partial(_mix, share=share, other=other)
    Y, w = labels.to(X.dtype), _cell_weights(labels, sample_weight)
    if w is None:
        return mix(X), (mix(Y), None)
    w = w.to(X.dtype)
    weight = mix(w)
    # Weighted labels mix linearly; a cell of which nothing is known becomes NaN again.
    Y = torch.where(weight > 0, mix(w * Y.nan_to_num(nan=0.0)) / weight, torch.nan).clamp_max(1.0)
    return mix(X), (Y, weight if weight.shape == Y.shape else weight[:, 0])


def _mix(x: Tensor, share: Tensor, other: Tensor) -> Tensor:
    return x.index_select(0, other).lerp(x, share)


def _cell_weights(labels: Tensor, sample_weight: Tensor | None) -> Tensor | None:
    """Weights (B, 1) or (B, L), 0 where unknown; None where all are known and weigh 1."""
    w = sample_weight
    if w is not None and w.ndim == 1:
        w = w[:, None]
    if not labels.is_floating_point():
        return w
    known = ~labels.isnan()
    return known.to(labels.dtype) if w is None else known * w
