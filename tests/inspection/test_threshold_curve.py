"""Threshold curves: the scores are those of the decisions, the marks those of the classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import (
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.inspection import ThresholdCurveDisplay
from sklearn_mlcl.metrics import f1_macro, f1_micro, hamming_accuracy, jaccard_samples
from sklearn_mlcl.thresholds import tune_thresholds
from tests.small import small


def decided(scores: np.ndarray, threshold: Any) -> np.ndarray:
    return (scores >= threshold).astype(int)


def test_common_curves_score_the_decisions(scored: Any) -> None:
    Y, scores = scored
    objectives = ["f1_micro", "accuracy", jaccard_samples]
    display = ThresholdCurveDisplay.from_predictions(
        Y, scores, objective=objectives, n_thresholds=20
    )
    assert display.names == ["f1_micro", "accuracy", "jaccard_samples"]
    metrics = (f1_micro, hamming_accuracy, jaccard_samples)
    for row, metric in zip(display.scores, metrics, strict=True):
        assert_allclose(row, [metric(Y, decided(scores, t)) for t in display.thresholds])
    assert display.fitted is None and not display.marks_ and display.macro_line_ is None
    assert_array_equal(display.lines_[1].get_ydata(), display.scores[1])


def test_grid_spans_the_known_scores_and_follows_them(scored: Any) -> None:
    Y, scores = scored
    grid = ThresholdCurveDisplay.from_predictions(Y, scores, n_thresholds=40).thresholds
    known = scores[~np.isnan(Y)]
    assert (grid[0], grid[-1]) == (known.min(), known.max())
    assert len(grid) <= 40 and (np.diff(grid) > 0).all()
    below = (grid <= np.median(known)).sum()
    assert below >= 10 and np.abs(np.quantile(known, 0.5) - grid).min() < 0.02


def test_label_curves_are_the_f1_of_each_label(scored: Any) -> None:
    Y, scores = scored
    fitted = np.linspace(0.05, 0.4, 7)
    display = ThresholdCurveDisplay.from_predictions(
        Y, scores, per_label=True, n_thresholds=20, fitted=fitted
    )
    for label in range(7):
        known = ~np.isnan(Y[:, label])
        y, s = Y[known, label], scores[known, label]
        expected = [f1_score(y, s >= t, zero_division=0) for t in display.thresholds]
        assert_allclose(display.scores[label], expected)
        assert_allclose(display.fitted_scores[label], f1_score(y, s >= fitted[label]))
    macro = [f1_macro(Y, decided(scores, t)) for t in display.thresholds]
    assert_allclose(display.macro_line_.get_ydata(), macro)
    assert_array_equal(display.fitted, fitted)
    others, *named = display.marks_
    assert others.get_offsets().shape == (1, 2) and len(named) == 6
    for point, label in zip(named, display.lines_, strict=True):
        assert_allclose(point.get_offsets()[0], [fitted[label], display.fitted_scores[label]])


def test_weights_are_repetitions(scored: Any) -> None:
    Y, scores = scored
    times = np.random.default_rng(1).integers(1, 3, size=len(Y))
    for per_label in (False, True):
        make = ThresholdCurveDisplay.from_predictions
        weighted = make(Y, scores, per_label=per_label, sample_weight=times, fitted=0.2)
        repeated = make(np.repeat(Y, times, 0), np.repeat(scores, times, 0), per_label=per_label)
        at = np.searchsorted(weighted.thresholds, repeated.thresholds)
        same = weighted.thresholds[np.minimum(at, len(weighted.thresholds) - 1)]
        shared = same == repeated.thresholds
        assert shared.sum() >= 40
        assert_allclose(weighted.scores[:, at[shared]], repeated.scores[:, shared])


def test_labels_without_a_positive_have_no_curve(scored: Any) -> None:
    Y, scores = scored
    Y = Y.copy()
    Y[:, 2] = 0
    display = ThresholdCurveDisplay.from_predictions(Y, scores, per_label=True, fitted=0.2)
    assert 2 not in display.lines_ and not display.others_
    assert np.isnan(display.scores[2]).all() and np.isnan(display.fitted_scores[2])
    expected = [f1_macro(Y, decided(scores, t)) for t in display.thresholds]
    assert_allclose(display.macro_line_.get_ydata(), expected)


def test_a_common_threshold_is_a_line_down(heads: Any, named_data: Any) -> None:
    X, Y = named_data
    for per_label in (False, True):
        display = ThresholdCurveDisplay.from_estimator(heads, X, Y, per_label=per_label)
        (line,) = display.marks_
        assert_array_equal(line.get_xdata(), [0.4, 0.4])
        assert line.get_label() == "fitted threshold, 0.4"
    expected = f1_micro(Y, heads.predict(X))
    display = ThresholdCurveDisplay.from_estimator(heads, X, Y)
    assert_allclose(display.fitted_scores[0], expected)


def test_a_threshold_for_each_label_is_a_level(named_data: Any) -> None:
    X, Y = named_data
    heads = MultiLabelLogisticRegression(threshold=np.linspace(0.2, 0.6, 5)).fit(X, Y)
    display = ThresholdCurveDisplay.from_estimator(heads, X, Y, objective=["f1_micro", "f1_macro"])
    expected = [metric(Y, heads.predict(X)) for metric in (f1_micro, f1_macro)]
    assert np.isnan(display.fitted).all()
    assert_allclose(display.fitted_scores, expected)
    assert_allclose([line.get_ydata()[0] for line in display.marks_], expected)


@pytest.mark.parametrize("per_label", [False, True])
def test_thresholds_of_the_meta_estimator(named_data: Any, per_label: bool) -> None:
    """Also of one that cuts a decision function, inside a pipeline."""
    X, Y = named_data
    inner = MultiLabelLogisticRegression()
    for method in ("predict_proba", "decision_function"):
        tuned = MultiLabelThresholdClassifierCV(
            inner, objective="f1_macro", response_method=method, cv=2
        )
        pipeline = make_pipeline(StandardScaler(), tuned).fit(X, Y)
        display = ThresholdCurveDisplay.from_estimator(
            pipeline, X, Y, per_label=per_label, **({} if per_label else {"objective": "f1_macro"})
        )
        assert_allclose(np.nanmean(display.fitted_scores), f1_macro(Y, pipeline.predict(X)))
        assert (display.thresholds[0] < 0) == (method == "decision_function")
        if per_label:
            assert_array_equal(display.fitted, pipeline[-1].thresholds_)


def test_thresholds_of_nets_and_searches(named_data: Any) -> None:
    X, Y = named_data
    net = small(MultiLabelMLPClassifier, threshold="f1_micro").fit(X, Y)
    display = ThresholdCurveDisplay.from_estimator(net, X, Y, objective="f1_micro")
    assert_array_equal(display.fitted, [net.threshold_])
    search = GridSearchCV(MultiLabelLogisticRegression(), {"threshold": [0.3]}, cv=2).fit(X, Y)
    assert_array_equal(ThresholdCurveDisplay.from_estimator(search, X, Y).fitted, [0.3] * 3)


def test_no_mark_where_no_threshold_decides(named_data: Any) -> None:
    X, Y = named_data
    nearest = small(MultiLabelMLPClassifier, decision="onn").fit(X, Y)
    calibrated = MultiLabelCalibratedClassifierCV(MultiLabelLogisticRegression(), cv=2).fit(X, Y)
    ridge = RidgeClassifier().fit(X, Y)
    for classifier in (nearest, calibrated, ridge):
        display = ThresholdCurveDisplay.from_estimator(classifier, X, Y)
        assert display.fitted is None and not display.marks_


def test_tuned_thresholds_lie_at_the_tops_of_the_curves(scored: Any) -> None:
    Y, scores = scored
    tuned = tune_thresholds(Y, scores, objective="f1_macro")
    display = ThresholdCurveDisplay.from_predictions(Y, scores, per_label=True, fitted=tuned)
    assert (display.fitted_scores >= display.scores.max(axis=1) - 1e-12).all()


def test_arguments_are_checked(scored: Any) -> None:
    make = ThresholdCurveDisplay.from_predictions
    for message, arguments in {
        "objective is for per_label=False only": {"objective": "f1_macro", "per_label": True},
        "labels is for per_label=True only": {"labels": [0]},
        r"'n_thresholds' parameter .* range \[2, inf\). Got 1": {"n_thresholds": 1},
        "objective must be one of": {"objective": "f1"},
        "'per_label' parameter": {"per_label": "yes"},
        "objective must name one or several": {"objective": []},
        "fitted must be a number or have shape": {"fitted": [0.1, 0.2]},
    }.items():
        with pytest.raises(ValueError, match=message):
            make(*scored, **arguments)
