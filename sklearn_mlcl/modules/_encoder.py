"""The default encoder and what stands on embeddings: projection head, linear heads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.modules._etf import ETFLinear
from sklearn_mlcl.modules._members import StackedLinear, layer_norm, linear
from sklearn_mlcl.modules._members import dropout as dropout_layer

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


class MLPEncoder(nn.Sequential):
    """Map rows of features to embeddings by a multi-layer perceptron.

    Each layer is ``Linear -> LayerNorm -> activation -> Dropout``; the output of the last
    layer is the embedding, so its width is ``hidden_layer_sizes[-1]``.

    Parameters
    ----------
    n_features : int
        Number of input features.
    hidden_layer_sizes : sequence of int, default=(256, 256)
        Widths of the layers.
    activation : {"silu", "relu", "gelu", "tanh"}, default="silu"
        Non-linearity after each layer norm.
    dropout : float, default=0.0
        Share of the units that are zeroed after each layer while training.
    n_members : int, default=1
        Members of an ensemble; from 2 on the embeddings have shape (n_members, n, n_embedding).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import MLPEncoder
    >>> MLPEncoder(5, hidden_layer_sizes=(8, 3))(torch.zeros(2, 5)).shape
    torch.Size([2, 3])
    >>> MLPEncoder(5, hidden_layer_sizes=(8, 3), n_members=4)(
    ...     torch.zeros(2, 5)
    ... ).shape
    torch.Size([4, 2, 3])
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        activation: str = "silu",
        dropout: float = 0.0,
        n_members: int = 1,
    ) -> None:
        widths = [n_features, *hidden_layer_sizes]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [linear(n_in, n_out, n_members), layer_norm(n_out, n_members)]
            layers.append(ACTIVATIONS[activation]())
            if dropout > 0:
                layers.append(dropout_layer(dropout, n_members))
        super().__init__(*layers)


class ProjectionHead(nn.Sequential):
    """Map embeddings to the space in which the contrastive loss compares them.

    ``Linear -> activation -> Linear``. It is thrown away after training: heads and
    ``transform`` see the embedding in front of it.

    Parameters
    ----------
    n_embedding : int
        Width of the embedding.
    n_projection : int
        Width of the projection, and of the layer in front of it.
    activation : {"silu", "relu", "gelu", "tanh"}, default="silu"
        Non-linearity between the two layers.
    n_members : int, default=1
        Members of an ensemble, each with its own head.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import ProjectionHead
    >>> ProjectionHead(n_embedding=8, n_projection=4)(torch.zeros(2, 8)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self, n_embedding: int, n_projection: int, activation: str = "silu", n_members: int = 1
    ) -> None:
        super().__init__(
            linear(n_embedding, n_projection, n_members),
            ACTIVATIONS[activation](),
            linear(n_projection, n_projection, n_members),
        )


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
