"""Standardisation as the first layer, so that an encoder sees features of one size."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InputScaler(nn.Module):
    """Subtract a fixed mean and multiply by a fixed factor, feature by feature.

    Parameters
    ----------
    shift : Tensor of shape (n_features,)
        What is subtracted; zeros for sparse input, which stays uncentred.
    factor : Tensor of shape (n_features,)
        What the difference is multiplied by.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import InputScaler
    >>> InputScaler(torch.tensor([1.0]), torch.tensor([2.0]))(torch.tensor([[3.0]]))
    tensor([[4.]])
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, shift: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("factor", factor)

    def forward(self, X: Tensor) -> Tensor:
        """Return the scaled rows, of the shape of ``X``."""
        # Difference first: shift * factor would cancel badly for a mean far from zero.
        return (X - self.shift) * self.factor


class ScaledEncoder(nn.Module):
    """An encoder behind an :class:`InputScaler`.

    Parameters
    ----------
    scaler : InputScaler
        The first layer.
    encoder : torch.nn.Module
        Takes (n, n_features), returns embeddings of shape (n, n_embedding).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import InputScaler, MLPEncoder, ScaledEncoder
    >>> scaler = InputScaler(torch.zeros(5), torch.ones(5))
    >>> ScaledEncoder(scaler, MLPEncoder(5, hidden_layer_sizes=(8, 3)))(torch.ones(2, 5)).shape
    torch.Size([2, 3])
    """

    def __init__(self, scaler: InputScaler, encoder: nn.Module) -> None:
        super().__init__()
        self.scaler = scaler
        self.encoder = encoder

    def forward(self, X: Tensor) -> Tensor:
        """Return the embeddings of the rows of ``X``."""
        return self.encoder(self.scaler(X))


def embedding_width(module: nn.Module, n_features: int) -> int:
    """Return the width of what a module makes of rows, found by a pass over two rows of zeros.

    Parameters
    ----------
    module : torch.nn.Module
        Should map (n, n_features) to (n, n_embedding).
    n_features : int
        Number of input features.

    Returns
    -------
    width : int
        Number of entries of an embedding.

    Raises
    ------
    ValueError
        If the module returns anything else than one vector a row.

    Examples
    --------
    >>> from sklearn_mlcl.modules import MLPEncoder, embedding_width
    >>> embedding_width(MLPEncoder(5, hidden_layer_sizes=(8, 3)), n_features=5)
    3
    """
    training = module.training
    module.eval()
    with torch.no_grad():
        embedding = module(torch.zeros(2, n_features))
    module.train(training)
    if not isinstance(embedding, Tensor) or embedding.shape[:-1] != (2,):
        shape = tuple(getattr(embedding, "shape", ()))
        raise ValueError(
            "module must map rows of shape (n, n_features) to embeddings of shape "
            f"(n, n_embedding); for 2 rows it returned {type(embedding).__name__} of shape "
            f"{shape}."
        )
    return embedding.shape[1]
