"""Mixtures of diagonal Gaussians, one mixture a row: densities and divergences.

A row's mixture has equal weights on some of K Gaussians, marked in an indicator matrix ``members``
(B, K). Only marked pairs are computed: nothing of shape (B, K, D) is ever built. A row without a
member has no mixture; what it is given is 0, and nothing flows back from it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_mlcl.utils.runtime import standard_normal


def gaussian_log_density(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    r"""Log density of diagonal Gaussians, up to the constant :math:`-\frac D2 \log 2\pi`.

    .. math:: -\tfrac12 \sum_k \big[ \log\sigma_k^2 + (z_k - \mu_k)^2 / \sigma_k^2 \big]

    Parameters
    ----------
    z, mean, log_var : Tensor of shape (..., D)
        Points, means and logarithms of variances; broadcast against each other.

    Returns
    -------
    Tensor of shape (...)
        In nats.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import gaussian_log_density
    >>> gaussian_log_density(torch.ones(2), torch.zeros(2), torch.zeros(2))
    tensor(-1.)
    """
    return -0.5 * (log_var + (z - mean).square() * torch.exp(-log_var)).sum(-1)


def mixture_log_density(z: Tensor, means: Tensor, log_vars: Tensor, members: Tensor) -> Tensor:
    r"""Log density of each row under the mixture of its members.

    .. math::
        \log p(z_b) = \log \tfrac{1}{|P_b|} \sum_{l \in P_b}
        \mathcal N(z_b; \mu_l, \operatorname{diag} \sigma_l^2)

    Parameters
    ----------
    z : Tensor of shape (B, D)
        One point a row.
    means, log_vars : Tensor of shape (K, D)
        The Gaussians.
    members : bool Tensor of shape (B, K)
        The Gaussians of each row.

    Returns
    -------
    Tensor of shape (B,)
        In nats, without the constant of :func:`gaussian_log_density`; 0 for a row without members.

    References
    ----------
    .. [1] J. Bai, S. Kong, C. P. Gomes, "Gaussian Mixture Variational Autoencoder with
       Contrastive Learning for Multi-Label Classification", ICML 2022.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import mixture_log_density
    >>> z, means = torch.zeros(2, 1), torch.tensor([[0.0], [2.0]])
    >>> mixture_log_density(
    ...     z, means, torch.zeros(2, 1), torch.tensor([[1, 0], [0, 1]]).bool()
    ... )
    tensor([ 0., -2.])
    """
    rows, components = members.nonzero(as_tuple=True)
    density = gaussian_log_density(z[rows], means[components], log_vars[components])
    return log_mean_exp(density, rows, len(members))


def gaussian_kl(mean: Tensor, log_var: Tensor, other_mean: Tensor, other_log_var: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of diagonal Gaussians, :math:`KL(q \| p)`.

    .. math::
        \tfrac12 \sum_k \big[ \log\sigma_{pk}^2 - \log\sigma_{qk}^2
        + (\sigma_{qk}^2 + (\mu_{qk} - \mu_{pk})^2) / \sigma_{pk}^2 - 1 \big]

    Parameters
    ----------
    mean, log_var : Tensor of shape (..., D)
        The Gaussian q.
    other_mean, other_log_var : Tensor of shape (..., D)
        The Gaussian p.

    Returns
    -------
    Tensor of shape (...)
        In nats.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import gaussian_kl
    >>> zero = torch.zeros(3)
    >>> gaussian_kl(zero + 1, zero, zero, zero)
    tensor(1.5000)
    """
    # The variance ratio as one exponential: neither variance is formed, so neither overflows.
    ratio = torch.exp(log_var - other_log_var)
    distance = (mean - other_mean).square() * torch.exp(-other_log_var)
    return 0.5 * (other_log_var - log_var + ratio + distance - 1.0).sum(-1)


def mixture_kl_bounds(
    mean: Tensor, log_var: Tensor, means: Tensor, log_vars: Tensor, members: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Closed-form bounds on the divergence from a Gaussian to a mixture of Gaussians.

    With :math:`K_l = KL(q \| \mathcal N_l)` and :math:`H(q)` the entropy of q,

    .. math::
        -H(q) - \log \tfrac{1}{|P|} \sum_{l \in P} \mathcal N(\mu; \mu_l, \sigma^2 + \sigma_l^2)
        \le KL(q \| p) \le -\log \tfrac{1}{|P|} \sum_{l \in P} e^{-K_l}
        \le \tfrac{1}{|P|} \sum_{l \in P} K_l

    Parameters
    ----------
    mean, log_var : Tensor of shape (B, D)
        The Gaussian q of each row.
    means, log_vars : Tensor of shape (K, D)
        The Gaussians of the mixtures.
    members : bool Tensor of shape (B, K)
        The Gaussians of each row's mixture p.

    Returns
    -------
    lower, variational, jensen : Tensor of shape (B,)
        In nats; 0 for a row without members. The lower bound is of little use in many dimensions.

    References
    ----------
    .. [1] J. R. Hershey, P. A. Olsen, "Approximating the Kullback Leibler divergence between
       Gaussian mixture models", ICASSP 2007.
    .. [2] J.-L. Durrieu, J.-P. Thiran, F. Kelly, "Lower and upper bounds for approximation of the
       Kullback-Leibler divergence between Gaussian mixture models", ICASSP 2012.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import mixture_kl_bounds
    >>> q = torch.zeros(1, 2), torch.zeros(1, 2)
    >>> means, log_vars = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2)
    >>> bounds = mixture_kl_bounds(
    ...     *q, means, log_vars, torch.ones(1, 2, dtype=torch.bool)
    ... )
    >>> [round(bound.item(), 2) for bound in bounds]
    [0.25, 0.99, 1.25]
    """
    rows, components = members.nonzero(as_tuple=True)
    q, p = (mean[rows], log_var[rows]), (means[components], log_vars[components])
    divergence = gaussian_kl(*q, *p)
    n_rows = len(members)
    overlap = gaussian_log_density(q[0], p[0], torch.logaddexp(q[1], p[1]))
    entropy = 0.5 * (log_var + 1.0).sum(-1) * members.any(1)
    return (
        -entropy - log_mean_exp(overlap, rows, n_rows),
        -log_mean_exp(-divergence, rows, n_rows),
        segment_mean(divergence, rows, n_rows),
    )


def mixture_kl(
    mean: Tensor,
    log_var: Tensor,
    means: Tensor,
    log_vars: Tensor,
    members: Tensor,
    *,
    estimator: str = "mc",
) -> Tensor:
    r"""Divergence from the Gaussian of each row to the mixture of its members.

    Parameters
    ----------
    mean, log_var : Tensor of shape (B, D)
        The Gaussian q of each row.
    means, log_vars : Tensor of shape (K, D)
        The Gaussians of the mixtures.
    members : bool Tensor of shape (B, K)
        The Gaussians of each row's mixture p.
    estimator : {"mc", "variational"}, default="mc"
        One draw z of q and :math:`\log q(z) - \log p(z)`, which is unbiased and may be negative;
        or the variational upper bound of :func:`mixture_kl_bounds`. The draw is from torch's global
        generator; in a fit of an estimator, from that of the fit.

    Returns
    -------
    Tensor of shape (B,)
        In nats; 0 for a row without members.

    Raises
    ------
    ValueError
        If there is no such estimator.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import mixture_kl
    >>> zero, member = torch.zeros(1, 3), torch.ones(1, 1, dtype=torch.bool)
    >>> mixture_kl(zero + 1, zero, zero, zero, member, estimator="variational")
    tensor([1.5000])
    """
    if estimator == "variational":
        rows, components = members.nonzero(as_tuple=True)
        divergence = gaussian_kl(mean[rows], log_var[rows], means[components], log_vars[components])
        return -log_mean_exp(-divergence, rows, len(members))
    if estimator != "mc":
        raise ValueError(f'estimator must be "mc" or "variational", got {estimator!r}.')
    z = gaussian_sample(mean, log_var)
    posterior = gaussian_log_density(z, mean, log_var) * members.any(1)
    return posterior - mixture_log_density(z, means, log_vars, members)


def gaussian_sample(mean: Tensor, log_var: Tensor) -> Tensor:
    """One draw of each diagonal Gaussian, differentiable in its parameters."""
    return mean + torch.exp(0.5 * log_var) * standard_normal(mean)


def segment_mean(values: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """Mean over the entries of each row of ``values`` (P, ...); 0 for a row without entries."""
    total = values.new_zeros(n_rows, *values.shape[1:]).index_add(0, rows, values)
    count = rows.bincount(minlength=n_rows).clamp(min=1).to(values.dtype)
    return total / count.reshape(-1, *(1,) * (values.ndim - 1))


def log_mean_exp(values: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """Logarithm of the mean exponential of each row's entries; 0 for a row without entries."""
    top = values.new_zeros(n_rows).scatter_reduce(
        0, rows, values.detach(), "amax", include_self=False
    )
    mean = segment_mean(torch.exp(values - top[rows]), rows, n_rows)
    empty = mean.detach() == 0
    return top + torch.log(mean + empty)
