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
    its weight. A label that is unknown in one of the two is unknown in the mixture.

    Parameters
    ----------
    batch : (Tensor of shape (B, d), (Tensor of shape (B, L), Tensor of shape (B,) or None))
        Features, labels and weights.
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
    Y = labels.to(X.dtype)
    return X[other].lerp(X, share), (Y[other].lerp(Y, share), sample_weight)
