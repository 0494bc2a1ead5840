"""Correlations of labels and of probabilities against loops and against simulation."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_mlcl.inspection import LabelCorrelationDisplay
from tests.inspection.conftest import scored_rows


def phi_by_loops(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Covariance over the rows where both are known, over the spreads of 0/1 labels there."""
    L = values.shape[1]
    phi = np.eye(L)
    for a in range(L):
        for b in range(L):
            rows = known[:, a] & known[:, b]
            p, q = values[rows, a], values[rows, b]
            spread = np.sqrt(p.mean() * (1 - p.mean()) * q.mean() * (1 - q.mean()))
            if a != b:
                phi[a, b] = np.mean((p - p.mean()) * (q - q.mean())) / spread
    return phi


def test_both_correlations_by_loops(scored: Any) -> None:
    Y, proba = scored
    display = LabelCorrelationDisplay.from_predictions(Y, proba, order=None)
    known = ~np.isnan(Y)
    assert_allclose(display.observed, phi_by_loops(known, np.nan_to_num(Y)), atol=1e-12)
    assert_allclose(display.learned, phi_by_loops(known, proba), atol=1e-12)
    assert_allclose(display.difference, display.observed - display.learned)
    if known.all():
        assert_allclose(display.observed, np.corrcoef(Y.T), atol=1e-12)


def test_what_features_do_not_account_for_is_the_difference() -> None:
    """Labels independent given the probabilities leave nothing over; a copied label does."""
    rng = np.random.default_rng(0)
    shared = rng.random((100_000, 1))
    proba = np.hstack([0.1 + 0.8 * shared, 0.9 - 0.8 * shared, np.full_like(shared, 0.3)])
    Y = (rng.random(proba.shape) < proba).astype(int)
    display = LabelCorrelationDisplay.from_predictions(Y, proba, order=None)
    assert display.observed[0, 1] < -0.15
    assert_allclose(display.difference, 0, atol=0.015)
    proba, Y = np.hstack([proba, proba[:, 2:]]), np.hstack([Y, Y[:, 2:]])
    copied = LabelCorrelationDisplay.from_predictions(Y, proba, order=None)
    assert_allclose(copied.difference[2, 3], 1, atol=1e-9)


def test_weights_are_repetitions(scored: Any) -> None:
    Y, proba = scored
    times = np.random.default_rng(1).integers(0, 3, size=len(Y))
    make = LabelCorrelationDisplay.from_predictions
    weighted = make(Y, proba, sample_weight=times)
    repeated = make(np.repeat(Y, times, 0), np.repeat(proba, times, 0))
    assert_allclose(weighted.observed, repeated.observed, atol=1e-12)
    assert_allclose(weighted.learned, repeated.learned, atol=1e-12)


def test_constant_labels_have_no_correlation() -> None:
    Y, proba = scored_rows(50, 4)
    Y[:, 1] = 1
    display = LabelCorrelationDisplay.from_predictions(Y, proba)
    at = display.label_names.index("1")
    assert np.isnan(display.observed[at]).all() and np.isnan(display.observed[:, at]).all()
    assert np.isfinite(display.learned).all()
    assert np.isfinite(np.delete(np.delete(display.observed, at, 0), at, 1)).all()


def test_clusters_stand_together() -> None:
    rng = np.random.default_rng(0)
    topics = rng.random((400, 3)) < 0.4
    group = np.arange(12) % 3
    Y = (topics[:, group] ^ (rng.random((400, 12)) < 0.1)).astype(int)
    display = LabelCorrelationDisplay.from_predictions(Y, np.full(Y.shape, 0.5))
    order = [int(name) for name in display.label_names]
    assert sorted(order) == list(range(12))
    assert (np.diff(group[order]) != 0).sum() == 2
    plain = LabelCorrelationDisplay.from_predictions(Y, np.full(Y.shape, 0.5), order=None)
    assert_allclose(display.observed, plain.observed[np.ix_(order, order)])


def test_chosen_labels_and_panels(scored: Any) -> None:
    display = LabelCorrelationDisplay.from_predictions(
        *scored, labels=[4, "1"], order=None, panels=["difference"]
    )
    everything = LabelCorrelationDisplay.from_predictions(*scored, order=None)
    assert display.label_names == ["4", "1"]
    pair = np.ix_([4, 1], [4, 1])
    assert_allclose(display.learned, everything.learned[pair])
    assert list(display.images_) == ["difference"] and len(display.ax_) == 1
    shown = display.images_["difference"].get_array()
    assert_array_equal(shown.mask, np.eye(2, dtype=bool))
    assert_allclose(shown[0, 1], everything.difference[4, 1])


def test_panels_share_one_scale(scored: Any) -> None:
    display = LabelCorrelationDisplay.from_predictions(*scored)
    limits = {image.get_clim() for image in display.images_.values()}
    off_diagonal = ~np.eye(7, dtype=bool)
    matrices = [display.observed, display.learned, display.difference]
    largest = max(np.abs(matrix[off_diagonal]).max() for matrix in matrices)
    assert limits == {(-largest, largest)} and display.colorbar_.extend == "neither"


def test_a_few_strong_pairs_of_many_do_not_take_the_contrast(many: Any) -> None:
    Y, proba = many
    Y = Y.copy()
    Y[:, 1] = Y[:, 0]
    display = LabelCorrelationDisplay.from_predictions(Y, proba)
    assert display.images_["observed"].get_clim()[1] < 0.5
    assert display.colorbar_.extend == "both"
    names = [text.get_text() for text in display.ax_[0].get_yticklabels()]
    assert names == display.label_names[::5]


def test_arguments_are_checked(scored: Any) -> None:
    make = LabelCorrelationDisplay.from_predictions
    axes = plt.figure().subplots(1, 2)
    for message, arguments in {
        "order must be 'cluster' or None, got 'size'": {"order": "size"},
        r"panels must be some of \('observed'": {"panels": ["observed", "errors"]},
        "needs two labels at least, got 1": {"labels": [3]},
        "ax must hold 3 axes, one a panel; got 2": {"ax": axes},
        "labels must be a sequence": {"labels": "3"},
    }.items():
        with pytest.raises(ValueError, match=message):
            make(*scored, **arguments)
