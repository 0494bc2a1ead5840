"""What a fit holds out teaches nothing, and chooses by the scores that it gives."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, f1_score, log_loss, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    PredefinedSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_mlcl.estimators.task
from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelMLPClassifier,
    load,
)
from sklearn_mlcl.heads.held_out import Blend
from sklearn_mlcl.metrics import f1_samples
from sklearn_mlcl.model_selection._splitters import Folds
from sklearn_mlcl.thresholds import tune_thresholds
from sklearn_mlcl.utils.answers import logit
from tests.small import every_net, small

MEMBERS = 4
#: Nets that learn the training samples by heart, so that a leak shows.
EAGER: dict[str, Any] = {
    "hidden_layer_sizes": (32,),
    "max_epochs": 12,
    "learning_rate": 0.01,
    "dropout": 0.0,
    "feature_noise": 0.0,
}
NETS: dict[str, tuple[Any, dict[str, Any]]] = {
    "contrastive": (ContrastiveMultiLabelClassifier, {}),
    "contrastive, logistic heads": (ContrastiveMultiLabelClassifier, {"head": "logistic"}),
    "mlp": (MultiLabelMLPClassifier, {}),
    "cgmvae": (CGMVAEClassifier, {"validation": 0.5}),
    "cgmvae, logistic heads": (CGMVAEClassifier, {"validation": 0.5, "head": "logistic"}),
}
every_head = pytest.mark.parametrize("name", NETS)


def net(make: Any, **changes: Any) -> Any:
    """Return a small net whose members, where it has some, hold out folds."""
    own = {"n_estimators": MEMBERS} if "n_estimators" in make().get_params() else {}
    return small(make, **own, **changes)


def eager(name: str, mixup: bool = False, **changes: Any) -> Any:
    """Return a net of ``NETS``."""
    make, options = NETS[name]
    if "net_params__mixup" in make().get_params():
        changes = {"net_params__mixup": 0.5 if mixup else 0.0} | changes
    return net(make, **EAGER, **options, **changes)


def noise(n: int, n_labels: int = 12, sparse: bool = False) -> tuple[Any, np.ndarray]:
    """Samples, and labels that have nothing to do with them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 12))
    if sparse:
        X = sp.csr_array(X * (rng.random(X.shape) < 0.5))
    return X, (rng.random((n, n_labels)) < 0.5).astype(int)


def mean_auc(Y: np.ndarray, p: np.ndarray) -> float:
    """Return the mean area under the curve of the labels, over the samples that have answers."""
    there = ~np.isnan(p).any(axis=1)
    return float(roc_auc_score(Y[there], p[there], average="macro"))


def four_errors(n: int, n_labels: int = 12) -> float:
    """Four standard errors of the mean area, of independent labels that half of n samples have."""
    return 4 * np.sqrt((n + 1) / (3 * n**2) / n_labels)


# ---------------------------------------------------------------------- leakage


@every_head
@pytest.mark.parametrize(("sparse", "mixup"), [(False, False), (True, True)])
def test_labels_of_noise_are_not_foretold(name: str, sparse: bool, mixup: bool) -> None:
    X, Y = noise(160, sparse=sparse)
    clf = eager(name, mixup).fit(X, Y)
    n_judged = (~np.isnan(clf.oof_proba_[:, 0])).sum()
    assert n_judged == (80 if "cgmvae" in name else 160)
    assert abs(mean_auc(Y, clf.oof_proba_) - 0.5) < four_errors(n_judged)
    if "cgmvae" not in name:
        assert mean_auc(Y, clf.predict_proba(X)) > 0.9


@pytest.mark.parametrize("validation", ["folds", 0.5])
def test_no_sample_votes_for_itself(validation: Any) -> None:
    X, Y = noise(160)
    clf = eager("mlp", neighbor_weight=1.0, linear_weight=0.0, validation=validation).fit(X, Y)
    n_judged = 160 if validation == "folds" else 80
    assert abs(mean_auc(Y, clf.oof_proba_) - 0.5) < four_errors(n_judged)
    assert clf.blend_["neighbors"] == 1


@every_head
def test_copies_of_a_sample_do_not_foretell_it(name: str) -> None:
    X, Y = noise(80)
    copies = np.tile(np.arange(80), 3)
    clf = eager(name).fit(X[copies], Y[copies])
    p = clf.oof_proba_
    # What is left to chance is that of one copy.
    there = ~np.isnan(p[:80]).any(axis=1)
    assert abs(mean_auc(Y, p[:80]) - 0.5) < four_errors(there.sum())
    for copy in (p[80:160], p[160:]):
        assert_allclose(copy, p[:80], rtol=1e-4)


@every_head
def test_visits_of_a_patient_do_not_foretell_each_other(name: str) -> None:
    X, Y = noise(60)
    patient = np.repeat(np.arange(60), 4)
    visits = X[patient] + 0.1 * np.random.default_rng(1).normal(size=(240, X.shape[1]))
    p = eager(name).fit(visits, Y[patient], groups=patient).oof_proba_
    assert len(np.unique(patient[np.isnan(p[:, 0])])) == (30 if "cgmvae" in name else 0)
    assert abs(mean_auc(Y[patient], p) - 0.5) < four_errors(60 if "cgmvae" not in name else 30)
    if name == "mlp":
        assert mean_auc(Y[patient], eager(name).fit(visits, Y[patient]).oof_proba_) > 0.9


# ---------------------------------------------------------------------- members, bit by bit

CHANGED: dict[str, Any] = {
    "mlp": (MultiLabelMLPClassifier, {}),
    "mlp, without mixup": (MultiLabelMLPClassifier, {"net_params__mixup": 0.0}),
    "mlp, balanced": (MultiLabelMLPClassifier, {"class_weight": "balanced"}),
    "contrastive": (ContrastiveMultiLabelClassifier, {"loss": "mulsupcon"}),
    "contrastive, queue": (
        ContrastiveMultiLabelClassifier,
        {"loss": "any", "loss_params__queue_size": 50},
    ),
    "logistic heads": (
        ContrastiveMultiLabelClassifier,
        {"head": "logistic", "class_weight": "balanced"},
    ),
}


def weights_of_member(clf: Any, m: int) -> dict[str, np.ndarray]:
    """Return all tensors of a member: its scaler, encoder, heads and prototypes."""
    found = {}
    for part in (clf.net_.module_, clf.net_.criterion_):
        for name, tensor in part.state_dict().items():
            if torch.is_tensor(tensor) and tensor.ndim > 0:
                found[name] = tensor.reshape(MEMBERS, -1)[m].numpy()
    head = clf.predictor_.head.weight.reshape(len(clf.classes_), MEMBERS, -1)
    return found | {"head of predictions": head[:, m].numpy()}


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_member_has_nothing_of_what_it_holds_out(
    name: str, sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are the same, to the bit, whatever those samples and their labels are."""
    rng = np.random.default_rng(0)
    X, Y = noise(64, n_labels=3)
    Y = np.where(rng.random(Y.shape) < 0.1, np.nan, Y)
    weight = rng.uniform(0.5, 2, 64)
    # Folds would change with the labels; here they stay.
    folds = Folds(np.arange(64) % MEMBERS, MEMBERS)
    monkeypatch.setattr(sklearn_mlcl.estimators.task, "member_folds", lambda *args: folds)
    make, options = CHANGED[name]
    clf = net(make, early_stopping=False, neighbor_weight=0.5, linear_weight=0.0, **options)

    def fitted(X: np.ndarray, Y: np.ndarray, weight: np.ndarray) -> Any:
        samples = sp.csr_array(X) if sparse else X
        return sklearn.clone(clf).fit(samples, Y, weight if "without" not in name else None)

    before = fitted(X, Y, weight)
    own = folds.held_out(1)
    X, Y, weight = X.copy(), Y.copy(), weight.copy()
    X[own] = rng.normal(size=(16, 12)) * 100
    Y[own] = rng.choice([0, 1, np.nan], (16, 3))
    weight[own] *= 5
    after = fitted(X, Y, weight)
    expected, found = weights_of_member(before, 1), weights_of_member(after, 1)
    for part, tensor in expected.items():
        assert_array_equal(found[part], tensor, err_msg=part)
    other = weights_of_member(after, 0)
    assert any((other[part] != t).any() for part, t in weights_of_member(before, 0).items())


def test_labels_of_held_out_samples_choose_scale_and_shift_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The order in which a member ranks what it holds out does not depend on the labels of that."""
    X, Y = noise(64, n_labels=3)
    folds = Folds(np.arange(64) % MEMBERS, MEMBERS)
    monkeypatch.setattr(sklearn_mlcl.estimators.task, "member_folds", lambda *args: folds)
    clf = net(
        ContrastiveMultiLabelClassifier,
        early_stopping=False,
        neighbor_weight=0.5,
        linear_weight=0.0,
        net_params__pseudo_count=0.0,
    )
    own = folds.held_out(2)
    before = clf.fit(X, Y).oof_proba_[own]
    Y[own] = 1 - Y[own]
    after = clf.fit(X, Y).oof_proba_[own]
    # The scale is common to all entries. The shift is, but for the frequency of a label.
    x, y = (each - each.mean(axis=0) for each in (logit(before), logit(after)))
    a = (x * y).sum() / (x * x).sum()
    assert a > 0
    assert_allclose(a * x, y, atol=1e-4)


# ---------------------------------------------------------------------- who takes part


@every_net
@pytest.mark.parametrize("grouped", [False, True])
def test_samples_of_zero_weight_change_nothing(make: Any, grouped: bool) -> None:
    X, Y = noise(60, n_labels=4)
    rng = np.random.default_rng(3)
    kept = np.sort(rng.choice(200, 60, replace=False))
    more_X, more_Y = rng.choice(X.ravel(), (200, 12)), np.ones((200, 4), dtype=int)
    more_X[:50] = X[:50]  # copies of samples that count
    more_X[kept], more_Y[kept] = X, Y
    weight = np.zeros(200)
    weight[kept] = 1
    groups = rng.integers(0, 150, 200) if grouped else None
    alone = net(make).fit(X, Y, np.ones(60), groups=groups[kept] if grouped else None)
    among = net(make).fit(more_X, more_Y, weight, groups=groups)
    assert_array_equal(among.predict_proba(X), alone.predict_proba(X))
    assert_array_equal(among.oof_proba_[kept], alone.oof_proba_)
    assert np.isnan(among.oof_proba_[weight == 0]).all()
    assert among.oof_proba_.shape == (200, 4)
    assert among.validation_scores_ == alone.validation_scores_
    assert among.threshold_ == alone.threshold_


def test_labels_of_few_positives_are_learnt_and_not_judged() -> None:
    X, Y = noise(80, n_labels=5)
    Y[:, 1:4] = 0
    Y[7, 1] = Y[[7, 8, 9], 2] = Y[[7, 8, 9, 10], 3] = 1
    Y[:, 4] = 1 - Y[:, 2]
    # All positives of a label in one group: all members need it.
    groups = np.arange(80)
    clf = net(MultiLabelMLPClassifier).fit(X, Y, groups=groups)
    assert np.isnan(clf._held_out.Y).all(axis=0).tolist() == [False, True, True, True, True]
    assert np.isnan(clf.oof_proba_).all(axis=1).nonzero()[0].tolist() == [7]
    Y[:, 3] = 0
    groups[:10], Y[:10, 3] = 0, 1
    clf.fit(X, Y, groups=groups)
    assert np.isnan(clf._held_out.Y).all(axis=0).tolist() == [False, True, True, True, True]


def test_nothing_to_judge_by_chooses_nothing() -> None:
    X, Y = noise(80, n_labels=2)
    Y[:] = 0
    Y[3, 0] = Y[5, 1] = 1
    few = noise(MEMBERS - 1)[0], np.eye(MEMBERS - 1, 2, dtype=int)
    for clf in (
        net(MultiLabelMLPClassifier).fit(X, Y),
        net(MultiLabelMLPClassifier).fit(*few),
        net(MultiLabelMLPClassifier, validation=None).fit(*noise(80)),
    ):
        assert clf.n_iter_ == clf.max_epochs
        expected = {"net": 0.5, "neighbors": 0.5, "linear": 0.0, "scale": 1.0, "shift": 0.0}
        assert clf.blend_ == expected
        assert clf.threshold_ == 0.5
        assert clf.validation_scores_ == {}
        with pytest.raises(AttributeError, match="held out no training samples"):
            _ = clf.oof_proba_


def test_members_of_balanced_labels_learn_with_weights_of_one() -> None:
    """Class weights of members are then no array; those of others may be."""
    X, _ = noise(64)
    y = np.arange(64) % 2
    rare = (np.arange(64) % 7 == 0).astype(int)
    for Y in (y, np.column_stack([y, 1 - y]), np.column_stack([y, rare])):
        clf = net(MultiLabelMLPClassifier, class_weight="balanced").fit(X, Y)
        assert not np.isnan(clf.oof_proba_).any()
    plain = net(MultiLabelMLPClassifier).fit(X, y)
    balanced = net(MultiLabelMLPClassifier, class_weight="balanced").fit(X, y)
    assert_allclose(balanced.predict_proba(X), plain.predict_proba(X), atol=1e-5)


# ---------------------------------------------------------------------- ways to hold out


@every_net
def test_samples_given_are_as_those_of_a_splitter(make: Any, label_data: Any) -> None:
    """Nothing else is held out, and what is chosen on them is the same."""
    X, Y = label_data
    exact = {"linear_weight": 0.0} if make is not CGMVAEClassifier else {}
    held_out = np.arange(200) % 4 == 1
    weight = np.random.default_rng(0).uniform(0.5, 2, 200)
    split = net(make, validation=PredefinedSplit(held_out - 1), **exact).fit(X, Y, weight)
    given = net(make, **exact).fit(
        X[~held_out],
        Y[~held_out],
        weight[~held_out],
        X_val=X[held_out],
        y_val=Y[held_out],
        sample_weight_val=weight[held_out],
    )
    assert_array_equal(given.predict_proba(X), split.predict_proba(X))
    for name in ("blend_", "threshold_", "validation_scores_", "n_iter_"):
        assert getattr(given, name) == getattr(split, name), name
    assert_array_equal(given.label_counts_.sum(axis=0), (~held_out).sum())
    # All members hold the same samples out: what is judged is what predicts.
    assert_allclose(split.oof_proba_[held_out], split.predict_proba(X[held_out]), atol=1e-5)
    assert np.isnan(split.oof_proba_[~held_out]).all()
    with pytest.raises(AttributeError, match="held out no training samples"):
        _ = given.oof_proba_


def test_a_splitter_says_what_is_learnt_too(label_data: Any) -> None:
    X, Y = label_data
    splitter = TimeSeriesSplit(3)
    train, held_out = next(splitter.split(X))
    clf = net(MultiLabelMLPClassifier, validation=splitter).fit(X, Y)
    assert_array_equal(clf.label_counts_[0], Y[train].sum(axis=0))
    assert_array_equal(clf.label_counts_.sum(axis=0), len(train))
    assert_array_equal(np.isfinite(clf.oof_proba_).all(axis=1).nonzero()[0], held_out)
    changed = X.copy()
    changed[held_out[-1] + 1 :] += 1
    again = net(MultiLabelMLPClassifier, validation=splitter).fit(changed, Y)
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))


def test_a_splitter_sees_classes_and_groups(label_data: Any) -> None:
    X, Y = label_data
    y = Y[:, :3] @ [4, 2, 1] % 3
    for target in (y, y == 0, np.array(["a", "b", "c"])[y]):
        splitter = StratifiedKFold(4)
        clf = net(MultiLabelMLPClassifier, validation=splitter).fit(X, target)
        _, held_out = next(splitter.split(X, target))
        assert_array_equal(np.isfinite(clf.oof_proba_).all(axis=1).nonzero()[0], held_out)
    groups = np.arange(200) % 7
    clf = net(MultiLabelMLPClassifier, validation=GroupKFold(3)).fit(X, Y, groups=groups)
    _, held_out = next(GroupKFold(3).split(X, groups=groups))
    assert_array_equal(np.isfinite(clf.oof_proba_).all(axis=1).nonzero()[0], held_out)


@dataclass
class OneSplit:
    """A splitter that gives one pair, or what is none."""

    pair: Any

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        return [self.pair]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return 1


def test_a_splitter_may_give_masks_and_numbers_from_the_end(label_data: Any) -> None:
    X, Y = label_data
    last = np.arange(200) >= 150
    pairs = [(~last, last), (np.arange(150), np.arange(-50, 0)), (range(150), [*range(150, 200)])]
    fits = [net(MultiLabelMLPClassifier, validation=OneSplit(pair)).fit(X, Y) for pair in pairs]
    for clf in fits:
        assert_array_equal(np.isfinite(clf.oof_proba_).all(axis=1), last)
        assert_array_equal(clf.predict_proba(X), fits[0].predict_proba(X))


@pytest.mark.parametrize(
    "pair",
    [
        (np.arange(200), np.arange(20)),
        (np.arange(180), np.array([], dtype=int)),
        (np.array([], dtype=int), np.arange(200)),
        (np.arange(180), np.arange(190, 210)),
        (np.arange(180.0), np.arange(180.0, 200)),
        (np.zeros(20, dtype=bool), np.ones(20, dtype=bool)),
        (None, None),
        (),
    ],
)
def test_a_splitter_that_splits_other_samples(pair: Any, label_data: Any) -> None:
    with pytest.raises(ValueError, match=r"validation, a OneSplit, .* of the 200 samples"):
        net(MultiLabelMLPClassifier, validation=OneSplit(pair)).fit(*label_data)


def test_a_splitter_without_a_split_or_of_dropped_samples(label_data: Any) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match=r"validation, a PredefinedSplit, .* got \(\)"):
        net(MultiLabelMLPClassifier, validation=PredefinedSplit(np.full(200, -1))).fit(X, Y)
    with pytest.raises(ValueError, match=r"of the 199 samples of positive weight"):
        clf = net(MultiLabelMLPClassifier, validation=PredefinedSplit(np.arange(200) % 4))
        clf.fit(X, Y, sample_weight=np.arange(200))


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_a_share_is_held_out_of_all_members(share: float, label_data: Any) -> None:
    X, Y = label_data
    clf = net(MultiLabelMLPClassifier, validation=share, linear_weight=0.0).fit(X, Y)
    there = np.isfinite(clf.oof_proba_).all(axis=1)
    assert there.sum() == share * 200
    assert_allclose(clf.oof_proba_[there], clf.predict_proba(X[there]), atol=1e-5)


def test_few_members_hold_a_common_tenth_out(label_data: Any) -> None:
    for changes in ({"n_estimators": 3}, {"decision": "onn"}, {"classifier": "etf"}):
        clf = net(MultiLabelMLPClassifier).set_params(**changes).fit(*label_data)
        assert np.isfinite(clf.oof_proba_).all(axis=1).sum() == 20
    assert np.isfinite(net(MultiLabelMLPClassifier).fit(*label_data).oof_proba_).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": np.zeros((2, 20))}, "X_val and y_val must be given together"),
        ({"y_val": np.zeros((2, 5))}, "X_val and y_val must be given together"),
        ({"sample_weight_val": np.ones(2)}, "sample_weight_val was given without X_val"),
        (
            {"X_val": np.zeros((2, 20)), "y_val": np.zeros((2, 4))},
            "X_val, y_val or .* has 4 labels",
        ),
        ({"X_val": np.zeros((2, 19)), "y_val": np.zeros((2, 5))}, "19 features"),
        ({"groups": np.zeros(3)}, "groups must have shape"),
    ],
)
def test_held_out_samples_that_do_not_fit(given: Any, message: str, label_data: Any) -> None:
    with pytest.raises(ValueError, match=message):
        net(MultiLabelMLPClassifier).fit(*label_data, **given)


def test_a_pipeline_hands_samples_on(label_data: Any) -> None:
    """As they are; ``transform_input`` has them transformed."""
    X, Y = label_data
    X = 5 * X + 3
    given = {"X_val": X[150:], "y_val": Y[150:]}
    scaler = StandardScaler().fit(X[:150])
    expected = net(MultiLabelMLPClassifier).fit(
        scaler.transform(X[:150]), Y[:150], X_val=scaler.transform(X[150:]), y_val=Y[150:]
    )
    with sklearn.config_context(enable_metadata_routing=True):
        clf = net(MultiLabelMLPClassifier).set_fit_request(X_val=True, y_val=True)
        scaled = make_pipeline(StandardScaler(), clf, transform_input=["X_val"])
        raw = sklearn.clone(scaled).set_params(transform_input=None)
        for pipe in (scaled, raw):
            pipe.fit(X[:150], Y[:150], **given)
    assert scaled[-1].validation_scores_ == expected.validation_scores_
    assert raw[-1].validation_scores_ != expected.validation_scores_


def test_groups_reach_a_search_and_its_nets(label_data: Any) -> None:
    X, Y = label_data
    groups = np.arange(200) % 23
    with sklearn.config_context(enable_metadata_routing=True):
        clf = net(MultiLabelMLPClassifier).set_fit_request(groups=True)
        grid = {"dropout": [0.1, 0.2]}
        search = GridSearchCV(clf, grid, cv=GroupKFold(2), scoring="f1_micro")
        search.fit(X, Y, groups=groups)
    best = search.best_estimator_
    expected = net(MultiLabelMLPClassifier, **search.best_params_).fit(X, Y, groups=groups)
    assert_array_equal(best.oof_proba_, expected.oof_proba_)
    assert (best.oof_proba_ != expected.fit(X, Y).oof_proba_).any()


# ---------------------------------------------------------------------- what is chosen


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_the_held_out_probabilities(weighted: bool, label_data: Any) -> None:
    X, Y = label_data
    rng = np.random.default_rng(0)
    Y = np.where(rng.random(Y.shape) < 0.1, np.nan, Y)
    w = rng.uniform(0.5, 2, 200) if weighted else np.ones(200)
    clf = net(MultiLabelMLPClassifier).fit(X, Y, w if weighted else None)
    p, known = clf.oof_proba_, ~np.isnan(Y)
    found, entry_weight = clf.validation_scores_, np.broadcast_to(w[:, None], Y.shape)
    flat = Y[known], p[known].astype(float)
    assert found["log_loss"] == pytest.approx(log_loss(*flat, sample_weight=entry_weight[known]))
    decided = p >= clf.threshold_
    of_label = [(Y[k, j], p[k, j], decided[k, j], w[k]) for j, k in enumerate(known.T)]
    areas = [average_precision_score(y, score, sample_weight=v) for y, score, _, v in of_label]
    assert found["average_precision"] == pytest.approx(np.mean(areas))
    scores = [f1_score(y, d, sample_weight=v) for y, _, d, v in of_label]
    assert found["f1_macro"] == pytest.approx(np.mean(scores))
    micro = f1_score(Y[known], decided[known], sample_weight=entry_weight[known])
    assert found["f1_micro"] == pytest.approx(micro)
    expected = f1_samples(Y, decided.astype(int), sample_weight=w)
    assert found["f1_samples"] == pytest.approx(expected)


@every_net
def test_a_threshold_that_is_set_later_counts_at_once(
    make: Any, label_data: Any, tmp_path: Path
) -> None:
    X, Y = label_data
    clf = net(make).fit(X, Y)
    p, there = clf.predict_proba(X), np.isfinite(clf.oof_proba_).all(axis=1)

    def tuned(objective: str) -> float:
        p = clf.oof_proba_[there]
        return tune_thresholds(Y[there], p, objective=objective, per_label=False)[0]

    assert clf.threshold_ == tuned("auto")
    numbers = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    expected = {
        "f1_macro": tuned("f1_macro"),
        "auto": tuned("auto"),
        "jaccard": tuned("jaccard"),
    }
    for threshold in ("f1_macro", 0.2, numbers, "jaccard", "auto"):
        clf.set_params(threshold=threshold)
        cut = expected[threshold] if isinstance(threshold, str) else threshold
        clf.save(tmp_path / "net.zip")
        for one in (clf, pickle.loads(pickle.dumps(clf)), load(tmp_path / "net.zip")):
            assert_array_equal(one.threshold_, cut)
            assert_array_equal(one.predict(X), p >= cut)
    # A file does not keep what was held out.
    loaded = load(tmp_path / "net.zip")
    assert_array_equal(loaded.set_params(threshold=0.2).predict(X), p >= 0.2)
    with pytest.raises(ValueError, match=r"was set after the fit.*loaded from a file"):
        loaded.set_params(threshold="f1_macro").predict(X)
    with pytest.raises(AttributeError, match="loaded from a file"):
        _ = loaded.oof_proba_


def test_weights_of_parts_that_the_fit_did_not_keep_are_not_saved(
    label_data: Any, tmp_path: Path
) -> None:
    clf = net(MultiLabelMLPClassifier, neighbor_weight=0.0, linear_weight=0.0).fit(*label_data)
    for name in ("neighbor_weight", "linear_weight"):
        with pytest.raises(ValueError, match=f"{name}=0.2 needs the"):
            clf.set_params(**{name: 0.2}).save(tmp_path / "net.zip")
        clf.set_params(**{name: 0.0})
    assert not list(tmp_path.iterdir())


def test_targets_of_one_dimension_are_cut_at_one_half(label_data: Any) -> None:
    X, Y = label_data
    clf = net(MultiLabelMLPClassifier).fit(X, Y[:, 0])
    assert clf.threshold_ == 0.5
    p = clf.predict_proba(X)[:, 1]
    assert_array_equal(clf.predict(X), p >= 0.5)
    cut = tune_thresholds(Y[:, :1], clf.oof_proba_, objective="f1_micro", per_label=False)[0]
    assert_array_equal(clf.set_params(threshold="f1_micro").predict(X), p >= cut)


@pytest.mark.parametrize("weights", [None, "of samples", "of entries"])
def test_samples_of_a_rare_class_are_not_judged(weights: Any, label_data: Any) -> None:
    X, Y = label_data
    y = Y[:, 0] + 2 * (X[:, 0] > 0)
    rare = [3, 50]
    y[rare] = 9
    w = None if weights is None else np.random.default_rng(0).uniform(0.5, 2, 200)
    given = w if weights != "of entries" else np.repeat(w[:, None], len(np.unique(y)), axis=1)
    clf = net(MultiLabelMLPClassifier).fit(X, y, sample_weight=given)
    found = clf.classes_[clf.oof_proba_.argmax(axis=1)]
    # Some of them look like the first class, which is no reason to call them right.
    assert (found[rare] == clf.classes_[0]).any()
    others = np.delete(np.arange(200), rare)
    weight = None if w is None else w[others]
    expected = np.average((found == y)[others], weights=weight)
    assert clf.validation_scores_["accuracy"] == pytest.approx(expected)


def test_a_part_that_follows_changes_no_choice(label_data: Any) -> None:
    X, Y = label_data
    clf = net(MultiLabelMLPClassifier).fit(X, Y)
    threshold, blend = clf.threshold_, clf.blend_
    clf.partial_fit(X[:50], Y[:50])
    assert clf.threshold_ == threshold
    assert clf.blend_ == blend
    assert clf.validation_scores_ == {}
    assert_array_equal(clf.predict(X), clf.predict_proba(X) >= threshold)


@pytest.mark.parametrize("as_class_weight", [True, False])
def test_a_part_that_follows_counts_weights_as_the_fit_did(
    as_class_weight: bool, label_data: Any
) -> None:
    X, Y = label_data
    weight = np.where(Y == 1, 5.0, 1.0)
    given = {"class_weight": [{1: 5}] * 5} if as_class_weight else {}
    w = None if as_class_weight else weight
    clf = net(MultiLabelMLPClassifier, **given).fit(X, Y, w)
    part = Y[:50].astype(float)
    part[:, 0] = np.nan
    clf.partial_fit(X[:50], part, sample_weight=None if w is None else w[:50])
    seen = np.vstack([Y, part])
    positive, negative = 5 * (seen == 1).sum(axis=0) + 0.5, (seen == 0).sum(axis=0) + 0.5
    scale, shift = clf.predictor_.calibration(Blend(0.0, 0.0, scale=3.0, shift=0.1))
    c, counts = np.log(positive / negative) / 2, clf.label_counts_
    rare = np.subtract(*np.log1p(clf.predictor_.pseudo_count / counts))
    assert_array_equal(scale, 3)
    assert_allclose(shift, 0.1 - 2 * c + rare)
    # No neighbour knows the first label.
    prior = clf.predictor_.neighbors.prior.numpy()
    assert_allclose(prior, positive / (positive + negative))


@every_net
def test_labels_of_one_value_have_their_prior_out_of_fold(make: Any, label_data: Any) -> None:
    X, Y = label_data
    Y = Y.copy()
    Y[:, 1:3] = 0, 1
    linear = {} if make is CGMVAEClassifier else {"linear_weight": 0.0}
    with pytest.warns(UserWarning, match="single value"):
        clf = net(make, neighbor_weight=0.0, **linear).fit(X, Y)
    assert clf.blend_["scale"] != 1
    there = np.isfinite(clf.oof_proba_).all(axis=1)
    assert_allclose(clf.oof_proba_[there, 1:3], clf.predict_proba(X)[there, 1:3], rtol=1e-5)


@pytest.mark.parametrize("name", ["contrastive", "mlp", "cgmvae"])
def test_a_warm_start_holds_the_same_samples_out(name: str) -> None:
    """A member never learns from what it is judged on, in fits that came before neither."""
    X, Y = noise(160)
    clf = eager(name, warm_start=True).fit(X, Y)
    there = np.isfinite(clf.oof_proba_)
    for _ in range(3):
        clf.fit(X, Y)
    assert_array_equal(np.isfinite(clf.oof_proba_), there)
    n_judged = there[:, 0].sum()
    assert abs(mean_auc(Y, clf.oof_proba_) - 0.5) < four_errors(n_judged)


def test_a_warm_start_on_other_samples_keeps_what_was_chosen(label_data: Any) -> None:
    X, Y = label_data
    others = (X[:150], Y[:150], None), (X, 1 - Y, None), (X, Y, np.arange(200) % 50)
    for more_X, more_Y, groups in others:
        clf = net(MultiLabelMLPClassifier, warm_start=True).fit(X, Y)
        threshold, blend = clf.threshold_, clf.blend_
        clf.fit(more_X, more_Y, groups=groups)
        assert (clf.threshold_, clf.blend_, clf.validation_scores_) == (threshold, blend, {})
        assert clf.n_iter_ == 2 * clf.max_epochs
        # Nor are they held out later: the net has learnt from them all.
        assert clf.fit(X, Y).validation_scores_ == {}
    clf = net(MultiLabelMLPClassifier, warm_start=True).fit(X, Y)
    assert clf.partial_fit(X, Y).fit(X, Y).validation_scores_ == {}
    given = clf.fit(X, Y, X_val=X[:50] + 1, y_val=Y[:50])
    assert given.validation_scores_ != {}


def test_numbers_fix_weights(label_data: Any) -> None:
    X, Y = label_data
    fixed = net(MultiLabelMLPClassifier, neighbor_weight=0.2, linear_weight=0.6).fit(X, Y)
    assert fixed.blend_["neighbors"] == pytest.approx(0.2 * 0.4)
    assert fixed.blend_["linear"] == 0.6
    alone = net(MultiLabelMLPClassifier, neighbor_weight=0.0, linear_weight=0.0).fit(X, Y)
    assert alone.blend_["net"] == 1
    assert alone.predictor_.neighbors is None and alone.predictor_.linear is None
