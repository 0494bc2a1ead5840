"""Numbers at the edge: a fit is finite, or an error names the likely argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl import MultiLabelLogisticRegression, MultiLabelThresholdClassifierCV
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from sklearn_mlcl.model_selection import MultiLabelVotingClassifierCV
from sklearn_mlcl.solvers import fit_logistic, fit_logistic_path
from tests.small import CLASSIFIERS, every_classifier, every_net, small

every_fit = pytest.mark.parametrize("make", [*CLASSIFIERS, NearestLabelSetClassifier])


def probabilities(clf: Any, X: Any) -> np.ndarray:
    p = clf.predict_proba(X)
    assert ((p > 0) & (p < 1)).all()
    return p


@every_net
@pytest.mark.parametrize("factor", [2.0**-1000, 2.0**-60, 2.0**100, 2.0**1000])
def test_nets_train_alike_on_weights_of_any_size(make: Any, label_data: Any, factor: float) -> None:
    X, Y = label_data
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X))
    options = {"linear_weight": 0.0} if "linear_weight" in make().get_params() else {}
    losses = []
    for w in (weight, factor * weight):
        clf = small(make, early_stopping=False, **options)
        if w.sum() < 1e-10:
            with pytest.warns(UserWarning, match="sample_weight of all labels is too small"):
                clf.fit(X, Y, w)
        else:
            clf.fit(X, Y, w)
        probabilities(clf, X)
        losses.append(clf.history_["train_loss"])
    # The prior that heads start from counts weights as copies.
    assert_allclose(losses[0], losses[1], rtol=0.2)


@pytest.mark.parametrize("factor", [2.0**-900, 2.0**900])
def test_solver_takes_weights_and_C_of_any_size(label_data: Any, factor: float) -> None:
    X, Y = label_data
    weight = np.random.default_rng(0).uniform(0.5, 2, Y.shape)
    expected = fit_logistic(X, Y, C=0.3, sample_weight=weight)
    got = fit_logistic(X, Y, C=0.3 / factor, sample_weight=factor * weight)
    assert_array_equal(got.coef, expected.coef)
    assert_array_equal(got.intercept, expected.intercept)


@pytest.mark.parametrize("change", [{"C": 1e-300}, {"X": 1e-30}, {"weight": 1e-300}])
def test_solver_without_any_pull_gives_the_prior(label_data: Any, change: dict[str, float]) -> None:
    X, Y = label_data
    weight = np.full(len(X), change.get("weight", 1.0))
    fit = fit_logistic(X * change.get("X", 1), Y, C=change.get("C", 1.0), sample_weight=weight)
    p = Y.mean(axis=0)
    assert fit.converged.all()
    assert_allclose(fit.intercept, np.log(p / (1 - p)), atol=1e-9)
    assert_allclose(fit.coef * X.std(), 0, atol=1e-9)


def test_solver_walks_a_path_of_any_steps(label_data: Any) -> None:
    path = fit_logistic_path(*label_data, [1e-300, 1.0, 1e300])
    assert all(np.isfinite(fit.coef).all() for fit in path)
    assert_allclose(path[1].coef, fit_logistic(*label_data).coef, rtol=1e-6)


def test_solver_with_one_heavy_row(label_data: Any) -> None:
    X, Y = label_data
    fit = fit_logistic(X, Y, sample_weight=np.where(np.arange(len(X)) == 0, 1e300, 1.0))
    assert np.isfinite(fit.coef).all()
    assert np.isfinite(fit.intercept).all()


@every_fit
@pytest.mark.parametrize("value", [1e308, -1e301])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix])
def test_features_near_the_end_of_float64(
    make: Any, label_data: Any, value: float, container: Any
) -> None:
    X, Y = label_data
    X = X.copy()
    X[3, 1] = value
    with pytest.raises(ValueError, match=r"X holds values up to 1e\+30.*common scale"):
        small(make).fit(container(X), Y)


@every_net
@pytest.mark.parametrize("value", [1e-300, 3e38])
def test_features_that_float32_does_not_hold(make: Any, label_data: Any, value: float) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match="X holds values up to"):
        small(make).fit(value * (X / np.abs(X).max()), Y)
    with pytest.raises(ValueError, match="X holds values up to"):
        small(make).fit(X, Y, X_val=value * (X / np.abs(X).max()), y_val=Y)


@every_fit
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_features_of_other_sizes(make: Any, label_data: Any, scale: float) -> None:
    X, Y = label_data
    column = np.where(np.arange(X.shape[1]) == 0, scale, 1.0)
    for factor in (scale, column):
        probabilities(small(make).fit(X * factor, Y), X * factor)


@every_net
def test_a_feature_without_length_is_constant(make: Any, label_data: Any) -> None:
    X, Y = label_data
    X = X.copy()
    X[:, 0] *= 1e-300
    probabilities(small(make).fit(X, Y), X)


@every_classifier
def test_weights_that_do_not_sum(make: Any, label_data: Any) -> None:
    X, Y = label_data
    with pytest.raises(ValueError, match="sample_weight sums to more"):
        small(make).fit(X, Y, np.full(len(X), 1e308))
    with pytest.raises(ValueError, match="class_weight"):
        small(make, class_weight=[{1: 1e300}] * Y.shape[1]).fit(X, Y, np.full(len(X), 1e300))


@every_classifier
def test_a_label_without_weight_is_named(make: Any, label_data: Any) -> None:
    X, Y = label_data
    weight = np.ones(Y.shape)
    weight[:, 2] = 1e-300
    with pytest.warns(UserWarning, match=r"sample_weight of the labels \[2\] is too small"):
        clf = small(make).fit(X, Y, weight)
    probabilities(clf, X)


@every_net
@pytest.mark.parametrize("size", [1e-30, 1e38, 1e300])
def test_weights_of_parts_and_of_held_out_samples(make: Any, label_data: Any, size: float) -> None:
    X, Y = label_data
    weight = np.full(len(X), size)
    clf = small(make).fit(X, Y, X_val=X, y_val=Y, sample_weight_val=weight)
    equal = small(make).fit(X, Y, X_val=X, y_val=Y, sample_weight_val=np.ones(len(X)))
    assert clf.validation_scores_ == pytest.approx(equal.validation_scores_)
    if size > 1:
        probabilities(clf.partial_fit(X, Y, sample_weight=weight), X)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_meta_estimators(label_data: Any, size: float) -> None:
    X, Y = label_data
    inner = NearestLabelSetClassifier()
    for meta in (
        MultiLabelThresholdClassifierCV(inner, cv=3),
        MultiLabelCalibratedClassifierCV(inner, cv=3),
        MultiLabelVotingClassifierCV([("a", inner), ("b", inner)], cv=3),
    ):
        probabilities(meta.fit(X, Y, sample_weight=np.full(len(X), size)), X)


@every_fit
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_no_fit_ends_in_numbers_that_are_not_finite(
    make: Any, label_data: Any, broken: float, monkeypatch: Any
) -> None:
    X, Y = label_data
    clf = small(make).fit(X, Y)
    before = clf.predict_proba(X)
    log_odds = np.full(Y.shape, broken)
    monkeypatch.setattr(type(clf), "_log_odds", lambda self, X: log_odds[: X.shape[0]])
    with pytest.raises(ValueError, match=r"not finite.*X holds up to.*sample_weight"):
        clf.fit(X, Y)
    monkeypatch.undo()
    assert_array_equal(clf.predict_proba(X), before)


@pytest.mark.parametrize("error", [np.linalg.LinAlgError, "torch"])
def test_an_error_of_the_linear_algebra_is_ours(
    label_data: Any, error: Any, monkeypatch: Any
) -> None:
    import torch

    raised = torch.linalg.LinAlgError if error == "torch" else error  # type: ignore[attr-defined]

    def fail(*_: Any, **__: Any) -> None:
        raise raised("did not converge")

    monkeypatch.setattr("sklearn_mlcl.estimators.logistic.fit_heads", fail)
    with pytest.raises(ValueError, match=r"not finite.*C near 1"):
        MultiLabelLogisticRegression().fit(*label_data)
