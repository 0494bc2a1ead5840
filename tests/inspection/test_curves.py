"""Precision-recall and reliability curves against scikit-learn's, label by label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve

from sklearn_mlcl.inspection import MultiLabelPrecisionRecallDisplay, MultiLabelReliabilityDisplay
from tests.inspection.conftest import scored_rows


def known_columns(Y: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    known = ~np.isnan(Y)
    return [(Y[k, label], scores[k, label]) for label, k in enumerate(known.T)]


# ---------------------------------------------------------------- precision and recall


def test_precision_and_recall_are_those_of_scikit_learn(scored: Any) -> None:
    display = MultiLabelPrecisionRecallDisplay.from_predictions(*scored)
    for label, (y, score) in enumerate(known_columns(*scored)):
        precision, recall, _ = precision_recall_curve(y, score, drop_intermediate=True)
        assert_array_equal(display.precision[label], precision)
        assert_array_equal(display.recall[label], recall)
        assert_allclose(display.average_precision[label], average_precision_score(y, score))


def area_below(line: Any) -> float:
    """Area below a line drawn in steps that hold a value until the next x."""
    x, y = line.get_xdata(), line.get_ydata()
    return float(np.sum(np.diff(x) * y[:-1]))


def test_area_below_what_is_drawn_is_the_average_precision(scored: Any) -> None:
    display = MultiLabelPrecisionRecallDisplay.from_predictions(*scored, labels=range(7))
    for label, line in display.lines_.items():
        assert line.get_drawstyle() == "steps-post"
        assert_allclose(-area_below(line), display.average_precision[label])
        # No line up and down at recall 0, where the misses before the first hit lie.
        assert np.sum(line.get_xdata() == 0) == 1 and len(set(line.get_ydata()[-2:])) == 1


def precision_at(y: np.ndarray, score: np.ndarray, recall: float) -> float:
    """Precision at the highest threshold that reaches a recall, by trying all of them."""
    for threshold in np.unique(score)[::-1]:
        accepted = score >= threshold
        if (y * accepted).sum() >= recall * y.sum() - 1e-9:
            return (y * accepted).sum() / accepted.sum()
    raise AssertionError("the lowest threshold has recall 1")


def test_macro_curve_is_the_mean_at_one_recall(scored: Any) -> None:
    display = MultiLabelPrecisionRecallDisplay.from_predictions(*scored)
    recalls, means = display.macro_line_.get_data()
    for at in (0, 19, 60, 133, 199):
        expected = [precision_at(y, s, recalls[at]) for y, s in known_columns(*scored)]
        assert_allclose(means[at], np.mean(expected))
    assert abs(np.mean(means) - np.mean(display.average_precision)) < 0.005


def test_precision_recall_weights_are_repetitions(scored: Any) -> None:
    Y, scores = scored
    times = np.random.default_rng(1).integers(0, 3, size=len(Y))
    display_class = MultiLabelPrecisionRecallDisplay
    weighted = display_class.from_predictions(Y, scores, sample_weight=times)
    repeated = display_class.from_predictions(np.repeat(Y, times, 0), np.repeat(scores, times, 0))
    assert_allclose(weighted.average_precision, repeated.average_precision)
    assert_allclose(weighted.macro_line_.get_ydata(), repeated.macro_line_.get_ydata())
    assert_array_equal(weighted.named, repeated.named)


def test_line_arguments_reach_the_curves(scored: Any) -> None:
    style = {"linewidth": 5, "drawstyle": "default"}
    display = MultiLabelPrecisionRecallDisplay.from_predictions(*scored, line_kwargs=style)
    for line in display.lines_.values():
        assert (line.get_linewidth(), line.get_drawstyle()) == (5, "default")


# ---------------------------------------------------------------- reliability


def test_reliability_is_that_of_scikit_learn(scored: Any) -> None:
    display = MultiLabelReliabilityDisplay.from_predictions(*scored, n_bins=8, min_samples=1)
    for label, (y, proba) in enumerate(known_columns(*scored)):
        share, mean = calibration_curve(y, proba, n_bins=8)
        filled = display.mass[label] > 0
        assert_allclose(display.confidence[label, filled], mean)
        assert_allclose(display.frequency[label, filled], share)
    for label, line in display.lines_.items():
        drawn = ~np.isnan(line.get_xdata())
        assert_allclose(line.get_xdata()[drawn], display.confidence[label][drawn])


def calibration_error(y: np.ndarray, proba: np.ndarray, n_bins: int) -> float:
    """Mean distance between the share of positives and the mean probability of a sample's bin."""
    bins = np.ceil(np.clip(proba, 1e-12, 1) * n_bins - 1e-9)
    return float(
        sum(
            (bins == b).sum() * abs(y[bins == b].mean() - proba[bins == b].mean())
            for b in set(bins)
        )
        / len(y)
    )


def test_calibration_error_by_hand(scored: Any) -> None:
    display = MultiLabelReliabilityDisplay.from_predictions(*scored)
    expected = [calibration_error(y, p, 10) for y, p in known_columns(*scored)]
    assert_allclose(display.calibration_error, expected)
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert f"mean of the labels ({np.mean(expected):.3f})" in texts


def test_mean_of_the_labels_weighs_each_label_the_same() -> None:
    """Without missing labels it is the curve of all entries; labels that are often missing count
    no less than others."""
    Y, proba = scored_rows(300, 7)
    display_class = MultiLabelReliabilityDisplay
    share, mean = calibration_curve(Y.ravel(), proba.ravel(), n_bins=10)
    x, y = display_class.from_predictions(Y, proba).macro_line_.get_data()
    assert_allclose([x, y], [mean, share])
    half = np.repeat(proba[:, :2], 2, axis=0)
    targets = np.repeat(Y[:, :2], 2, axis=0)
    hidden = targets.copy()
    hidden[::2, 1] = np.nan
    x, y = display_class.from_predictions(hidden, half).macro_line_.get_data()
    assert_allclose([x, y], display_class.from_predictions(targets, half).macro_line_.get_data())


def test_bins_with_few_samples_are_not_drawn() -> None:
    Y, proba = scored_rows(300, 7)
    display = MultiLabelReliabilityDisplay.from_predictions(Y, proba, min_samples=25)
    hidden = 0
    for label, line in display.lines_.items():
        drawn = ~np.isnan(line.get_ydata())
        assert_array_equal(drawn, display.mass[label] >= 25)
        hidden += (~drawn & (display.mass[label] > 0)).sum()
    assert hidden > 0
    everything = display.plot(min_samples=1)
    line = everything.lines_[0]
    assert_array_equal(~np.isnan(line.get_ydata()), display.mass[0] > 0)


def test_right_probabilities_lie_on_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    proba = rng.random((40_000, 2))
    Y = rng.random(proba.shape) < proba
    display = MultiLabelReliabilityDisplay.from_predictions(Y, proba)
    assert display.calibration_error.max() < 0.02
    too_sure = MultiLabelReliabilityDisplay.from_predictions(Y, (proba > 0.5) * 0.98 + 0.01)
    assert_allclose(too_sure.calibration_error, 0.24, atol=0.01)


def test_reliability_wants_probabilities(heads: Any, named_data: Any) -> None:
    X, Y = named_data
    with pytest.raises(ValueError, match=r"y_proba must lie in \[0, 1\]"):
        MultiLabelReliabilityDisplay.from_predictions(Y, heads.decision_function(X))
