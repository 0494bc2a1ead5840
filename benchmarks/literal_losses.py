"""The regularised loss exactly as its formula reads, with the three-way (n, n, L) tensor.

An oracle and the yardstick of ``bench_losses.py``; written from the formulas of arXiv 2412.00101:
rows and columns are batch and prototypes, A = [Y; I].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def literal_regularized_loss(
    embeddings: Tensor, labels: Tensor, prototypes: Tensor, *, alpha: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy part, and the value whose autograd gradient is the clamped one."""
    dtype = embeddings.dtype
    A = torch.cat([labels.to(dtype), torch.eye(len(prototypes), dtype=dtype)])
    points = normalize(torch.cat([embeddings, prototypes]))
    others = 1.0 - torch.eye(len(A), dtype=dtype)
    shared = A[:, None, :] * A[None, :, :]
    r = shared.sum(2) / A.sum(1)
    f = (r**alpha if alpha >= 0 else (r == 1).to(dtype)) * others
    on_label = shared * f[:, :, None]
    N = on_label.sum(1)
    per_label = on_label / torch.where(N > 0, N, 1.0)[:, None, :]
    W = per_label.sum(2) / A.sum(1, keepdim=True)
    s = (points @ points.T / temperature).masked_fill(others == 0, -1e30)
    log_sigma = s.log_softmax(1)
    cross_entropy = -(W * log_sigma).sum(1)
    excess = (log_sigma.exp() - W).relu().detach() * (W > 0)
    active = W.sum(1) > 0
    value = cross_entropy[active].mean()
    return value.detach(), value - (excess * s).sum(1)[active].mean()
