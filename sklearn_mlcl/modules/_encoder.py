"""The default encoder and the projection head of contrastive training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from sklearn_mlcl.modules._members import dropout as dropout_layer
from sklearn_mlcl.modules._members import layer_norm, linear

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
