"""One training planned: what each member learns from, and what it is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from sklearn_mlcl.heads.held_out import Judgement
from sklearn_mlcl.model_selection._splitters import Folds
from sklearn_mlcl.training import RowTensors
from sklearn_mlcl.utils.fit_data import ClassWeights, FitData, LabelStats, weighted_counts

#: Held-out entries that are kept and judged at most; of more, a random part of the samples is.
JUDGED_ENTRIES = 2**23


@dataclass(frozen=True)
class Task:
    """One training: what it learns from, what it is judged on, and for how long.

    Attributes
    ----------
    data : FitData
        Samples to learn from, without class weights.
    folds : Folds
        Which of them each member holds out; none with a ``valid`` of all members.
    valid : FitData or None
        Samples that all members hold out.
    is_given : bool
        Whether those came as ``X_val``.
    class_weights : list of ClassWeights
        The class weights, of all members or of each.
    overall : ClassWeights
        Those of all samples, for what stands on all members.
    seed : int
        Seeds all that is random.
    n_epochs : int
        Epochs at most.
    schedule : str
        Course of the learning rate.
    is_part : bool
        Whether the samples are a part of the data, as ``partial_fit`` sees them.
    """

    data: FitData
    folds: Folds
    valid: FitData | None
    is_given: bool
    class_weights: list[ClassWeights]
    overall: ClassWeights
    seed: int
    n_epochs: int
    schedule: str
    is_part: bool

    @classmethod
    def of(
        cls,
        data: FitData,
        folds: Folds,
        valid: FitData | None,
        class_weight: Any,
        target_format: Any,
        **settings: Any,
    ) -> Task:
        """Split off a common held-out share, and read class weights."""
        is_given = valid is not None
        if folds.n_folds == 1:
            data, valid = data.take(folds.learnt(0)), data.take(folds.held_out(0))
            folds = Folds(np.full(data.n_samples, -1), 0)
        overall = data.class_weights(class_weight, target_format)
        weights = [overall]
        if folds.by_member and isinstance(class_weight, str):
            # "balanced" counts the samples that a member learns from, and no others.
            parts = (data.take(folds.learnt(k)) for k in range(folds.n_folds))
            weights = [part.class_weights(class_weight, target_format) for part in parts]
        return cls(data, folds, valid, is_given, weights, overall, **settings)

    @cached_property
    def train(self) -> FitData:
        """``data`` with class weights in its weights."""
        return self.data.weighted(self.overall)

    @cached_property
    def stats(self) -> LabelStats:
        """What is known of the labels of ``train``."""
        return LabelStats.of(self.train)

    @cached_property
    def member_stats(self) -> list[LabelStats]:
        """What is known of the labels that each member learns from; of all where they share."""
        if not self.folds.by_member:
            return [self.stats]
        return [LabelStats.of(self.learnt(k)) for k in range(self.folds.n_folds)]

    @property
    def log_odds(self) -> np.ndarray:
        """Log-odds of the labels among what a member learns from, (L,) or (M, L)."""
        by_member = [stats.log_odds for stats in self.member_stats]
        return np.stack(by_member) if self.folds.by_member else by_member[0]

    def learnt(self, k: int) -> FitData:
        """Return what member k learns from, with its class weights."""
        if not self.folds.by_member:
            return self.train
        own = self.data.take(self.folds.learnt(k))
        return own.weighted(self.class_weights[k if len(self.class_weights) > 1 else 0])

    def rows(self, device: torch.device, columns: np.ndarray | None) -> RowTensors:
        """Return the samples to train on, with some features of a CSR X."""
        if not self.folds.by_member:
            return RowTensors(self.train, device, columns=columns)
        members = [self.folds.learnt(k) for k in range(self.folds.n_folds)]
        if len(self.class_weights) == 1:
            return RowTensors(self.train, device, members, columns=columns)
        weights: list[Any] = [self.data.weighted(w).sample_weight for w in self.class_weights]
        # Where all labels of a member are balanced as they are, its samples keep their weights.
        weights = [np.ones(self.data.n_samples) if w is None else w for w in weights]
        n_dims = max(w.ndim for w in weights)
        weights = [w[:, None] if w.ndim < n_dims else w for w in weights]
        each = list(np.broadcast_arrays(*weights))
        return RowTensors(self.train, device, members, each, columns)

    def held_out_rows(self, device: torch.device, columns: np.ndarray | None) -> RowTensors | None:
        """Return the samples that are held out, each for the member that holds it out."""
        if self.valid is not None:
            return RowTensors(self.valid.weighted(self.overall), device, columns=columns)
        if not self.folds.by_member:
            return None
        held_out = [self.folds.held_out(k) for k in range(self.folds.n_folds)]
        return RowTensors(self.train, device, held_out, columns=columns)

    def judged(self) -> Judged | None:
        """Return the samples to judge by, and their labels; None where nothing is held out."""
        if self.valid is None and not self.folds.by_member:
            return None
        if self.valid is None:
            samples, fold = self.folds.judged, self.folds.of_sample
            source, weighted, fewest = self.data, self.train, self.folds.n_folds
            # All learn from a group that has all positives of a label: they are not judged.
            w = self.train.sample_weight
            w = None if w is None else (w[samples] > 0).astype(float)
            counts = np.stack(weighted_counts(self.train.Y[samples], w))
        else:
            source, weighted = self.valid, self.valid.weighted(self.overall)
            fold = np.zeros(source.n_samples, dtype=np.int64)
            samples = np.arange(len(fold))
            fewest = ceil((self.data.n_samples + len(fold)) / len(fold))
            counts = self.stats.counts
        n_kept = max(1, JUDGED_ENTRIES // source.n_labels)
        if len(samples) > n_kept:
            rng = np.random.RandomState(self.seed)
            samples = np.sort(rng.choice(samples, n_kept, replace=False))
        data = source.take(samples)
        Y: Any = data.Y
        Y = Y.toarray() if sp.issparse(Y) else Y
        # Of a label with few positives the samples that are judged would be negatives alone.
        known = np.asarray((counts >= fewest).all(axis=0))
        # Without class weights the best shift of the log-odds would take them out of the fit again.
        weight = weighted.sample_weight
        judgement = Judgement.of(Y, None if weight is None else weight[samples], known)
        return Judged(data, fold[samples], np.where(known, Y, np.float32(np.nan)), judgement)


@dataclass(frozen=True)
class Judged:
    """Held-out samples to judge by.

    Attributes
    ----------
    data : FitData
        The samples, without class weights.
    fold : ndarray of shape (n,)
        The member that holds each of them out; 0 where all do.
    Y : ndarray of shape (n, L)
        Their labels, NaN where an entry is not judged.
    judgement : Judgement
        The same, with weights, class weights among them.
    """

    data: FitData
    fold: np.ndarray
    Y: np.ndarray
    judgement: Judgement
