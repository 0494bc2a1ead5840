"""Out of fold: what each part of a prediction says of samples that it never saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from torch import nn

from sklearn_mlcl.estimators.encoders import feature_scaler
from sklearn_mlcl.estimators.task import Judged, Task
from sklearn_mlcl.heads.evaluation import CachedEmbedding, outputs
from sklearn_mlcl.heads.held_out import Blend, HeldOut, for_ensemble
from sklearn_mlcl.heads.logistic import fit_linear, held_out_linear
from sklearn_mlcl.heads.predictor import AffineHead, NeighborHead, Predictor
from sklearn_mlcl.heads.scaled_tree import ScaledTree, fit_feature_tree
from sklearn_mlcl.training import IndexBatchNet, RowTensors
from sklearn_mlcl.training._parallel import in_parts
from sklearn_mlcl.utils.answers import logit
from sklearn_mlcl.utils.fit_data import FitData

#: Samples on which the members are compared with their mean.
COMPARED_SAMPLES = 2_000


class Judge:
    """Held-out samples of a training, and what a net says of them.

    Parameters
    ----------
    task : Task
        The training.
    judged : Judged
        Its held-out samples.
    device : torch.device
        Where the net is.
    columns : ndarray of int, default=None
        Numbers of the features of a CSR X that the net sees; None for all.
    """

    def __init__(
        self,
        task: Task,
        judged: Judged,
        device: torch.device,
        columns: np.ndarray | None = None,
    ) -> None:
        self.task, self.judged, self.device = task, judged, device
        self.by_member = task.folds.by_member
        n_folds = task.folds.n_folds if self.by_member else 1
        self._linear: tuple[np.ndarray, float] | None = None
        #: Places of the samples of each fold among those judged.
        self.places = [np.flatnonzero(judged.fold == k) for k in range(n_folds)]
        self._rows = RowTensors(judged.data, device, columns=columns)

    def embeddings(self, net: IndexBatchNet) -> np.ndarray:
        """Return embeddings (n, h) by the member that holds a sample out; (n, M * h) by all."""
        if not self.by_member:
            return CachedEmbedding(net.module_, self.judged.data.X, self.device).all()
        n = max(map(len, self.places))
        index = torch.from_numpy(np.stack([np.resize(place, n) for place in self.places]))
        own = net.embeddings(self._rows, index)
        found = np.empty((len(self.judged.fold), own.shape[-1]), dtype=np.float32)
        for place, by_member in zip(self.places, own, strict=True):
            found[place] = by_member[: len(place)]
        return found

    def head_log_odds(self, head: nn.Module, embedding: np.ndarray) -> np.ndarray:
        """Return log-odds (n, L) of a head, for embeddings of :meth:`embeddings`."""
        if not (self.by_member and isinstance(head, AffineHead)):
            return outputs(head, embedding, device=self.device, dtype=torch.float32)
        found = np.empty(self.judged.Y.shape, dtype=np.float32)
        for k, place in enumerate(self.places):
            weight, bias = (part.float().numpy() for part in head.of_member(k))
            found[place] = embedding[place] @ weight.T + bias
        return found

    def kept(self, log_odds: np.ndarray) -> HeldOut:
        """Return what the estimator keeps of the held-out samples."""
        data = self.judged.data
        return HeldOut(
            log_odds,
            self.judged.Y,
            data.sample_weight,
            None if self.task.is_given else data.numbers,
            0 if self.task.is_given else data.n_given,
        )

    def votes(self, embedding: np.ndarray, known: CachedEmbedding) -> np.ndarray:
        """Return probabilities (n, L) of the neighbours, each among what its member learnt.

        ``known`` has the embeddings of all samples of the training, side by side.
        """
        if not self.by_member:
            kept = self.task.train.subsample(np.random.RandomState(self.task.seed))
            near = self.task.train.take(kept)
            return self._vote(known.of(kept), near, self.task.stats, embedding)
        n_folds = len(self.places)
        by_member = known.all().reshape(self.task.data.n_samples, n_folds, -1)
        found = np.empty(self.judged.Y.shape, dtype=np.float32)
        for k, place in enumerate(self.places):
            own, stats = by_member[self.task.folds.learnt(k), k], self.task.member_stats[k]
            found[place] = self._vote(own, self.task.learnt(k), stats, embedding[place])
        return found

    def _vote(self, own: np.ndarray, near: FitData, stats: Any, queries: np.ndarray) -> np.ndarray:
        head = NeighborHead(np.ascontiguousarray(own), near.Y, near.sample_weight, stats)

        def voted(part: slice) -> np.ndarray:
            return outputs(head, queries[part], device=self.device, dtype=torch.float32)

        return in_parts(len(queries), voted)

    def linear(self, scaled: bool) -> tuple[np.ndarray, float]:
        """Return log-odds (n, L) of regressions on the features, and the best C; computed once."""
        if self._linear is not None:
            return self._linear
        parts = [self.task.learnt(k) for k in range(len(self.places))]
        scalers = [feature_scaler(part, scaled) for part in parts]
        X = self.judged.data.X
        judged = self.judged
        self._linear = held_out_linear(parts, scalers, X, judged.fold, judged.judgement)
        return self._linear

    def loss(self, net: IndexBatchNet, head: nn.Module | None) -> float:
        """Return the log loss of a head, or of the neighbours if None, at the best scale."""
        embedding = self.embeddings(net)
        if head is not None:
            log_odds = self.head_log_odds(head, embedding)
        else:
            known = CachedEmbedding(net.module_, self.task.train.X, self.device)
            log_odds = logit(self.votes(embedding, known))
        return self.judged.judgement.scaled(log_odds)[2]

    def for_ensemble(self, blend: Blend, known: CachedEmbedding, head: nn.Module) -> Blend:
        """Return the blend of the mean of the members, from that of single ones."""
        if not (self.by_member and isinstance(head, AffineHead)):
            return blend
        n = self.task.data.n_samples
        samples = np.arange(0, n, max(1, n // COMPARED_SAMPLES))
        embedding = torch.from_numpy(known.of(samples)).to(head.weight)
        return for_ensemble(blend, head.by_member(embedding).double().numpy())


class Heads(NamedTuple):
    """What stands on the embeddings side by side: a module, and fitted attributes."""

    module: nn.Module
    fitted: dict[str, Any]


@dataclass
class Trained:
    """A trained net and its heads, before the weights of the parts are chosen.

    What is costly is computed where somebody asks for it, and once.

    Attributes
    ----------
    net : IndexBatchNet
        The net.
    task : Task
        Its training.
    judge : Judge or None
        Its held-out samples.
    known : CachedEmbedding
        Embeddings of the samples of the training.
    own : ndarray or None
        Those of the held-out samples.
    heads : Heads
        What stands on the embeddings.
    previous : Predictor or None
        The predictor that the training went on from.
    """

    net: IndexBatchNet
    task: Task
    judge: Judge | None
    known: CachedEmbedding
    own: np.ndarray | None
    heads: Heads
    previous: Predictor | None
    _linear_parts: dict[tuple[Any, ...], nn.Module] = field(
        default_factory=dict, init=False, repr=False
    )
    _tree: ScaledTree | None = field(default=None, init=False, repr=False)
    _tree_log_odds: np.ndarray | None = field(default=None, init=False, repr=False)

    @cached_property
    def head_log_odds(self) -> np.ndarray:
        """Log-odds (n, L) of the head for the held-out samples."""
        judge, own = self._held_out
        return judge.head_log_odds(self.heads.module, own)

    @cached_property
    def votes(self) -> np.ndarray:
        """Probabilities (n, L) of the neighbours for the held-out samples."""
        judge, own = self._held_out
        return judge.votes(own, self.known)

    @property
    def _held_out(self) -> tuple[Judge, np.ndarray]:
        assert self.judge is not None and self.own is not None
        return self.judge, self.own

    def linear_part(
        self, scaled: bool, C: float | None, random_state: np.random.RandomState
    ) -> nn.Module:
        """Return the logistic regressions on the features; ``random_state`` draws as it stands."""
        key = (C, joblib.hash(random_state.get_state()))
        if key not in self._linear_parts:
            scaler = feature_scaler(self.task.train, scaled)
            self._linear_parts[key] = fit_linear(self.task.train, scaler, C, random_state)
        return self._linear_parts[key]

    def label_tree(self, scaled: bool) -> ScaledTree:
        """Return a tree of labels on the features."""
        if self._tree is None:
            scaler = feature_scaler(self.task.train, scaled)
            drawn = np.random.RandomState(self.task.seed)
            self._tree = fit_feature_tree(self.task.train, scaler, drawn)
        return self._tree

    def tree_log_odds(self, scaled: bool) -> np.ndarray:
        """Return log-odds (n, L) of the tree for the held-out samples, which it never saw."""
        if self._tree_log_odds is None:
            judge, _ = self._held_out
            rows, n_labels = judge.judged.data.X, self.task.data.n_labels
            self._tree_log_odds = outputs(
                self.label_tree(scaled),
                rows,
                device=judge.device,
                dtype=torch.float32,
                entries=8 * n_labels,
            )
        return self._tree_log_odds
