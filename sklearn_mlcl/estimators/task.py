"""One training planned: what each member learns from, and what it is judged on."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from numbers import Real
from typing import Any, NamedTuple

import joblib
import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils import check_random_state
from torch import nn

from sklearn_mlcl.heads.held_out import Judgement, center
from sklearn_mlcl.heads.logistic import wants_tree
from sklearn_mlcl.heads.predictor import AffineHead
from sklearn_mlcl.heads.scaled_tree import ScaledTree
from sklearn_mlcl.model_selection._held_out import sample_numbers
from sklearn_mlcl.model_selection._splitters import Folds, common_share, member_folds, no_folds
from sklearn_mlcl.persistence._checkpoint import KeptFit
from sklearn_mlcl.training import IndexBatchNet, RowTensors
from sklearn_mlcl.training._parallel import agreed
from sklearn_mlcl.utils.fit_data import (
    ClassWeights,
    FitData,
    LabelStats,
    class_weights,
    weighted_counts,
)
from sklearn_mlcl.utils.parameters import setting

#: Samples up to which ``max_epochs="auto"`` is AUTO_EPOCHS; of more, epochs fall as one over the
#: root of their number.
AUTO_SAMPLES, AUTO_EPOCHS, FEWEST_EPOCHS = 2_000, 40, 8
#: Held-out entries that are kept and judged at most; of more, a random part of the samples is.
JUDGED_ENTRIES = 2**23
#: From so many members on each holds out a fold of its own, up to so many samples. Else a common
#: share is held out, up to so many samples.
FEWEST_MEMBERS, HELD_OUT_SAMPLES, HELD_OUT_SHARE = 4, 20_000, 0.1


class Specification(NamedTuple):
    """What a class of estimators has of its own, as its parameters say. The base does the rest.

    Attributes
    ----------
    modules : callable
        ``modules(clf, task)`` returns what makes embeddings of samples, and the objective of its
        training.
    trained_head : callable or None
        ``trained_head(net, n_labels)`` returns the head that was trained with the encoder. With
        None, logistic regressions on the embedding are the head.
    finished_head : callable or None
        ``finished_head(clf, head, known, own, task)`` returns what stands on the embeddings in the
        end, of ``known`` samples of the training and of the ``own`` held-out ones; None: the head.
    may_refit : bool
        Whether logistic heads may be blended into the trained head.
    members_hold_out : bool
        Whether each member of an ensemble can hold out samples of its own.
    rule, prior : str, object
        The decision rule that is asked for, and the prior of the label sets.
    net_class : type
        The class of the net that is trained.
    """

    modules: Callable[[Any, Task], tuple[nn.Module, nn.Module]]
    trained_head: Callable[[IndexBatchNet, int], AffineHead] | None
    finished_head: Callable[..., Heads] | None = None
    may_refit: bool = True
    members_hold_out: bool = True
    rule: str = "threshold"
    prior: Any = 0.0
    net_class: type[IndexBatchNet] = IndexBatchNet


class Heads(NamedTuple):
    """What stands on the embeddings side by side: a module, and fitted attributes."""

    module: nn.Module
    fitted: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One training: what it learns from, what it is judged on, and for how long.

    Attributes
    ----------
    spec : Specification
        What the class of the estimator has of its own.
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
    scaled : bool
        Whether the features are scaled.
    n_before : int
        Epochs that the net was trained for before.
    is_part : bool
        Whether the samples are a part of the data, as ``partial_fit`` sees them.
    """

    spec: Specification
    data: FitData
    folds: Folds
    valid: FitData | None
    is_given: bool
    class_weights: list[ClassWeights]
    overall: ClassWeights
    seed: int
    n_epochs: int
    schedule: str
    scaled: bool
    n_before: int
    is_part: bool

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
        return [LabelStats.of(part) for part in self.parts()]

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

    def parts(self) -> Iterator[FitData]:
        """Yield what each member learns from; what all learn from once."""
        return map(self.learnt, range(max(1, self.folds.n_folds)))

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
        weight = None if weight is None else weight[samples]
        judgement = Judgement.of(Y, weight, known, center(self.stats.log_odds))
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


# ---------------------------------------------------------------------- planning


class Dealt(NamedTuple):
    """Samples of a fit, by what they hash to, and what was held out of those that take part."""

    digest: str
    part: np.ndarray | None
    folds: Folds

    @classmethod
    def checked(cls, digest: str, drawn: Any, n: int) -> Dealt:
        """Return what was drawn when a fit of n samples began, which a file may have kept."""
        part, of_sample, n_folds = drawn
        known = part is None or (
            _are_numbers(part) and part.size and 0 <= part.min() <= part.max() < n
        )
        size = n if part is None else np.size(part)
        if not (
            known
            and _are_numbers(of_sample)
            and of_sample.shape == (size,)
            and type(n_folds) is int
            and -1 <= of_sample.min() <= of_sample.max() < max(n_folds, 0)
        ):
            raise ValueError("checkpoint: the state that was kept holds out other samples.")
        return cls(digest, part, Folds(of_sample, n_folds))


def _are_numbers(value: Any) -> bool:
    """Whether a value is an array of integers of one dimension."""
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "i"


def plan(
    clf: Any,
    data: FitData,
    valid: FitData | None,
    kept: KeptFit,
    continuing: bool,
    is_part: bool = False,
) -> Task:
    """Plan a training: what is held out, what each sample weighs, what seeds it.

    Parameters
    ----------
    clf : NetClassifier
        Its parameters and its specification say how.
    data, valid : FitData
        The samples to learn from, and those that were given to choose on.
    kept : KeptFit
        Keeps what is drawn here.
    continuing : bool
        Whether the training goes on from the last one.
    is_part : bool
        Whether the samples are a part of the data, as ``partial_fit`` sees them.
    """
    spec = clf._specification()
    if is_part:
        _check_tree_of_part(clf, spec)
    else:
        _check_tree(clf, spec)
    if not isinstance(clf.threshold, str):
        clf._checked_threshold(clf.threshold)
    n_epochs = 1 if is_part else most_epochs(clf.max_epochs, data.n_samples)
    n_before = clf.n_iter_ if continuing else 0
    seed = check_random_state(clf.random_state).randint(2**31 - 1)
    seed = agreed(kept.drawn("seed", seed + n_before))
    dealt = None
    if not (valid is not None or is_part or clf.validation is None):
        digest = joblib.hash((data.X, data.Y, data.groups))
        if not continuing:
            part, folds = _deal(clf, spec, data, seed)
            drawn = agreed(kept.drawn("held out", (part, folds.of_sample, folds.n_folds)))
            dealt = Dealt.checked(digest, drawn, data.n_samples)
        elif clf._dealt is not None and clf._dealt.digest == digest:
            # Of others, the net may have learnt what it would hold out.
            by_member = clf._dealt.folds.n_folds > 1
            dealt = clf._dealt if spec.members_hold_out or not by_member else None
    clf._dealt = dealt = agreed(dealt)
    if dealt is not None and dealt.part is not None:
        data = data.take(dealt.part)
    folds, is_given = no_folds(data.n_samples) if dealt is None else dealt.folds, valid is not None
    if folds.n_folds == 1:  # a share that all members hold out
        data, valid = data.take(folds.learnt(0)), data.take(folds.held_out(0))
        folds = no_folds(data.n_samples)
    overall, of_members = _class_weights(clf, data, folds)
    return Task(
        spec,
        data,
        folds,
        valid,
        is_given,
        of_members,
        overall,
        seed,
        n_epochs=n_epochs,
        schedule="constant" if is_part else setting(clf, "schedule"),
        scaled=clf.scale_input,
        n_before=n_before,
        is_part=is_part,
    )


def _class_weights(
    clf: Any, data: FitData, folds: Folds
) -> tuple[ClassWeights, list[ClassWeights]]:
    """Return the class weights of all samples, and those of all members or of each."""

    def read(part: FitData) -> ClassWeights:
        return class_weights(clf.class_weight, clf._format, part.Y, part.sample_weight)

    overall = read(data)
    if not (folds.by_member and isinstance(clf.class_weight, str)):
        return overall, [overall]
    # "balanced" counts the samples that a member learns from, and no others.
    return overall, [read(data.take(folds.learnt(k))) for k in range(folds.n_folds)]


def _deal(
    clf: Any, spec: Specification, data: FitData, seed: int
) -> tuple[np.ndarray | None, Folds]:
    """Return the samples that take part, None for all, and what is held out of them."""
    if isinstance(clf.validation, str | Real):
        return None, _folds(clf, spec, data, seed)
    train, held_out = _first_split(clf, data)
    folds = Folds(np.repeat([-1, 0], [len(train), len(held_out)]), 1)
    return np.concatenate([train, held_out]), folds


def _first_split(clf: Any, data: FitData) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the samples to learn from and to hold out, by a splitter."""
    y: Any = data.Y.astype(np.float64)  # a splitter may compute with it
    if clf._format.kind != "multilabel":
        y = y[:, 0] if clf._format.kind == "binary" else y.argmax(axis=1)
    n = data.n_samples
    parts = next(iter(clf.validation.split(data.X, y, data.groups)), ())
    numbers = [sample_numbers(part, n) for part in parts]
    if len(numbers) == 2 and all(own is not None for own in numbers):
        # Numbers may count from the end.
        train, held_out = (np.arange(n)[own] for own in numbers)
        if not np.isin(held_out, train).any():
            return train, held_out
    raise ValueError(
        f"The first split of validation, a {type(clf.validation).__name__}, must name samples to "
        f"learn from and others to hold out, by numbers or masks of the {n} samples of positive "
        f"weight; got {reprlib.repr(parts)}."
    )


def _folds(clf: Any, spec: Specification, data: FitData, seed: int) -> Folds:
    """Deal the samples to what is held out, as ``validation`` says."""
    n, share = data.n_samples, clf.validation
    if isinstance(share, Real):
        return common_share(data, float(share), seed)
    several = clf.n_estimators >= FEWEST_MEMBERS and not clf._own_inputs
    # A tree for each fold would cost as much as the training.
    by_member = spec.members_hold_out and several and not has_tree(clf, spec)
    if by_member and n <= HELD_OUT_SAMPLES:
        return member_folds(data, int(clf.n_estimators), seed)
    return common_share(data, min(HELD_OUT_SHARE, HELD_OUT_SAMPLES / n), seed)


def _check_tree(clf: Any, spec: Specification) -> None:
    """Raise for a tree of labels where there is none, and for refitted heads beside one."""
    if has_tree(clf, spec) and setting(clf, "refit_head") is True:
        raise ValueError(
            "net_params__refit_head=True blends a logistic regression for each label into the "
            f"trained head, but {clf._format.n_labels} labels have a tree "
            f"(net_params__label_tree={setting(clf, 'label_tree')!r}): set "
            "net_params__label_tree=False, or leave net_params__refit_head at 'auto'."
        )
    if setting(clf, "label_tree") is True and not has_tree(clf, spec):
        needed = {
            "linear_weight": "linear_weight above 0 ('auto' is 0 where a module sees samples "
            "as they are)",
            "head": "head='logistic'",
        }
        texts, given = _known(clf, needed)
        raise ValueError(
            "net_params__label_tree=True needs logistic regressions: expected "
            f"{' or '.join(texts)}; got {given}."
        )


def _check_tree_of_part(clf: Any, spec: Specification) -> None:
    """Raise if ``partial_fit`` would have to fit a tree of labels."""
    kept = hasattr(clf, "predictor_") and isinstance(clf.predictor_.linear, ScaledTree)
    asked = (number(clf.linear_weight) or 0.0) > 0 and not kept
    if has_tree(clf, spec) and (spec.trained_head is None or asked):
        needed = {
            "linear_weight": "linear_weight='auto'",
            "head": "a head that is trained with the encoder",
        }
        texts, given = _known(clf, needed)
        raise ValueError(
            "partial_fit cannot fit a tree of labels, because it sees only a part of the samples. "
            f"Set {' and '.join(texts)}, or net_params__label_tree=False; got {given}, "
            f"{clf._format.n_labels} labels."
        )


def _known(clf: Any, needed: dict[str, str]) -> tuple[list[str], str]:
    """Return texts about the parameters that this class has, and their values, for an error."""
    own = [name for name in needed if name in clf._declared]
    return [needed[n] for n in own], ", ".join(f"{n}={getattr(clf, n)!r}" for n in own)


def has_tree(clf: Any, spec: Specification) -> bool:
    """Return whether a tree of labels takes the place of logistic regressions, one a label."""
    given = number(clf.linear_weight)
    with_linear = (given or 0.0) > 0 if clf._own_inputs else given != 0
    wanted = wants_tree(setting(clf, "label_tree"), clf._format.n_labels)
    return wanted and (spec.trained_head is None or with_linear)


def number(weight: float | str) -> float | None:
    """Return a weight that is given; None for "auto"."""
    return None if isinstance(weight, str) else float(weight)


def most_epochs(max_epochs: int | str, n_samples: int) -> int:
    """Return ``max_epochs``, "auto" resolved: fewer passes over more samples."""
    if not isinstance(max_epochs, str):
        return int(max_epochs)
    share = sqrt(min(1.0, AUTO_SAMPLES / n_samples))
    return max(FEWEST_EPOCHS, ceil(AUTO_EPOCHS * share))
