"""What only the end-to-end classifier has: losses on logits, the fixed frame, decision rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logit
from sklearn.metrics import f1_score
from sklearn.model_selection import ShuffleSplit

from sklearn_mlcl import MultiLabelMLPClassifier
from sklearn_mlcl.collapse import NearestLabelSetClassifier, fit_onn_decoder
from sklearn_mlcl.losses import LOGIT_LOSSES
from sklearn_mlcl.thresholds import topk_decision, tune_thresholds, tune_topk
from tests.small import plain, small

HELD_OUT = ShuffleSplit(1, test_size=0.25, random_state=0)


def heads_alone(**changes: Any) -> Any:
    shape = {"n_estimators": 2, "hidden_layer_sizes": (64, 64), "max_epochs": 15}
    return plain(MultiLabelMLPClassifier, **{**shape, "validation": HELD_OUT, **changes})


@pytest.mark.parametrize("loss", LOGIT_LOSSES)
def test_the_objective_is_that_of_plain_torch(loss: str, label_data: Any) -> None:
    X, Y = label_data
    Y = np.where(np.random.default_rng(0).random(Y.shape) < 0.2, np.nan, Y)
    clf = plain(MultiLabelMLPClassifier, loss=loss, loss_params__feature_decay=0.3).fit(X, Y)
    objective = clf.net_.criterion_.eval()
    labels, h = torch.from_numpy(Y), torch.from_numpy(clf.transform(X.astype(np.float32)))
    expected = LOGIT_LOSSES[loss]()(objective.head(h), labels) + 0.3 * h.square().sum(1).mean()
    assert_allclose(objective(h, labels, None).item(), expected.item(), rtol=1e-6)


# ---------------------------------------------------------------------- pick-all-label, the frame


def test_pick_all_label_probabilities_are_marginals(label_data: Any) -> None:
    X, Y = label_data
    clf = heads_alone(loss="pal").fit(X, Y)
    marginals = clf.decoder_.marginals(clf.transform(X))
    scale, shift = clf.predictor_.calibration(clf.predictor_.blend)
    scaled = scale * logit(marginals) + shift
    assert_allclose(clf.decision_function(X), scaled, rtol=1e-6, atol=1e-6)
    # Marginals of label sets sum to the expected multiplicity, a softmax would sum to one.
    assert_allclose(marginals.sum(axis=1).mean(), Y.sum(axis=1).mean(), rtol=0.1)
    assert f1_score(Y, clf.predict(X), average="micro") > 0.6


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("pal_norm", "sum"),
        ("pal_norm", 0.5),
        ("label_smoothing", 0.2),
        ("empty_rows", "none_class"),
        ("empty_rows", "uniform"),
    ],
)
def test_pick_all_label_options_reach_the_loss(option: str, value: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = heads_alone(loss="pal", max_epochs=1, **{f"loss_params__{option}": value}).fit(X, Y)
    objective = clf.net_.criterion_
    assert getattr(objective.loss, option) == value
    assert objective.head.bias.numel() == 2 * (Y.shape[1] + (value == "none_class"))
    assert clf.predict_proba(X).shape == Y.shape


def test_pick_all_label_refuses(label_data: Any) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match="at least 2 labels"):
        heads_alone(loss="pal").fit(X, Y[:, 0])
    assert (Y.sum(axis=1) == 0).any()
    with pytest.raises(ValueError, match="without a positive label"):
        heads_alone(loss="pal", loss_params__empty_rows="error").fit(X, Y)


@pytest.mark.parametrize("loss", ["pal", "bce"])
def test_fixed_frame_has_fewer_parameters(loss: str, label_data: Any) -> None:
    X, Y = label_data
    n_labels = Y.shape[1]
    clf = heads_alone(loss=loss, classifier="etf", n_estimators=1).fit(X, Y)
    rows = clf.net_.criterion_.head.weight.detach().numpy()
    norms = np.linalg.norm(rows, axis=1)
    ideal = np.where(np.eye(n_labels, dtype=bool), 1, -1 / (n_labels - 1))
    assert_allclose(rows @ rows.T / np.outer(norms, norms), ideal, atol=1e-6)
    assert clf.transform(X).shape == (len(X), n_labels - 1)
    trained = {name for name, _ in clf.net_.criterion_.named_parameters()}
    assert trained == {"head.bias"} | ({"head.log_scale"} if loss == "bce" else set())
    assert f1_score(Y, clf.predict(X), average="micro") > 0.55
    with pytest.raises(ValueError, match="dim"):
        clf.set_params(net_params__feature_dim=n_labels - 2).fit(X, Y)


# ---------------------------------------------------------------------- decisions


def held_out(clf: Any, X: np.ndarray, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels of the samples on which decisions were chosen."""
    _, valid = next(HELD_OUT.split(X))
    return clf.predict_proba(X[valid]), Y[valid]


@pytest.mark.parametrize("loss", ["pal", "bce"])
@pytest.mark.parametrize("sparse", [False, True])
def test_decision_by_nearest_prototype(loss: str, sparse: bool, label_data: Any) -> None:
    X, Y = label_data
    clf = heads_alone(loss=loss, decision="onn").fit(X, sp.csr_matrix(Y) if sparse else Y)
    assert clf.decision_.rule == "onn"
    predicted = clf.predict(X)
    assert sp.issparse(predicted) == sparse
    predicted = predicted.toarray() if sparse else predicted
    assert_array_equal(predicted, clf.decision_.decoder.decode(clf.transform(X)).toarray())
    assert predicted.dtype == Y.dtype
    assert f1_score(Y, predicted, average="micro") > 0.5


@pytest.mark.parametrize("variant", ["tags", "etf", "cosine", "observed"])
def test_decision_by_a_nearest_label_set_classifier(variant: str, label_data: Any) -> None:
    """Its parameters count, and they are parameters of the decision in a search."""
    X, Y = label_data
    rule = NearestLabelSetClassifier(variant=variant, max_labels=2)
    clf = heads_alone(decision=rule, max_epochs=2).set_params(decision__prior=0.3).fit(X, Y)
    h = clf.transform(X.astype(np.float32))
    train, valid = next(HELD_OUT.split(X))
    decoder = fit_onn_decoder(
        h[train], Y[train], variant=variant, max_labels=2, validation=(h[valid], Y[valid])
    )
    expected = replace(decoder, prior=0.3).decode(h).toarray()
    assert_array_equal(clf.predict(X.astype(np.float32)), expected)
    assert expected.sum(axis=1).max() <= 2


def test_decision_by_the_k_best(label_data: Any) -> None:
    X, Y = label_data
    clf = heads_alone(decision="topk").fit(X, Y)
    assert clf.decision_.k == tune_topk(*held_out(clf, X, Y))
    expected = topk_decision(clf.predict_proba(X), clf.decision_.k).toarray()
    assert_array_equal(clf.predict(X), expected)


def test_auto_takes_the_threshold_unless_another_rule_is_clearly_better(label_data: Any) -> None:
    X, Y = label_data
    clf = heads_alone(decision="auto").fit(X, Y)
    assert clf.decision_.rule in {"threshold", "onn"}
    tuned = heads_alone(threshold="f1_micro").fit(X, Y)
    assert clf.threshold_ == tuned.threshold_
    assert_array_equal(clf.predict_proba(X), tuned.predict_proba(X))


def test_rules_that_nothing_was_held_out_for(label_data: Any) -> None:
    """A warning says that the threshold takes their place; marginals are there."""
    X, Y = label_data
    for decision in ("onn", "topk", "auto"):
        with pytest.warns(UserWarning, match=f"decision='{decision}' needs held-out samples"):
            clf = heads_alone(decision=decision, max_epochs=1, validation=None).fit(X, Y)
        assert clf.decision_.rule == "threshold"
        with pytest.warns(UserWarning, match="needs held-out samples"):
            clf.partial_fit(X, Y)
    clf = heads_alone(loss="pal", validation=None).fit(X, Y)
    assert_allclose(clf.predict_proba(X), clf.decoder_.marginals(clf.transform(X)), rtol=1e-6)


@pytest.mark.parametrize("decision", ["onn", "topk", "auto", NearestLabelSetClassifier()])
def test_single_label_targets_keep_the_threshold(decision: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = heads_alone(decision=decision, max_epochs=3).fit(X, Y[:, 0])
    assert clf.decision_.rule == "threshold"
    assert_array_equal(clf.predict(X), clf.predict_proba(X)[:, 1] >= clf.threshold_)


@pytest.mark.parametrize("objective", ["f1_micro", "f1_macro", "f1_samples", "cardinality"])
def test_tuned_threshold(objective: str, label_data: Any) -> None:
    """One cut for all labels, from samples that nothing was fitted on."""
    X, Y = label_data
    clf = heads_alone(threshold=objective).fit(X, Y)
    P, Y_valid = held_out(clf, X, Y)
    expected = tune_thresholds(Y_valid, P, objective=objective, per_label=False)
    assert_allclose(clf.threshold_, np.ravel(expected)[0], rtol=1e-5)
    assert_array_equal(clf.predict(X), clf.predict_proba(X) >= clf.threshold_)
    assert "valid_loss" in clf.history_


def test_tuned_threshold_lifts_micro_f1(yeast: Any) -> None:
    X_train, Y_train, X_test, Y_test = yeast
    clf = MultiLabelMLPClassifier(max_epochs=15, threshold="f1_micro", random_state=0)
    tuned = clf.fit(X_train, Y_train).predict(X_test)
    usual = clf.set_params(threshold=0.5).predict(X_test)
    assert f1_score(Y_test, tuned, average="micro") > f1_score(Y_test, usual, average="micro")


def test_a_frame_needs_two_labels(label_data: Any) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match=r"classifier='etf' needs at least 2 labels, got one"):
        plain(MultiLabelMLPClassifier, classifier="etf").fit(X, Y[:, 0])


def test_a_warm_start_with_a_decoder_of_nets_that_held_out_samples_of_their_own(
    label_data: Any,
) -> None:
    """The decoder sees all members at once, so no sample is new to it."""
    clf = small(MultiLabelMLPClassifier, warm_start=True, n_estimators=4).fit(*label_data)
    clf.set_params(decision="onn")
    with pytest.warns(UserWarning, match="decision='onn' needs held-out samples"):
        clf.fit(*label_data)
    assert clf.validation_scores_ == {} and clf.decoder_ is not None
