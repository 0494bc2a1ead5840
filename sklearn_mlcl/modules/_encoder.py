"""Layers of a net, or of all members of an ensemble, and the encoder and heads made of them.

Members share one set of tensors: one batched product in place of M small ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod, sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.modules._etf import ETFLinear
from sklearn_mlcl.utils.runtime import generator_on

#: Values of the 16 random bits that decide about a unit.
LEVELS = 2**16


class Dropout(nn.Dropout):
    """``torch.nn.Dropout``, two to four times as fast on a CPU.

    On a CPU, 16 random bits decide whether a unit is zeroed, and one draw of the generator serves
    four units. The share of zeroed units is ``p`` to a precision of 2^-17. On other devices there
    is one draw per unit. In a fit of an estimator the generator is that of the fit, elsewhere
    torch's global one.

    Parameters
    ----------
    p : float
        Share of the units that are zeroed while training, in [0, 1).

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import Dropout
    >>> sorted(Dropout(0.5)(torch.ones(100)).unique().tolist())
    [0.0, 2.0]
    """

    #: First dimension of the samples that gets factors of its own.
    first_dim = 0

    def __init__(self, p: float) -> None:
        super().__init__(p)

    def forward(self, X: Tensor) -> Tensor:
        """Return the samples with units zeroed while training, of the shape of ``X``."""
        if not self.training or self.p == 0:
            return X
        return X * dropout_factors(X.shape[self.first_dim :], self.p, X)


def dropout_factors(shape: Sequence[int], p: float, like: Tensor) -> Tensor:
    """Return factors of 0, with probability ``p``, and 1 / (1 - p).

    Parameters
    ----------
    shape : sequence of int
        Shape of the result.
    p : float
        In [0, 1).
    like : Tensor
        Gives the dtype and the device.

    Returns
    -------
    factors : Tensor of shape ``shape``

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules._encoder import dropout_factors
    >>> dropout_factors((2, 3), 0.0, torch.zeros(1))
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """
    generator = generator_on(like.device)
    if like.device.type != "cpu":
        return like.new_empty(tuple(shape)).bernoulli_(1 - p, generator=generator).div_(1 - p)
    n_units = prod(shape)
    words = torch.empty(-(-n_units // 4), dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int16)[:n_units].view(tuple(shape))
    # Compared in place as floats, which hold 16 bits: no pass through Booleans, which are slow.
    draws = bits.to(torch.promote_types(like.dtype, torch.float32))
    kept = draws.ge_(round(p * LEVELS) - LEVELS // 2)
    return kept.mul_(1 / (1 - p)).to(like.dtype)


class StackedLinear(nn.Module):
    r"""M linear maps side by side, :math:`x_m W_m + b_m`.

    Parameters
    ----------
    n_members : int
        Number of maps M.
    n_in, n_out : int
        Widths of what each takes and returns.

    Attributes
    ----------
    weight : Tensor of shape (M, n_in, n_out)
        Starts uniform in :math:`\pm n_{in}^{-1/2}`, as that of ``torch.nn.Linear``.
    bias : Tensor of shape (M * n_out,)
        A vector, so that optimisers that spare vectors from weight decay spare it.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import StackedLinear
    >>> layer = StackedLinear(n_members=4, n_in=3, n_out=2)
    >>> layer(torch.zeros(5, 3)).shape, layer(torch.zeros(4, 5, 3)).shape
    (torch.Size([4, 5, 2]), torch.Size([4, 5, 2]))
    """

    def __init__(self, n_members: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.n_members, self.n_in, self.n_out = n_members, n_in, n_out
        bound = 1 / sqrt(n_in)
        self.weight = nn.Parameter(torch.empty(n_members, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_members * n_out).uniform_(-bound, bound))

    def forward(self, X: Tensor) -> Tensor:
        """Return (M, n, n_out) from rows of each member (M, n, n_in), or the same rows for all."""
        n_members, n_in, n_out = self.weight.shape
        bias = self.bias.view(n_members, 1, n_out)
        if X.ndim == 3:
            return torch.baddbmm(bias, X, self.weight)
        # What all members see is one product with all weights side by side.
        wide = self.weight.transpose(0, 1).reshape(n_in, n_members * n_out)
        return (X @ wide).view(-1, n_members, n_out).transpose(0, 1) + bias

    def extra_repr(self) -> str:
        return f"n_members={self.n_members}, n_in={self.n_in}, n_out={self.n_out}"


class StackedLayerNorm(nn.Module):
    """Layer normalisation with the gain and the shift of each member.

    Parameters
    ----------
    n_members : int
        Number of members M.
    width : int
        Entries that are normalised together.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import StackedLayerNorm
    >>> StackedLayerNorm(n_members=4, width=2)(torch.tensor([[[1.0, 3.0]]]))[3]
    tensor([[-1.0000,  1.0000]], grad_fn=<SelectBackward0>)
    """

    def __init__(self, n_members: int, width: int) -> None:
        super().__init__()
        self.n_members, self.width = n_members, width
        self.shape = (n_members, 1, width)
        self.gain = nn.Parameter(torch.ones(n_members * width))
        self.shift = nn.Parameter(torch.zeros(n_members * width))

    def forward(self, X: Tensor) -> Tensor:
        """Return the normalised rows, of shape (M, n, width)."""
        normal = nn.functional.layer_norm(X, self.shape[-1:])
        return torch.addcmul(self.shift.view(self.shape), normal, self.gain.view(self.shape))


class SharedDropout(Dropout):
    """Dropout that zeroes the same units of every member.

    Unit k of one member is unrelated to unit k of another, so each member sees ordinary dropout.
    There are M times fewer random numbers to draw.

    Parameters
    ----------
    p : float
        Share of the units that are zeroed while training.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import SharedDropout
    >>> X = SharedDropout(0.5)(torch.ones(4, 2, 8))
    >>> bool((X[0] == X[3]).all())
    True
    """

    first_dim = 1


class MemberList(nn.Module):
    """Modules of any kind as the members of an ensemble, one after the other.

    Parameters
    ----------
    members : iterable of torch.nn.Module
        Each takes (n, n_features) and returns (n, n_embedding).
    shared : bool, default=False
        Whether all members see the same samples, of whatever shape.

    Notes
    -----
    What is called with (M, n, n_features) gives each member samples of its own, unless they are
    shared.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import MemberList
    >>> MemberList(torch.nn.Linear(3, 2) for _ in range(4))(torch.zeros(5, 3)).shape
    torch.Size([4, 5, 2])
    """

    def __init__(self, members: Iterable[nn.Module], shared: bool = False) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.shared = shared

    def forward(self, X: Any) -> Tensor:
        """Return the embeddings of each member, of shape (M, n, n_embedding)."""
        parts = [X] * len(self.members) if self.shared or X.ndim < 3 else X
        return torch.stack([member(own) for member, own in zip(self.members, parts, strict=True)])


def linear(n_in: int, n_out: int, n_members: int) -> nn.Linear | StackedLinear:
    """Return the linear layer of one net, or of the members of an ensemble.

    Parameters
    ----------
    n_in, n_out : int
        Widths of what it takes and returns.
    n_members : int
        Number of members; 1 is one net.

    Returns
    -------
    layer : torch.nn.Linear or StackedLinear
        The layer of all members.

    Examples
    --------
    >>> from sklearn_mlcl.modules import linear
    >>> linear(3, 2, n_members=1)
    Linear(in_features=3, out_features=2, bias=True)
    >>> linear(3, 2, n_members=4)
    StackedLinear(n_members=4, n_in=3, n_out=2)
    """
    if n_members == 1:
        return nn.Linear(n_in, n_out)
    return StackedLinear(n_members, n_in, n_out)


def layer_norm(width: int, n_members: int) -> nn.Module:
    """Return the layer normalisation of one net, or of the members of an ensemble."""
    if n_members == 1:
        return nn.LayerNorm(width)
    return StackedLayerNorm(n_members, width)


def dropout_layer(p: float, n_members: int) -> nn.Module:
    """Return the dropout of one net, or of the members of an ensemble."""
    return Dropout(p) if n_members == 1 else SharedDropout(p)


def side_by_side(embedding: Tensor) -> Tensor:
    """Put the embeddings of the members into one row.

    Parameters
    ----------
    embedding : Tensor of shape (M, n, h) or (n, h)
        Embeddings of members, or of one net.

    Returns
    -------
    rows : Tensor of shape (n, M * h) or (n, h)
        Those of one net as they are.

    Examples
    --------
    >>> import torch
    >>> from sklearn_mlcl.modules import side_by_side
    >>> side_by_side(torch.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]))
    tensor([[1, 2, 5, 6],
            [3, 4, 7, 8]])
    """
    return embedding if embedding.ndim == 2 else embedding.transpose(0, 1).flatten(1)


# ---------------------------------------------------------------------- encoder and heads

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
