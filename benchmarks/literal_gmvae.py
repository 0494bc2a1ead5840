"""A training step of C-GMVAE as the authors' code computes it, the yardstick of ``bench_cgmvae``.

Written from the description of the released model: an L x L identity is fed to the label encoder,
the mixture is broadcast to (B, L, D), each code has a decoder pass and a product with the label
embeddings of its own, the contrastive term has further ones and a product with the identity.
Weights are those of a :class:`sklearn_mlcl.modules.GaussianMixtureVAE`, so that the value is its.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_mlcl.modules import GaussianMixtureVAE

FAR = -1e6


def broadcast_log_density(z: Tensor, means: Tensor, variances: Tensor, labels: Tensor) -> Tensor:
    """Log density (B,) of the mixture of each row's labels, through a tensor (B, L, D)."""
    squares = (z[:, None] - means[None]).square() / variances[None]
    density = -0.5 * (torch.log(variances)[None] + squares).sum(-1)
    return torch.logsumexp(density + FAR * (1 - labels), dim=1) - torch.log(labels.sum(1))


def decode(model: GaussianMixtureVAE, x: Tensor, z: Tensor) -> Tensor:
    """Embeddings (B, E) of one code a row, x and z side by side."""
    decoder = model.decoder
    assert decoder.from_features is not None
    weight = torch.cat([decoder.from_features.weight, decoder.from_latent.weight], dim=1)
    hidden = torch.cat([x, z], dim=1) @ weight.T + decoder.from_latent.bias
    u = torch.nn.functional.leaky_relu(decoder.output(decoder.activation(hidden)), 0.01)
    return u / u.norm(dim=1, keepdim=True).clamp_min(1e-12)


def literal_loss(
    model: GaussianMixtureVAE, X: Tensor, labels: Tensor, *, lambda_kl: float = 6.0
) -> Tensor:
    """Half of three cross-entropies, the divergence and the contrastive term; floating labels."""
    identity = torch.eye(labels.shape[1])
    lookup = identity @ model.label_embeddings
    means, log_vars = model.to_label_gaussian(model.label_encoder(lookup + model.label_offset))
    variances = torch.exp(log_vars)
    mean, log_var = model.posterior(X)
    deviation = torch.exp(0.5 * log_var)
    z1, z2, z0 = (mean + deviation * torch.randn_like(mean) for _ in range(3))
    posterior = -0.5 * (torch.log(deviation**2) + ((z0 - mean) / deviation).square()).sum(1)
    kl = (posterior - broadcast_log_density(z0, means, variances, labels)).mean()
    embeddings = [decode(model, X, z1), decode(model, X, z2)]
    embeddings.append(decode(model, X, labels @ means / labels.sum(1, keepdim=True)))
    value = lambda_kl * kl + _contrast(model, [embeddings[0], embeddings[2]], labels, identity)
    for embedding in embeddings:
        p = torch.sigmoid(embedding @ model.label_embeddings.T)
        log_likelihood = labels * torch.log(p) + (1 - labels) * torch.log(1 - p)
        value = value - 0.5 * log_likelihood.sum(1).mean()
    return value


def _contrast(
    model: GaussianMixtureVAE, anchors: list[Tensor], labels: Tensor, identity: Tensor
) -> Tensor:
    positive = torch.cat([labels, labels]) @ identity
    logits = torch.cat(anchors) @ model.label_embeddings.T
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    log_p = logits - torch.log(torch.exp(logits).sum(1, keepdim=True))
    return -((positive * log_p).sum(1) / positive.sum(1)).mean()
