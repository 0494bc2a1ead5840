"""What only the end-to-end classifier has: pick-all-label, the fixed frame, decision rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import f1_score

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.losses import PickAllLabelLoss
from sklearn_mlcl.metrics import multilabel_log_loss
from sklearn_mlcl.thresholds import topk_decision

HEADS_ALONE = MultiLabelMLPClassifier(
    n_estimators=2,
    hidden_layer_sizes=(64, 64),
    max_epochs=15,
    neighbor_weight=0,
    linear_weight=0,
    validation=0.25,
    random_state=0,
    net_params={"pseudo_count": 0},
)


def test_pick_all_label_probabilities_are_marginals(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(HEADS_ALONE).set_params(loss="pal").fit(X, Y)
    assert_allclose(
        clf.predict_proba(X), clf.decoder_.marginals(clf.transform(X)), rtol=1e-6, atol=1e-12
    )
    # Marginals of label sets sum to the expected multiplicity, a softmax would sum to one.
    assert clf.predict_proba(X).sum(axis=1).mean() > 1.3
    assert f1_score(Y, clf.predict(X), average="micro") > 0.6


@pytest.mark.parametrize(
    "options",
    [
        {"loss_params": {"pal_norm": "sum"}},
        {"loss_params": {"pal_norm": 0.5}},
        {"loss_params": {"label_smoothing": 0.2}},
        {"loss_params": {"empty_rows": "none_class"}},
        {"loss_params": {"empty_rows": "uniform"}},
    ],
)
def test_pick_all_label_options_reach_the_loss(options: dict, label_data: Any) -> None:
    X, Y = label_data
    assert (Y.sum(axis=1) == 0).any()
    clf = clone(HEADS_ALONE).set_params(loss="pal", max_epochs=1)
    plain = clone(clf).fit(X, Y)
    changed = clone(clf).set_params(**options).fit(X, Y)
    loss = changed.net_.criterion_.loss
    assert isinstance(loss, PickAllLabelLoss)
    assert all(getattr(loss, name) == value for name, value in options.items())
    assert changed.history_["train_loss"][0] != plain.history_["train_loss"][0]
    assert changed.coef_.shape == plain.coef_.shape


def test_pick_all_label_refuses(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(HEADS_ALONE).set_params(loss="pal", max_epochs=1)
    with pytest.raises(ValueError, match="at least 2 labels"):
        clone(clf).fit(X, Y[:, 0])
    with pytest.raises(ValueError, match="without a positive label"):
        clone(clf).set_params(loss_params__empty_rows="error").fit(X, Y)


@pytest.mark.parametrize("loss", ["pal", "bce"])
def test_fixed_frame_has_fewer_parameters(loss: str, label_data: Any) -> None:
    X, Y = label_data
    n_labels = Y.shape[1]
    clf = clone(HEADS_ALONE).set_params(loss=loss, classifier="etf").fit(X, Y)
    norms = np.linalg.norm(clf.coef_, axis=1)
    cosines = clf.coef_ @ clf.coef_.T / np.outer(norms, norms)
    ideal = np.where(np.eye(n_labels, dtype=bool), 1, -1 / (n_labels - 1))
    assert_allclose(cosines, ideal, atol=1e-6)
    assert clf.transform(X).shape == (len(X), 2 * (n_labels - 1))
    trained = {name for name, _ in clf.net_.criterion_.named_parameters()}
    assert trained == {"head.bias"} | ({"head.log_scale"} if loss == "bce" else set())
    assert f1_score(Y, clf.predict(X), average="micro") > 0.55
    with pytest.raises(ValueError, match="dim"):
        clone(clf).set_params(net_params__feature_dim=n_labels - 2).fit(X, Y)


def test_feature_decay_shrinks_the_features(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(HEADS_ALONE).set_params(net_params__feature_dim=8)
    plain = clone(clf).fit(X, Y).transform(X)
    decayed = clone(clf).set_params(loss_params__feature_decay=0.3).fit(X, Y).transform(X)
    assert np.square(decayed).sum() < 0.5 * np.square(plain).sum()


@pytest.mark.parametrize("loss", ["pal", "bce"])
@pytest.mark.parametrize("sparse", [False, True])
def test_decision_by_nearest_prototype(loss: str, sparse: bool, label_data: Any) -> None:
    X, Y = label_data
    target = sp.csr_matrix(Y) if sparse else Y
    clf = clone(HEADS_ALONE).set_params(loss=loss, decision="onn").fit(X, target)
    assert clf.decision_.rule == "onn"
    expected = clf.decision_.decoder.decode(clf.transform(X)).toarray()
    predicted = clf.predict(X)
    assert sp.issparse(predicted) == sparse
    predicted = predicted.toarray() if sparse else predicted
    assert_array_equal(predicted, expected)
    assert predicted.dtype == Y.dtype
    assert f1_score(Y, predicted, average="micro") > 0.5


def test_decision_by_the_k_best(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(HEADS_ALONE).set_params(decision="topk").fit(X, Y)
    assert (clf.predict(X).sum(axis=1) == clf.decision_.k).all()
    expected = topk_decision(clf.predict_proba(X), clf.decision_.k).toarray()
    assert_array_equal(clf.predict(X), expected)


def test_auto_takes_the_threshold_unless_another_rule_is_clearly_better(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(HEADS_ALONE).set_params(decision="auto").fit(X, Y)
    assert clf.decision_.rule in {"threshold", "onn"}
    tuned = clone(HEADS_ALONE).set_params(threshold="f1_micro").fit(X, Y)
    assert clf.threshold_ == tuned.threshold_
    assert_array_equal(clf.predict_proba(X), tuned.predict_proba(X))


@pytest.mark.parametrize("decision", ["onn", "topk", "auto"])
def test_single_label_targets_keep_the_threshold(decision: str, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(HEADS_ALONE).set_params(decision=decision, max_epochs=3).fit(X, Y[:, 0])
    assert set(clf.predict(X)) <= {0, 1}


@pytest.mark.parametrize("objective", ["f1_micro", "f1_macro", "f1_samples", "cardinality"])
def test_tuned_threshold(objective: str, label_data: Any) -> None:
    """One cut for all labels, from rows that nothing was fitted on."""
    X, Y = label_data
    clf = clone(HEADS_ALONE).set_params(threshold=objective).fit(X, Y)
    assert isinstance(clf.threshold_, float) and 0 < clf.threshold_ < 1
    assert_array_equal(clf.predict(X), clf.predict_proba(X) >= clf.threshold_)
    assert "valid_loss" in clf.history_


def test_tuned_threshold_lifts_micro_f1(yeast: Any) -> None:
    X_train, Y_train, X_test, Y_test = yeast
    clf = MultiLabelMLPClassifier(max_epochs=15, random_state=0)
    plain = f1_score(Y_test, clone(clf).fit(X_train, Y_train).predict(X_test), average="micro")
    tuned = clone(clf).set_params(threshold="f1_micro").fit(X_train, Y_train)
    assert f1_score(Y_test, tuned.predict(X_test), average="micro") > plain


@pytest.mark.parametrize("method", ["platt", "temperature"])
@pytest.mark.parametrize("neighbor_weight", [0.0, 0.8])
def test_calibration_on_held_out_rows(method: str, neighbor_weight: float, label_data: Any) -> None:
    """The corrected log-odds are those of the same net, moved by one line a label."""
    X, Y = label_data
    base = clone(HEADS_ALONE).set_params(neighbor_weight=neighbor_weight)
    calibrated = clone(base).set_params(calibration=method).fit(X, Y)
    tuned = clone(base).set_params(threshold="f1_micro").fit(X, Y)  # the same rows held out
    expected = calibrated.calibration_.logits(tuned.decision_function(X))
    assert_allclose(calibrated.decision_function(X), expected, rtol=1e-10)
    assert np.abs(calibrated.calibration_.slope - 1).max() > 0.05


def test_calibration_comes_before_the_threshold(label_data: Any) -> None:
    X, Y = label_data
    both = clone(HEADS_ALONE).set_params(calibration="platt", threshold="f1_micro").fit(X, Y)
    assert_array_equal(both.predict(X), both.predict_proba(X) >= both.threshold_)
    alone = clone(HEADS_ALONE).set_params(threshold="f1_micro").fit(X, Y)
    assert both.threshold_ != alone.threshold_


def test_calibration_lowers_the_log_loss_of_an_overfitted_net(yeast: Any) -> None:
    X_train, Y_train, X_test, Y_test = yeast
    unchecked = {
        "n_estimators": 1,
        "feature_noise": 0.0,
        "dropout": 0.0,
        "net_params": {"mixup": 0.0},
    }
    net = MultiLabelMLPClassifier(
        **unchecked, max_epochs=40, neighbor_weight=0, validation=0.2, random_state=0
    )
    held_out = clone(net).set_params(threshold="f1_micro").fit(X_train, Y_train)
    calibrated = clone(net).set_params(calibration="platt").fit(X_train, Y_train)
    before = multilabel_log_loss(Y_test, held_out.predict_proba(X_test))
    assert multilabel_log_loss(Y_test, calibrated.predict_proba(X_test)) < 0.9 * before
