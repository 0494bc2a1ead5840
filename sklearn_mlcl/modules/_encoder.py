"""The default encoder and the projection head of contrastive training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

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

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import MLPEncoder
    >>> MLPEncoder(5, hidden_layer_sizes=(8, 3))(torch.zeros(2, 5)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        widths = [n_features, *hidden_layer_sizes]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.LayerNorm(n_out), ACTIVATIONS[activation]()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers)


class ProjectionHead(nn.Module):
    """Map embeddings to the space in which the contrastive loss compares them.

    ``Linear -> activation -> Linear``. It is thrown away after training: heads and
    ``transform`` see the embedding in front of it.

    Parameters
    ----------
    n_embedding : int
        Width of the embedding.
    n_projection : int
        Width of the projection.
    activation : {"silu", "relu", "gelu", "tanh"}, default="silu"
        Non-linearity between the two layers.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import ProjectionHead
    >>> ProjectionHead(n_embedding=8, n_projection=4)(torch.zeros(2, 8)).shape
    torch.Size([2, 4])
    """

    def __init__(self, n_embedding: int, n_projection: int, activation: str = "silu") -> None:
        super().__init__()
        self.hidden = nn.Linear(n_embedding, n_embedding)
        self.activation = ACTIVATIONS[activation]()
        self.output = nn.Linear(n_embedding, n_projection)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return projections of shape (n, n_projection)."""
        return self.output(self.activation(self.hidden(embedding)))
