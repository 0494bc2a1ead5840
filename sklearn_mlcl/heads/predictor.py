"""The one way from samples to predictions: a module that maps X to log-odds, and its parts."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional

from sklearn_mlcl.collapse import ONNDecoder
from sklearn_mlcl.heads.held_out import Blend, center, towards, with_votes
from sklearn_mlcl.heads.label_tree import BEAM
from sklearn_mlcl.heads.scaled_tree import ScaledTree
from sklearn_mlcl.modules import side_by_side
from sklearn_mlcl.utils.answers import logit, sigmoid
from sklearn_mlcl.utils.fit_data import LabelStats, label_log_odds
from sklearn_mlcl.utils.samples import as_tensor
from sklearn_mlcl.utils.state import Like, check_tensors

#: Labels that a search takes from a tree at least, and for each that it returns: the other parts
#: put them in another order.
FEWEST_CANDIDATES, CANDIDATES = 64, 4


class Predictor(nn.Module):
    r"""Log-odds of samples: encoder, head, neighbours, linear part, and what rare labels get.

    With the embedding :math:`h(x)`, the log-odds :math:`z` of the head, the probabilities
    :math:`q` of the neighbours and the log-odds :math:`r` of logistic regressions on the features,

    .. math::
        a = \mathrm{logit}\big((1 - v)\, \sigma(z) + v\, q\big), \qquad
        s = c + \alpha\, \big((1 - w)\, a + w\, r - c\big) + \beta
            + \log\frac{n + p}{n} - \log\frac{m + p}{m}

    with the weights :math:`v, w` of the parts, a scale :math:`\alpha` and a shift :math:`\beta`,
    the :func:`~sklearn_mlcl.heads.held_out.center` :math:`c` of the label (0 with a tree),
    :math:`n` samples that have it, :math:`m` that lack it, and the pseudo-count :math:`p`. The last
    two terms undo that regularised models shrink a label of few samples towards its absence; they
    vanish among hundreds of samples. A label with one positive sample may have been learnt by the
    net or by the regressions: where both have a share, its probability is that of either of the two
    (noisy-or).

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps samples (n, d) to embeddings (n, h), or (M, n, h) of members.
    head : torch.nn.Module
        Maps embeddings side by side, (n, M * h), to log-odds (n, L).
    counts : ndarray of shape (2, L)
        Samples that have each label, and samples that lack it.
    pseudo_count : float
        The p above; 0 adds nothing.
    weighted_counts : ndarray of shape (2, L)
        The weights of these samples: they say what the center is.
    neighbors : NeighborHead or None, default=None
        Maps embeddings to probabilities.
    linear : torch.nn.Module or None, default=None
        Maps samples to log-odds.
    blend : Blend, default=None
        The weights v and w, the scale and the shift; None: 0, 0, 1, 0.
    """

    head: Any
    neighbors: Any
    linear: Any

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        counts: np.ndarray,
        pseudo_count: float,
        weighted_counts: np.ndarray,
        *,
        neighbors: NeighborHead | None = None,
        linear: nn.Module | None = None,
        blend: Blend | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.neighbors, self.linear = neighbors, linear
        self.blend = Blend(0.0, 0.0) if blend is None else blend
        self.counts, self.pseudo_count, self.weighted_counts = counts, pseudo_count, weighted_counts
        scale, shift = self.calibration(self.blend)
        single = (counts[0] == 1) & (pseudo_count > 0)
        self.has_single = bool(single.any())
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("shift", torch.from_numpy(shift))
        self.register_buffer("single", torch.from_numpy(single))

    def calibration(self, blend: Blend) -> tuple[np.ndarray, np.ndarray]:
        """Return the scale and the shift (L,) of each label: those of a blend, and for rare labels.

        A label with a single value keeps its prior: neither is its own.
        """
        several = (self.counts > 0).all(axis=0)
        log_odds, _ = label_log_odds(*self.weighted_counts)
        scale = np.where(several, blend.scale, 1.0)
        shift = np.where(several, blend.calibrated(0.0, center(log_odds)), 0.0)
        positive, negative = np.log1p(self.pseudo_count / self.counts[:, several])
        shift[several] += positive - negative
        return scale, shift

    @property
    def columns(self) -> np.ndarray | None:
        """Numbers of the features of CSR that the parts need; None for all."""
        return None if self._uses_linear else getattr(self.encoder, "columns", None)

    @property
    def takes_csr(self) -> bool:
        """Whether CSR samples may stay CSR: a tree on the features looks at their entries."""
        return self._uses_linear and isinstance(self.linear, ScaledTree)

    @property
    def has_tree(self) -> bool:
        """Whether a part is a tree of labels."""
        return isinstance(self.linear, ScaledTree) or isinstance(self.head, ScaledTree)

    @property
    def searches(self) -> bool:
        """Whether a tree finds the best labels, on the features or on the embedding."""
        return self.takes_csr or (isinstance(self.head, ScaledTree) and not self._uses_linear)

    @property
    def _uses_linear(self) -> bool:
        return self.linear is not None and self.blend.linear_weight > 0

    @property
    def _uses_neighbors(self) -> bool:
        return self.neighbors is not None and self.blend.neighbor_weight > 0

    def forward(
        self, X: Any, embedding: Tensor | None = None, *, with_embedding: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return log-odds.

        Parameters
        ----------
        X : Tensor of shape (n, d), or CSR if ``takes_csr``
            Samples.
        embedding : Tensor of shape (n, M * h), default=None
            Their embeddings; None computes them.
        with_embedding : bool, default=False
            Whether to return the embeddings too.

        Returns
        -------
        log_odds : Tensor of shape (n, L)
            The log-odds; with ``with_embedding`` a tuple of the embeddings and them.
        """
        if embedding is None:
            embedding = self._embedded(X)
        log_odds = self.completed(X, embedding, self.head(embedding))
        return (embedding, log_odds) if with_embedding else log_odds

    def completed(self, X: Tensor, embedding: Tensor, log_odds: Tensor) -> Tensor:
        """Return log-odds (n, L) from those of the head: the other parts, scale and shift."""
        votes = self.neighbors(embedding) if self._uses_neighbors else None
        linear = self.linear(X) if self._uses_linear else None
        return self._joined(log_odds, votes, linear)

    def best(self, X: Any, k: int) -> tuple[Tensor, Tensor]:
        """Return the k most probable labels among those that a tree finds, and their log-odds.

        Only if the predictor ``searches``. Labels ascend; of equal ones the smaller come first.

        Parameters
        ----------
        X : Tensor of shape (n, d), or CSR
            Samples.
        k : int
            Labels of each.

        Returns
        -------
        labels, log_odds : Tensor of shape (n, k)
            The labels, and what :meth:`forward` says of them.
        """
        n, linear, votes = self.n_candidates(k), None, None
        if self._uses_linear and self.blend.linear_weight == 1:
            labels, head = self.linear.best(X, n)
        else:
            embedding = self._embedded(X)
            if self._uses_linear:
                labels, linear = self.linear.best(X, n)
                head = _at(self.head, embedding, labels)
            else:
                labels, head = self.head.best(embedding, n)
            if self._uses_neighbors:
                votes = self.neighbors(embedding).gather(1, labels)
        joined = self._joined(head, votes, linear, labels)
        total, at = joined.sort(dim=1, descending=True, stable=True)
        labels, order = labels.gather(1, at[:, :k]).sort(dim=1)
        return labels, total[:, :k].gather(1, order)

    def search_entries(self, k: int) -> int:
        """Return the numbers of memory that :meth:`best` needs for a sample."""
        tree = (self.linear if self._uses_linear else self.head).tree
        width = max(len(level.bias[0]) for level in tree.levels)
        n_votes = 4 * len(tree.labels) if self._uses_neighbors else 0
        head = self.head.weight.shape[1] if isinstance(self.head, AffineHead) else len(tree.labels)
        return 32 * BEAM * width + self.n_candidates(k) * head + n_votes

    def n_candidates(self, k: int) -> int:
        """Return how many labels :meth:`best` compares for k."""
        n_labels = len(self.get_buffer("scale"))
        return min(n_labels, max(FEWEST_CANDIDATES, CANDIDATES * k))

    def _embedded(self, X: Any) -> Tensor:
        if sp.issparse(X):
            columns = getattr(self.encoder, "columns", None)
            dense = (X if columns is None else X[:, columns]).toarray()
            X = torch.from_numpy(dense).to(self.get_buffer("scale"))
        return side_by_side(self.encoder(X))

    def _joined(
        self, net: Tensor, votes: Tensor | None, linear: Tensor | None, labels: Any = slice(None)
    ) -> Tensor:
        """Return log-odds from those of the parts, of all labels or of some of each sample."""
        v, w = self.blend.neighbor_weight, self.blend.linear_weight
        if votes is not None:
            net = with_votes(net, votes, v)
        if linear is not None:
            blend = towards(net, linear, w)
            if w < 1 and self.has_single:
                p, q = sigmoid(net), sigmoid(linear)
                either = logit(p + q - p * q)
                blend = torch.where(self.get_buffer("single")[labels], either, blend)
            net = blend
        return net * self.get_buffer("scale")[labels] + self.get_buffer("shift")[labels]

    def weighted(
        self, neighbor_weight: float, linear_weight: float, pseudo_count: float
    ) -> Predictor:
        """Return a predictor with other weights of its parts, or this one if they are its own.

        Tensors and scale are shared.

        Raises
        ------
        ValueError
            If a part is to have a share that the fit did not keep.
        """
        if neighbor_weight > 0 and self.neighbors is None:
            raise ValueError(
                f"neighbor_weight={neighbor_weight} needs the training samples, but the fit stored "
                "none, because the neighbours had no share; fit again."
            )
        if linear_weight > 0 and self.linear is None:
            raise ValueError(
                f"linear_weight={linear_weight} needs the logistic regressions on the features, "
                "but the fit made none; fit again."
            )
        blend = replace(self.blend, neighbor_weight=neighbor_weight, linear_weight=linear_weight)
        if blend == self.blend and pseudo_count == self.pseudo_count:
            return self
        return self._with(blend=blend, pseudo_count=pseudo_count)

    def _with(self, **changes: Any) -> Predictor:
        own = {name: getattr(self, name) for name in _PARTS}
        return Predictor(**own | changes)


#: What a predictor is made of: asking for it takes longer than making one.
_PARTS = tuple(signature(Predictor).parameters)


def _at(head: nn.Module, embedding: Tensor, labels: Tensor) -> Tensor:
    """Return the log-odds (n, c) of some labels of each sample by a head."""
    if isinstance(head, AffineHead):
        return head.at(embedding, labels)
    log_odds: Tensor = head(embedding)
    return log_odds.gather(1, labels)


class BestLabels(nn.Module):
    """The k best labels of samples, and their log-odds, by the search of a predictor.

    Parameters
    ----------
    predictor : Predictor
        One that ``searches``.
    k : int
        Labels of each sample.
    """

    takes_csr = True

    def __init__(self, predictor: Predictor, k: int) -> None:
        super().__init__()
        self.predictor, self.k = predictor, k

    @property
    def columns(self) -> np.ndarray | None:
        """Numbers of the features of CSR that the parts need; None for all."""
        return self.predictor.columns

    def forward(self, X: Any) -> tuple[Tensor, Tensor]:
        """Return labels and log-odds, (n, k), of samples (n, d)."""
        return self.predictor.best(X, self.k)


class DrawnPredictor(nn.Module):
    r"""Log-odds of the mean probability over draws of the latent code of a C-GMVAE.

    .. math:: p(x) = \frac1M \sum_m \sigma\big(s(g(x, \mu_x + \sigma_x \epsilon_m))\big)

    The posterior is computed once, and the draws have the same noise for all samples.

    Parameters
    ----------
    predictor : Predictor
        Its encoder is a :class:`~sklearn_mlcl.modules.GaussianMixtureVAE`.
    noise : ndarray of shape (M, D)
        The standard normal vectors :math:`\epsilon_m`.
    """

    def __init__(self, predictor: Predictor, noise: np.ndarray) -> None:
        super().__init__()
        self.predictor = predictor
        self.register_buffer("noise", torch.from_numpy(noise).float()[:, None])

    def forward(self, X: Tensor, *, deviation: bool = False) -> Tensor:
        """Return log-odds (n, L), or the deviation of the probabilities over the draws."""
        model: Any = self.predictor.encoder
        x = model.scaler(X)
        mean, log_var = model.posterior(x)
        codes = mean + torch.exp(0.5 * log_var) * self.get_buffer("noise")
        p = torch.stack([sigmoid(self.predictor(X, e)) for e in model.decoder(x, codes)])
        return p.std(dim=0, correction=0) if deviation else logit(p.mean(dim=0))


class MemberSpread(nn.Module):
    """Deviation of the probabilities over the members of an ensemble.

    Parameters
    ----------
    predictor : Predictor
        Its head is an :class:`AffineHead` of several members.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, X: Tensor) -> Tensor:
        """Return the standard deviation (n, L), each member taking the place of their mean."""
        whole: Any = self.predictor
        embedding = side_by_side(whole.encoder(X))
        answers = [
            sigmoid(whole.completed(X, embedding, log_odds))
            for log_odds in whole.head.by_member(embedding)
        ]
        return torch.stack(answers).std(dim=0, correction=0)


class AffineHead(nn.Module):
    """Log-odds :math:`W h + b`, in the dtype of W where nothing else is asked for.

    Of M members it has the mean, for their embeddings side by side.

    Parameters
    ----------
    coef : ndarray of shape (L, h) or (M, L, h)
        The coefficients W, or those of each member. float32, as a net trains them, stays float32.
    intercept : ndarray of shape (L,) or (M, L)
        The intercepts b.
    """

    weight: Tensor
    bias: Tensor
    own_bias: Tensor

    def __init__(self, coef: np.ndarray, intercept: np.ndarray) -> None:
        super().__init__()
        dtype = np.float32 if coef.dtype == np.float32 else np.float64
        by_member = np.asarray(coef, dtype=dtype).reshape(-1, *coef.shape[-2:])
        own_bias = np.array(intercept, dtype=dtype).reshape(len(by_member), -1)
        # The coefficients of one member are shared: those of many labels are large.
        weight = np.ascontiguousarray(by_member[0])
        if len(by_member) > 1:
            weight = np.concatenate(list(by_member), axis=1) / len(by_member)
        self.register_buffer("weight", as_tensor(weight))
        self.register_buffer("bias", torch.from_numpy(own_bias.mean(axis=0)))
        self.register_buffer("own_bias", torch.from_numpy(own_bias))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return log-odds (n, L) of embeddings (n, h)."""
        # An encoder computes in float32, heads that were fitted on its embeddings in float64.
        return functional.linear(embedding.to(self.weight.dtype), self.weight, self.bias)

    def at(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Return the log-odds of some labels (n, c) of each sample."""
        embedding = embedding.to(self.weight.dtype)
        products = torch.bmm(self.weight[labels], embedding[:, :, None])
        return products[:, :, 0] + self.bias[labels]

    def of_member(self, m: int) -> tuple[Tensor, Tensor]:
        """Return coefficients (L, h) and intercepts (L,) of one member."""
        M = len(self.own_bias)
        return M * self.weight.unflatten(1, (M, -1))[:, m], self.own_bias[m]

    def by_member(self, embedding: Tensor) -> Tensor:
        """Return log-odds (M, n, L) of each member, of their embeddings side by side."""
        own = embedding.chunk(len(self.own_bias), dim=1)
        return torch.stack([functional.linear(x, *self.of_member(m)) for m, x in enumerate(own)])

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors fit together."""
        (n_labels, width), n_members = self.weight.shape, len(self.own_bias)
        shapes = {"weight": (n_labels, width), "bias": (n_labels,)}
        shapes["own_bias"] = (n_members, n_labels)
        dtype = self.weight.dtype if self.weight.dtype == torch.float32 else torch.float64
        check_tensors(self, {n: Like(shape, dtype) for n, shape in shapes.items()})
        if width % n_members:
            raise ValueError(f"embeddings of width {width} are none of {n_members} members")

    def set_constant(self, stats: LabelStats, previous: Any) -> None:
        """Give labels with a single value their log-odds, or the head that they had before."""
        labels = torch.from_numpy(np.flatnonzero(stats.constant))
        if isinstance(previous, AffineHead):
            weight, bias = previous.weight[labels], previous.bias[labels]
            self.weight[labels], self.bias[labels] = weight.to(self.weight), bias.to(self.bias)
        else:
            log_odds = torch.from_numpy(stats.log_odds)[labels].to(self.bias)
            self.weight[labels], self.bias[labels] = 0.0, log_odds
        self.own_bias[:, labels] = self.bias[labels]


class DecoderHead(nn.Module):
    """Log-odds of the marginals of an :class:`~sklearn_mlcl.collapse.ONNDecoder`.

    Where the decoder sums over the label sets that it lists, this is a softmax over them. On a
    simplex ETF it sums over all label sets by a recursion, which is NumPy's to do.

    Parameters
    ----------
    decoder : ONNDecoder
        The decoder.
    first_label : int, default=0
        Labels before it are left out of the answer.
    """

    #: Its tensors stay in float64: the variance of collapsed features is tiny.
    in_float64 = True

    def __init__(self, decoder: ONNDecoder, first_label: int = 0) -> None:
        super().__init__()
        self.decoder, self.first_label = decoder, first_label
        self.lists_sets = not decoder.marginals_are_exact()
        if self.lists_sets:
            points, log_prior, sets = decoder.listed_sets()
            offsets = log_prior - (points**2).sum(axis=1) / (2 * decoder.variance)
            for name, array in (
                ("intercept", decoder.intercept),
                ("points", points),
                ("offsets", offsets),
                ("sets", sets.toarray()),
            ):
                self.register_buffer(name, torch.from_numpy(np.array(array, dtype=np.float64)))

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors are those of the decoder."""
        shapes: dict[str, tuple[int, ...]] = {}
        if not self.decoder.marginals_are_exact():
            n_sets = len(self.decoder.seen_log_prior) + len(self.decoder.own_log_prior)
            width = len(self.decoder.intercept)
            shapes = {
                "intercept": (width,),
                "points": (n_sets, width),
                "offsets": (n_sets,),
                "sets": (n_sets, self.decoder.n_labels),
            }
        check_tensors(self, {name: Like(shape, torch.float64) for name, shape in shapes.items()})

    def forward(self, embedding: Tensor) -> Tensor:
        """Return log-odds (n, L) of embeddings (n, h)."""
        if not self.lists_sets:
            known = self.decoder.marginals(embedding.detach().cpu().numpy())
            return logit(torch.from_numpy(known[:, self.first_label :]).to(embedding))
        intercept, points, offsets, sets = map(
            self.get_buffer, ("intercept", "points", "offsets", "sets")
        )
        scores = (embedding.double() - intercept) @ points.T / self.decoder.variance
        marginals = (scores + offsets).softmax(dim=1) @ sets
        return logit(marginals[:, self.first_label :].to(embedding))


class Probabilities(nn.Module):
    """What ``predict_proba`` returns: probabilities in the form of the targets.

    Parameters
    ----------
    log_odds : torch.nn.Module
        Maps samples to log-odds (n, L).
    kind : {"multilabel", "binary", "multiclass"}
        Kind of the targets. Probabilities of classes that exclude one another sum to 1.
    """

    def __init__(self, log_odds: nn.Module, kind: str) -> None:
        super().__init__()
        self.log_odds, self.kind = log_odds, kind

    def forward(self, X: Tensor) -> Tensor:
        """Return probabilities of samples (n, d)."""
        p = sigmoid(self.log_odds(X))
        if self.kind == "binary":
            return torch.cat([1 - p, p], dim=1)
        return p / p.sum(dim=1, keepdim=True) if self.kind == "multiclass" else p


# ---------------------------------------------------------------------- neighbours

#: Divides the cosines: the smaller, the fewer samples decide.
TEMPERATURE = 0.06
#: Samples whose similarities are there at once: they stay in the caches until they have voted.
BLOCK = 2048
#: Queries below which the layout of oneDNN costs more than its products save.
FEW_QUERIES = 32


class NeighborHead(nn.Module):
    r"""Kernel regression of the labels on unit embeddings (Nadaraya-Watson).

    .. math::
        p_l(x) = \frac{\sum_i \kappa_i s_{il} y_{il}}{\sum_i \kappa_i s_{il}}, \qquad
        \kappa_i = \exp(\cos(h(x), h(x_i)) / \tau), \qquad \tau = 0.06

    All kept samples take part: without a cut at the k-th neighbour the answer is a smooth function
    of x. They vote block by block, each for the labels that it has. Labels with a single value, and
    labels that no kept sample knows, get their prior.

    Parameters
    ----------
    embedding : ndarray of shape (m, h)
        Embeddings of the training samples.
    Y : ndarray or CSR of shape (m, L)
        Their indicator matrix, NaN where a label is missing.
    sample_weight : ndarray of shape (m,) or (m, L), or None
        Weights s.
    stats : LabelStats
        Gives the prior and the labels with a single value.
    """

    unit: Tensor
    votes: Tensor | None
    voter: Tensor
    vote_value: Tensor
    first_vote: Tensor
    weights: Tensor
    prior: Tensor
    informed: Tensor

    def __init__(
        self, embedding: np.ndarray, Y: Any, sample_weight: np.ndarray | None, stats: LabelStats
    ) -> None:
        super().__init__()
        labels = Y.astype(np.float32)
        s = np.ones(len(embedding)) if sample_weight is None else sample_weight
        weights = s[:, None] if s.ndim == 1 else s
        # Their scale cancels out, and sums of large ones are beyond float32.
        largest = weights.max(axis=0)
        weights = (weights / np.where(largest > 0, largest, 1.0)).astype(np.float32)
        if not sp.issparse(labels) and (missing := np.isnan(labels)).any():
            weights, labels = np.where(missing, np.float32(0), weights), np.nan_to_num(labels)
        votes = sp.csr_array(labels).multiply(weights).tocsr()
        votes.eliminate_zeros()
        #: Samples of a block; part of what is saved, for the votes are in the order of blocks.
        self.block_size = min(BLOCK, len(embedding))
        starts = range(0, len(embedding), self.block_size)
        # By label within a block, so that one sum of rows adds up the votes for each.
        blocks = [votes[start : start + self.block_size].tocsc() for start in starts]
        ends = np.cumsum([0, *(block.nnz for block in blocks)])
        first = np.stack([b.indptr + end for b, end in zip(blocks, ends[:-1], strict=True)])
        unit = functional.normalize(torch.from_numpy(embedding), dim=1)
        self.register_buffer("unit", unit)
        self.register_buffer("votes", None)
        self.register_buffer("voter", _int32(np.concatenate([b.indices for b in blocks])))
        self.register_buffer(
            "vote_value", torch.from_numpy(np.concatenate([b.data for b in blocks]))
        )
        self.register_buffer("first_vote", _int32(first))
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("prior", torch.from_numpy(sigmoid(stats.log_odds)))
        self.register_buffer("informed", torch.from_numpy(~stats.constant))

    def forward(self, embedding: Tensor) -> Tensor:
        """Return probabilities (n, L) of embeddings (n, h)."""
        queries = functional.normalize(embedding, dim=1) / TEMPERATURE
        votes, total = self._by_blocks(queries) if self.votes is None else self._at_once(queries)
        known = (total > 0) & self.informed
        shares = votes / torch.where(total > 0, total, 1.0)
        return torch.where(known, shares, self.prior)

    def _by_blocks(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums (n, L) of votes and (n, 1) or (n, L) of weights."""
        given = queries
        on_cpu = queries.device.type == "cpu" and torch.backends.mkldnn.is_available()
        if on_cpu and queries.dtype == torch.float32 and len(queries) >= FEW_QUERIES:
            # On processors of AMD, twice as fast as the products of MKL.
            given = queries.to_mkldnn()
        votes = queries.new_zeros(len(self.prior), len(queries))
        total = queries.new_zeros(len(queries), self.weights.shape[1])
        size = self.block_size
        for start, first in zip(range(0, len(self.unit), size), self.first_vote, strict=True):
            part = slice(start, start + size)
            similarity = functional.linear(given, self.unit[part])
            # A cosine over the temperature is below 17: no exponential overflows.
            kernel = (similarity.to_dense() if similarity.is_mkldnn else similarity).exp_()
            weights = self.weights[part]
            if weights.shape[1] == 1:
                # A product with a single column would round ten times more.
                total += (kernel * weights.T).sum(dim=1, keepdim=True)
            else:
                total += kernel @ weights
            own = slice(*first[[0, -1]].tolist())
            votes += functional.embedding_bag(
                self.voter[own],
                kernel.T.contiguous(),
                first - first[0],
                mode="sum",
                per_sample_weights=self.vote_value[own],
                include_last_offset=True,
            )
        return votes.T, total

    def _at_once(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same sums by plain products: for graphs, gradients and half precision."""
        kernel = queries @ self.unit.T
        # In place, for the memory. The largest cancels out: it needs no gradient.
        kernel.sub_(kernel.detach().amax(1, keepdim=True)).exp_()
        sums = kernel @ self.get_buffer("votes")
        return sums[:, : len(self.prior)], sums[:, len(self.prior) :]

    def check_state(self) -> None:
        """Raise a ``ValueError`` unless the tensors fit together: sums of rows trust indices."""
        (n_samples, width), n_labels = self.unit.shape, len(self.prior)
        if self.unit.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the embeddings of the neighbours are {self.unit.dtype}")
        size = self.block_size
        if type(size) is not int or not 0 < size <= n_samples:
            raise ValueError(f"blocks of {size!r} of {n_samples} neighbours")
        own_weights = self.weights.shape == (n_samples, 1)
        n_votes, n_blocks = len(self.vote_value), -(-n_samples // size)
        expected: dict[str, Like | None] = {
            "unit": Like((n_samples, width), self.unit.dtype),
            "weights": Like((n_samples, 1 if own_weights else n_labels)),
            "prior": Like((n_labels,), torch.float64),
            "informed": Like((n_labels,), torch.bool),
            "votes": None,
            "voter": Like((n_votes,), torch.int32),
            "vote_value": Like((n_votes,)),
            "first_vote": Like((n_blocks, n_labels + 1), torch.int32),
        }
        check_tensors(self, expected)
        first = self.first_vote.long()
        whole = first[0, 0] == 0 and first[-1, -1] == n_votes
        in_order = (first.diff() >= 0).all() and (first[1:, 0] == first[:-1, -1]).all()
        if not (whole and in_order):
            raise ValueError("votes of neighbours are of no such label, or unsorted")
        sample, _ = self._places()
        if not ((self.voter >= 0) & (self.voter < size) & (sample < n_samples)).all():
            raise ValueError("votes of neighbours are of no such sample")

    def _places(self) -> tuple[Tensor, Tensor]:
        """Return the numbers of the sample and of the label of each vote."""
        n_blocks, n_labels = len(self.first_vote), len(self.prior)
        bags = torch.arange(n_blocks * n_labels, device=self.first_vote.device)
        bag = bags.repeat_interleave(self.first_vote.diff().flatten())
        return bag // n_labels * self.block_size + self.voter, bag % n_labels

    def densify(self) -> None:
        """Store votes and weights as one matrix: graphs have no sums of chosen rows.

        A product with a single column of weights would round ten times more.
        """
        sample, label = self._places()
        votes = self.vote_value.new_zeros(len(self.unit), len(self.prior))
        votes[sample, label] = self.vote_value
        self.votes = torch.cat([votes, self.weights], dim=1)
        for name in ("voter", "vote_value", "first_vote", "weights"):
            setattr(self, name, None)


def _int32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int32))
