"""Mixup: rows between the rows."""

from __future__ import annotations

import torch

from sklearn_mlcl.training.batches import Batch


def mixed(batch: Batch, alpha: float) -> Batch:
    r"""Mix every row of a batch with another one, features and labels alike.

    .. math::
        x_i' = \lambda_i x_i + (1 - \lambda_i) x_{\pi(i)}, \qquad
        y_i' = \lambda_i y_i + (1 - \lambda_i) y_{\pi(i)}

    with a permutation :math:`\pi` and :math:`\max(\lambda_i, 1 - \lambda_i)` in place of
    :math:`\lambda_i \sim \mathrm{Beta}(\alpha, \alpha)`, so that a row keeps the larger share and
    its weight. A label that is unknown in one of the two is unknown in the mixture. Weights of
    cells are mixed like the features, :math:`w' = \lambda w_i + (1 - \lambda) w_{\pi(i)}`, and
    labels by their share of it, so that the weighted loss of a mixed cell is the mixture of the
    weighted losses that its two labels would have.

    Parameters
    ----------
    batch : (Tensor of shape (B, d), (Tensor of shape (B, L), Tensor or None))
        Features, labels and weights, the last of shape (B,) or (B, L).
    alpha : float
        Above 0; 1 draws uniformly, smaller values stay closer to the rows.

    Returns
    -------
    batch : tuple
        Of the same shapes, the labels in the dtype of the features.

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
    alphas = torch.full((len(X), 1), alpha, device=X.device)
    share = torch.distributions.Beta(alphas, alphas, validate_args=False).sample()
    share = torch.maximum(share, 1 - share).to(X.dtype)
    other = torch.randperm(len(X), device=X.device)
    Y, X_mixed = labels.to(X.dtype), X[other].lerp(X, share)
    if sample_weight is None or sample_weight.ndim == 1:
        return X_mixed, (Y[other].lerp(Y, share), sample_weight)
    w, wY = sample_weight, sample_weight * Y
    weight = w[other].lerp(w, share)
    mixed_labels = wY[other].lerp(wY, share) / weight.clamp_min(torch.finfo(w.dtype).tiny)
    return X_mixed, (mixed_labels.clamp_max(1.0), weight)
