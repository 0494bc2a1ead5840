"""Linear heads that start at the log-odds of the labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.modules import ETFLinear, StackedLinear, linear

Head = nn.Linear | StackedLinear | ETFLinear


def linear_head(n_embedding: int, log_odds: np.ndarray, n_members: int = 1) -> Head:
    """Return the trained head of one net, or of the members of an ensemble.

    Parameters
    ----------
    n_embedding : int
        Width of the embedding of a member.
    log_odds : ndarray of shape (L,) or (M, L)
        Log-odds of each label in the training samples, or in those of each member, where the
        biases start.
    n_members : int, default=1
        Number of members M.
    """
    head = linear(n_embedding, log_odds.shape[-1], n_members)
    start = np.broadcast_to(log_odds, (n_members, log_odds.shape[-1]))
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(start.flatten()))
    return head


def etf_head(n_embedding: int, log_odds: np.ndarray, learn_scale: bool) -> ETFLinear:
    """Return a head whose weight is a fixed simplex ETF.

    Parameters
    ----------
    n_embedding : int
        Width of the embedding, at least the number of logits less one.
    log_odds : ndarray of shape (L,)
        Log-odds of each label in the training samples, where the biases start.
    learn_scale : bool
        Learn the common norm of the rows of the weight.
    """
    head = ETFLinear(
        n_embedding,
        len(log_odds),
        scale=10.0 if learn_scale else 1.0,
        learn_scale=learn_scale,
        random_state=int(torch.randint(2**31 - 1, (1,))),
    )
    head.bias = nn.Parameter(torch.as_tensor(log_odds, dtype=torch.float32))
    return head


def logits_of(head: Head, embedding: Tensor, labels: Tensor) -> Tensor:
    """Return the logits of some labels, by number."""
    if isinstance(head, StackedLinear):
        bias = head.bias.view(head.n_members, 1, head.n_out).index_select(-1, labels)
        return torch.baddbmm(bias, embedding, head.weight.index_select(-1, labels))
    weight, bias = head.weight, head.get_parameter("bias")
    return functional.linear(
        embedding, weight.index_select(0, labels), bias.index_select(0, labels)
    )


def head_arrays(head: Head, n_members: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (M, L, h) and intercepts (M, L) of a head, by member."""
    weight, bias = (
        tensor.detach().cpu().numpy() for tensor in (head.weight, head.get_parameter("bias"))
    )
    if isinstance(head, StackedLinear):
        return weight.swapaxes(1, 2), bias.reshape(len(weight), -1)
    return np.tile(weight, (n_members, 1, 1)), np.tile(bias, (n_members, 1))
