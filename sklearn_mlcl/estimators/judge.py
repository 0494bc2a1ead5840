"""Out of fold: what each part says of samples that it never saw, and what that chooses."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn

from sklearn_mlcl.estimators.encoders import feature_scaler
from sklearn_mlcl.estimators.task import Heads, Judged, Task, has_tree, number
from sklearn_mlcl.heads.evaluation import CachedEmbedding, outputs
from sklearn_mlcl.heads.held_out import (
    Blend,
    Decision,
    HeldOut,
    HeldOutParts,
    choose_blend,
    chosen,
    for_ensemble,
)
from sklearn_mlcl.heads.logistic import default_weight, fit_linear, has_linear, held_out_linear
from sklearn_mlcl.heads.predictor import AffineHead, NeighborHead, Predictor
from sklearn_mlcl.heads.scaled_tree import ScaledTree, fit_feature_tree
from sklearn_mlcl.training import IndexBatchNet, RowTensors
from sklearn_mlcl.training._parallel import agreed, in_parts, processes_of_fit
from sklearn_mlcl.utils.answers import logit
from sklearn_mlcl.utils.fit_data import FitData, LabelStats
from sklearn_mlcl.utils.parameters import setting
from sklearn_mlcl.utils.samples import is_table

#: Samples on which the members are compared with their mean.
COMPARED_SAMPLES = 2_000
#: The share of the neighbours, and the threshold, where nothing is chosen.
NEIGHBOR_WEIGHT, DEFAULT_THRESHOLD = 0.5, 0.5
#: The share of a tree of labels on the features that others must beat. On the rows of
#: ``benchmarks/bench_xmc.py`` the net gains less than 2 % of the log loss, and loses in precision.
#: Nor do the neighbours gain more beside a tree, and their votes cost more than its search.
TREE_WEIGHT = 1.0


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

    @cached_property
    def linear(self) -> tuple[np.ndarray, float]:
        """Log-odds (n, L) of regressions on the features, and the best C."""
        judged, parts = self.judged, list(self.task.parts())
        scalers = [feature_scaler(part, self.task.scaled) for part in parts]
        return held_out_linear(parts, scalers, judged.data.X, judged.fold, judged.judgement)

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
    _linear_parts: dict[tuple[Any, ...], nn.Sequential] = field(
        default_factory=dict, init=False, repr=False
    )

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

    def held_out_parts(
        self, with_neighbors: bool, with_linear: bool, tree: bool
    ) -> tuple[HeldOutParts | None, float | None]:
        """Return what the parts say of the held-out samples, and the best C of the linear part.

        Both are None where there are no such samples, or they tell nothing.
        """
        if self.judge is None or not self.judge.judged.judgement.informs:
            return None, None
        votes = self.votes if with_neighbors else None
        linear, C = None, None
        if with_linear and tree:
            linear = self.tree_log_odds
        elif with_linear:
            linear, C = self.judge.linear
        return HeldOutParts(self.head_log_odds, votes, linear), C

    def neighbors(self, stats: LabelStats, random_state: np.random.RandomState) -> NeighborHead:
        """Return the neighbours; ``random_state`` draws which, where there are too many.

        ``stats`` says how frequent a label is that none of them knows.
        """
        kept = self.task.train.subsample(random_state)
        near = self.task.train.take(kept)
        return NeighborHead(self.known.of(kept), near.Y, near.sample_weight, stats)

    @property
    def _held_out(self) -> tuple[Judge, np.ndarray]:
        assert self.judge is not None and self.own is not None
        return self.judge, self.own

    def linear_part(
        self,
        C: float | None,
        random_state: np.random.RandomState,
        before: nn.Sequential | None = None,
    ) -> nn.Sequential:
        """Return the logistic regressions on the features; ``random_state`` draws as it stands.

        Of those that an earlier part of the data left, ``before``, the scaling stays, and so do the
        labels that show a single value today.
        """
        key = (C, joblib.hash(random_state.get_state()))
        if key not in self._linear_parts:
            train, scaled = self.task.train, self.task.scaled
            scaler: Any = feature_scaler(train, scaled) if before is None else before[0]
            self._linear_parts[key] = made = fit_linear(train, scaler, C, random_state)
            if before is not None:
                labels = torch.from_numpy(np.flatnonzero(self.task.stats.constant))
                with torch.no_grad():
                    for new, old in zip(made.parameters(), before.parameters(), strict=True):
                        new[labels] = old[labels]
        return self._linear_parts[key]

    @cached_property
    def label_tree(self) -> ScaledTree:
        """A tree of labels on the features."""
        scaler = feature_scaler(self.task.train, self.task.scaled)
        drawn = np.random.RandomState(self.task.seed)
        return fit_feature_tree(self.task.train, scaler, drawn)

    @cached_property
    def tree_log_odds(self) -> np.ndarray:
        """Log-odds (n, L) of the tree for the held-out samples, which it never saw."""
        judge, _ = self._held_out
        options = {"dtype": torch.float32, "entries": 8 * self.task.data.n_labels}
        return outputs(self.label_tree, judge.judged.data.X, device=judge.device, **options)


# ---------------------------------------------------------------------- choices


def choose(clf: Any, trained: Trained) -> dict[str, Any]:
    """Return the attributes that held-out samples choose, of what was trained."""
    task, judge, previous = trained.task, trained.judge, trained.previous
    before = previous if task.is_part else None
    tree = has_tree(clf, task.spec)
    with_linear = _with_linear(clf, task.train, tree)
    if task.is_part and tree:
        # The net learns from all parts, a tree would forget those before.
        with_linear = before is not None and isinstance(before.linear, ScaledTree)
    asked = _weights_asked(clf, tree)
    usual = previous.blend if previous is not None and judge is None else None
    blend = _default_blend(task.train, asked, with_linear, tree, usual)
    parts, C = trained.held_out_parts(blend.neighbor_weight > 0, with_linear, tree)
    whole = blend
    if judge is not None and parts is not None:
        blend = agreed(choose_blend(parts, judge.judged.judgement, blend, *asked, task.seed))
        whole = agreed(judge.for_ensemble(blend, trained.known, trained.heads.module))
    random_state = np.random.RandomState(task.seed)
    stats = task.stats
    if before is not None:
        # Labels that the latest samples do not know get the prior of all samples so far.
        stats = stats.with_earlier(before.counts, before.weighted_counts)
    neighbors = trained.neighbors(stats, random_state) if blend.neighbor_weight > 0 else None
    linear: nn.Module | None = None
    if blend.linear_weight > 0 and tree:
        kept = None if before is None else before.linear
        linear = kept or trained.label_tree
    elif blend.linear_weight > 0:
        earlier = None if before is None else before.linear
        kept = earlier if isinstance(earlier, nn.Sequential) else None
        linear = trained.linear_part(C, random_state, kept)
    predictor = Predictor(
        trained.net.module_,
        trained.heads.module,
        stats.counts,
        setting(clf, "pseudo_count"),
        stats.weighted_counts,
        neighbors=neighbors,
        linear=linear,
        blend=whole,
    )
    if (processes := processes_of_fit()) is not None:
        processes.hand_out(t for t in predictor.state_dict().values() if torch.is_tensor(t))
    held_out = None
    if judge is not None and parts is not None:
        scale, shift = predictor.calibration(blend)
        log_odds = scale * parts.blended(blend) + shift
        held_out = judge.kept(log_odds.astype(np.float32))
    threshold, decision = agreed(_decided(clf, trained, held_out))
    kind = clf._format.kind
    return {
        "predictor_": predictor,
        "decision_": decision,
        "validation_scores_": {} if held_out is None else held_out.scores(threshold, kind),
        "_held_out": held_out,
        "_threshold_asked": clf.threshold,
        "_threshold_chosen": threshold,
    }


def _weights_asked(clf: Any, tree: bool) -> tuple[float | None, float | None]:
    """Return the shares of the neighbours and of the linear part; None where they are chosen."""
    of_neighbors = number(clf.neighbor_weight)
    if of_neighbors is None and tree:
        of_neighbors = 0.0
    return of_neighbors, number(clf.linear_weight)


def _default_blend(
    data: FitData,
    asked: tuple[float | None, float | None],
    with_linear: bool,
    tree: bool,
    usual: Blend | None,
) -> Blend:
    """Return the weights where nothing is chosen: those asked for, those of before, or usual."""
    if usual is None:
        weight = TREE_WEIGHT if tree else default_weight(data)
        usual = Blend(NEIGHBOR_WEIGHT, weight, centered=not tree)
    v, w = asked
    w = usual.linear_weight if w is None else w
    return replace(
        usual,
        neighbor_weight=usual.neighbor_weight if v is None else v,
        linear_weight=w if with_linear else 0.0,
    )


def _with_linear(clf: Any, data: FitData, tree: bool) -> bool:
    """Return whether there is a linear part; beside a ``module`` only if it is asked for."""
    if not clf._own_inputs:
        weight = clf.linear_weight
        return weight != 0 if tree else has_linear(weight, data)
    asked = number(clf.linear_weight) or 0.0
    if asked > 0 and not is_table(data.X):
        raise ValueError(
            f"linear_weight={asked} needs floats of shape (n_samples, n_features), got X of dtype "
            f"{data.X.dtype} and shape {data.X.shape}."
        )
    return asked > 0


def _decided(clf: Any, trained: Trained, held_out: HeldOut | None) -> tuple[Any, Decision]:
    """Return the threshold and the decision rule in force, chosen on held-out samples."""
    spec = trained.task.spec
    rule = spec.rule if clf._format.kind == "multilabel" else "threshold"
    objective = objective_of(clf.threshold, clf._format.kind)
    if objective is None and rule == "auto":
        objective = "f1_micro"
    threshold: Any = DEFAULT_THRESHOLD if isinstance(clf.threshold, str) else clf.threshold
    if not isinstance(threshold, Real):
        threshold = clf._checked_threshold(threshold)
    if held_out is None:
        asked = [f"decision={rule!r}"] if rule != "threshold" else []
        if trained.previous is not None and isinstance(clf.threshold, str):
            threshold = clf._tuned_threshold()  # what was chosen stays
        elif isinstance(clf.threshold, str) and clf.threshold != "auto":
            asked.append(f"threshold={clf.threshold!r}")
        if asked:
            warnings.warn(
                f"{' and '.join(asked)} needs held-out samples, but none could be held out: "
                f"the threshold is {threshold}. Pass X_val and y_val, more samples, or another "
                "validation.",
                UserWarning,
                stacklevel=2,
            )
        return threshold, Decision("threshold")
    if objective is not None:
        threshold = held_out.tuned(objective)
    decoder = trained.heads.fitted.get("decoder_")
    return threshold, chosen(rule, threshold, held_out, trained.own, decoder, spec.prior)


def objective_of(threshold: Any, kind: str) -> str | None:
    """Return what a parameter ``threshold`` is tuned for; None where it is a number."""
    if not isinstance(threshold, str):
        return None
    return None if threshold == "auto" and kind != "multilabel" else threshold
