"""Threshold search against brute force over all distinct scores."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, get_scorer

from sklearn_mlcl import metrics
from sklearn_mlcl.thresholds import OBJECTIVES, threshold_score, tune_thresholds

from .oracles import BY_ROWS, random_case


def candidates(scores):
    return np.append(np.unique(scores), scores.max() + 1)


def value(Y, scores, cuts, objective, weight):
    return threshold_score(Y, scores, cuts, objective=objective, sample_weight=weight)


def loop_f1(y, accepted, weight):
    hits = sum(w for yi, a, w in zip(y, accepted, weight, strict=True) if a and yi == 1)
    mass = sum(w * (bool(a) + (yi == 1)) for yi, a, w in zip(y, accepted, weight, strict=True))
    return 2 * hits / mass if mass else 0.0


@given(seed=st.integers(0, 100_000), single=st.booleans())
@settings(max_examples=60, deadline=None)
def test_f1_by_label_is_identical_to_brute_force(seed, single):
    """The same decisions, so the same F1 to the last bit, and the highest threshold of equals."""
    Y, scores, weight = random_case(seed, dtype=np.float32 if single else np.float64)
    cuts = tune_thresholds(Y, scores, objective="f1_macro", sample_weight=weight)
    w = np.ones(len(Y)) if weight is None else weight
    for j in range(Y.shape[1]):
        known = ~np.isnan(Y[:, j])
        y, s, v = Y[known, j], scores[known, j], w[known]
        found = {cut: loop_f1(y, s >= cut, v) for cut in candidates(s)}
        best = max(found.values())
        highest = max(cut for cut, f1 in found.items() if f1 == best)
        assert loop_f1(y, s >= cuts[j], v) == best
        np.testing.assert_array_equal((s >= cuts[j])[v > 0], (s >= highest)[v > 0])


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(12))
def test_common_threshold_is_exact(objective, seed):
    Y, scores, weight = random_case(seed)
    L = Y.shape[1]
    cuts = tune_thresholds(Y, scores, objective=objective, per_label=False, sample_weight=weight)
    assert (cuts == cuts[0]).all()
    best = max(value(Y, scores, np.full(L, t), objective, weight) for t in candidates(scores))
    assert value(Y, scores, cuts, objective, weight) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("objective", ["f1_macro", "f1_micro", "accuracy"])
@pytest.mark.parametrize("seed", range(6))
def test_exact_objectives_against_all_combinations(objective, seed):
    Y, scores, weight = random_case(seed, n=12, L=2 + seed % 2)
    grids = [candidates(column) for column in scores.T]
    best = max(value(Y, scores, np.array(t), objective, weight) for t in product(*grids))
    cuts = tune_thresholds(Y, scores, objective=objective, sample_weight=weight)
    assert value(Y, scores, cuts, objective, weight) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_cardinality_by_label(seed):
    Y, scores, weight = random_case(seed)
    cuts = tune_thresholds(Y, scores, objective="cardinality", sample_weight=weight)
    w = np.ones(len(Y)) if weight is None else weight
    for j, cut in enumerate(cuts):
        known = ~np.isnan(Y[:, j])
        wanted = w[known] @ Y[known, j]
        gaps = [abs(w[known] @ (scores[known, j] >= t) - wanted) for t in candidates(scores[:, j])]
        assert abs(w[known] @ (scores[known, j] >= cut) - wanted) == min(gaps)


@pytest.mark.parametrize("objective", BY_ROWS)
@pytest.mark.parametrize("seed", range(12))
def test_coordinate_ascent_keeps_its_guarantee(objective, seed):
    """Never below the best common threshold; no single label can be moved to advantage."""
    Y, scores, weight = random_case(seed, n=25, L=4)
    keywords = {"objective": objective, "sample_weight": weight}
    common = tune_thresholds(Y, scores, per_label=False, **keywords)
    cuts = tune_thresholds(Y, scores, **keywords)
    reached = value(Y, scores, cuts, objective, weight)
    assert reached >= value(Y, scores, common, objective, weight) - 1e-12
    for j in range(4):
        for cut in candidates(scores[:, j]):
            moved = np.where(np.arange(4) == j, cut, cuts)
            assert value(Y, scores, moved, objective, weight) <= reached + 1e-6


def test_coordinate_ascent_gains_over_the_common_threshold():
    rng = np.random.default_rng(0)
    Y = (rng.random((400, 6)) < 0.4).astype(int)
    scores = Y + rng.normal(size=Y.shape) + 3 * np.arange(6)  # each label on its own level
    for objective in BY_ROWS:
        common = tune_thresholds(Y, scores, objective=objective, per_label=False)
        cuts = tune_thresholds(Y, scores, objective=objective)
        gain = value(Y, scores, cuts, objective, None) - value(Y, scores, common, objective, None)
        assert gain > 0.02


@pytest.mark.parametrize("per_label", [False, True])
def test_callable_and_scorer_find_the_named_optimum(per_label):
    Y, scores, _ = random_case(4, n=20, L=3, missing=False)
    weight = np.random.default_rng(0).integers(1, 4, 20).astype(float)
    named = tune_thresholds(
        Y, scores, objective="f1_macro", per_label=per_label, sample_weight=weight
    )
    best = value(Y, scores, named, "f1_macro", weight)
    for objective in (metrics.f1_macro, metrics.get_scorer("f1_macro"), get_scorer("f1_macro")):
        cuts = tune_thresholds(
            Y, scores, objective=objective, per_label=per_label, sample_weight=weight
        )
        assert value(Y, scores, cuts, "f1_macro", weight) == pytest.approx(best, abs=1e-12)


def test_callable_on_one_label_gets_one_dimension():
    y, s = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.5, 0.9])
    cut = tune_thresholds(y, s, objective=balanced_accuracy_score)
    assert balanced_accuracy_score(y, s >= cut) == pytest.approx(5 / 6)
    scorer = get_scorer("balanced_accuracy")
    assert threshold_score(y, s, cut, objective=scorer) == pytest.approx(5 / 6)


def test_shrinkage_formula_and_labels_without_evidence():
    Y = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]])
    scores = np.array([[0.4, 0.1, 0.9], [0.3, 0.2, 0.8], [0.2, 0.3, 0.7], [0.1, 0.4, 0.6]])
    common = tune_thresholds(Y, scores, objective="f1_micro", per_label=False)[0]
    own = tune_thresholds(Y, scores, objective="f1_macro")
    assert own[1] == common
    shrunk = tune_thresholds(Y, scores, objective="f1_macro", shrinkage=2.0)
    m = Y.sum(axis=0)
    np.testing.assert_allclose(shrunk, (m * own + 2 * common) / (m + 2), rtol=1e-15)


def test_label_best_left_out_is_never_accepted():
    Y = np.array([[0, 1], [0, 0], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.9], [0.8, 0.1], [0.1, 0.2], [0.7, 0.1]])
    for objective in ("accuracy", "f1_micro"):
        cuts = tune_thresholds(Y, scores, objective=objective)
        assert not (scores[:, 0] >= cuts[0]).any() or objective == "f1_micro"
        assert (scores[:, 1] >= cuts[1]).tolist() == [True, False, False, False]


def test_neighbouring_floats_stay_apart():
    low = np.float64(0.3)
    high = np.nextafter(low, 1)
    cut = tune_thresholds([[0], [1]], [[low], [high]])
    assert low < cut[0] <= high


def test_input_forms_agree_and_lists_of_positives():
    Y, scores, w = random_case(1, n=30, L=3, missing=False)
    expected = tune_thresholds(Y, scores, sample_weight=w)
    form = sp.csr_matrix(Y)
    np.testing.assert_array_equal(tune_thresholds(form, scores, sample_weight=w), expected)
    assert f1_score(Y, scores >= expected, average="micro", sample_weight=w) == pytest.approx(
        threshold_score(Y, scores, expected, sample_weight=w)
    )


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"objective": "f2"}, "objective must be one of"),
        ({"shrinkage": -1}, "'shrinkage' parameter of tune_thresholds must be"),
        ({"max_passes": 0}, "'max_passes' parameter of tune_thresholds must be"),
        ({"grid_size": 2.5}, "'grid_size' parameter of tune_thresholds must be"),
        ({"sample_weight": [1, 1]}, "sample_weight must have shape"),
        ({"y_true": [[np.nan], [np.nan], [np.nan]]}, "no known entry"),
        ({"y_score": [[0.1], [np.nan], [0.2]]}, "NaN or inf"),
        ({"y_score": [[0.1, 0.2]] * 3}, "one shape"),
        ({"objective": lambda t, p: np.nan}, "NaN at every common threshold"),
    ],
)
def test_bad_input(keywords, message):
    arguments = {"y_true": [[0], [1], [1]], "y_score": [[0.1], [0.2], [0.3]], **keywords}
    with pytest.raises(ValueError, match=message):
        tune_thresholds(arguments.pop("y_true"), arguments.pop("y_score"), **arguments)
