"""The thresholds themselves, number for number, against searches written out in loops."""

from __future__ import annotations

import numpy as np
import pytest

from sklearn_mlcl.thresholds import OBJECTIVES, threshold_score, tune_thresholds

from .oracles import BY_ROWS, random_case


def cuts_of(scores):
    """Every threshold that a search may return, ascending: halfway points, and above all."""
    met = np.unique(scores)
    return [met[0], *(met[:-1] + (met[1:] - met[:-1]) / 2), np.nextafter(met[-1], np.inf)]


def highest_best(candidates, values):
    """The highest candidate among those of the best value."""
    return [c for c, v in zip(candidates, values, strict=True) if v >= max(values) - 1e-12][-1]


def f1(y, accepted, w):
    mass = w @ accepted + w @ y
    return 2 * (w @ (accepted * y)) / mass if mass else 0.0


def agreement(y, accepted, w):
    return w @ (accepted == y)


def nearness(y, accepted, w):
    return -abs(w @ accepted - w @ y)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(10))
def test_common_threshold_is_the_highest_halfway_point(objective, seed):
    Y, scores, weight = random_case(seed, 24, 3, lightest=1)
    keywords = {"objective": objective, "sample_weight": weight}
    candidates = cuts_of(scores[~np.isnan(Y)])
    candidates[-1] = np.nextafter(scores.max(), np.inf)
    values = [threshold_score(Y, scores, cut, **keywords) for cut in candidates]
    cuts = tune_thresholds(Y, scores, per_label=False, **keywords)
    np.testing.assert_array_equal(cuts, highest_best(candidates, values))


@pytest.mark.parametrize("seed", range(40))
def test_automatic_threshold_gives_up_one_percent_of_micro_f1_for_macro_f1(seed):
    Y, scores, weight = random_case(seed, 60, 4, lightest=1)
    scores += np.random.default_rng(seed).normal(0, 0.3, scores.shape) + np.nan_to_num(Y)
    candidates = cuts_of(scores[~np.isnan(Y)])[:-1]
    micro, macro = (
        np.array(
            [threshold_score(Y, scores, c, objective=f, sample_weight=weight) for c in candidates]
        )
        for f in ("f1_micro", "f1_macro")
    )
    allowed = micro >= 0.99 * micro.max() - 1e-12
    cuts = tune_thresholds(Y, scores, objective="auto", per_label=False, sample_weight=weight)
    np.testing.assert_array_equal(cuts, highest_best(candidates, np.where(allowed, macro, -1)))


def test_automatic_threshold_is_a_common_one():
    with pytest.raises(ValueError, match="objective='auto' is a common threshold"):
        tune_thresholds([[1, 0]], [[0.4, 0.1]], objective="auto")
    without = tune_thresholds([[0, 0]], [[0.4, 0.1]], objective="auto", per_label=False)
    assert without.tolist() == [np.nextafter(0.4, 1)] * 2


@pytest.mark.parametrize(
    ("objective", "value"), [("f1_macro", f1), ("accuracy", agreement), ("cardinality", nearness)]
)
@pytest.mark.parametrize("seed", range(10))
def test_threshold_of_a_label_is_the_highest_halfway_point(objective, value, seed):
    Y, scores, weight = random_case(seed, 24, 4, lightest=1)
    Y[:, 3] = np.where(np.isnan(Y[:, 3]), np.nan, 0)  # without a positive
    w = np.ones(len(Y)) if weight is None else weight
    cuts = tune_thresholds(Y, scores, objective=objective, sample_weight=weight)
    # "f1_macro" leaves a label without a positive to the common threshold of "f1_micro".
    shared = "f1_micro" if objective == "f1_macro" else objective
    common = tune_thresholds(Y, scores, objective=shared, per_label=False, sample_weight=weight)[0]
    for y, s, cut in zip(Y.T, scores.T, cuts, strict=True):
        known = ~np.isnan(y)
        if objective == "f1_macro" and not (y == 1).any():
            assert cut == common
            continue
        candidates = cuts_of(s[known])
        values = [value(y[known], s[known] >= c, w[known]) for c in candidates]
        best = highest_best(candidates, values)
        nothing = best == candidates[-1]
        assert cut == (max(np.nextafter(s.max(), np.inf), common) if nothing else best)


@pytest.mark.parametrize("max_passes", [1, 2, 20])
@pytest.mark.parametrize("objective", BY_ROWS)
@pytest.mark.parametrize("seed", range(6))
def test_coordinate_ascent_is_the_loop(objective, seed, max_passes):
    """From the common threshold, label by label, to the highest best; until a round gains less."""
    Y, scores, _ = random_case(seed, 20, 3)
    weight = np.random.default_rng(seed).random(20) + 0.1  # no two sums are equal by chance

    def value(cuts):
        return threshold_score(Y, scores, cuts, objective=objective, sample_weight=weight)

    keywords = {"objective": objective, "sample_weight": weight}
    cuts = tune_thresholds(Y, scores, per_label=False, **keywords)
    for _ in range(max_passes):
        before = value(cuts)
        for label in range(3):
            known = ~np.isnan(Y[:, label])
            trials = []
            for cut in cuts_of(scores[known, label]):
                trials.append(np.where(np.arange(3) == label, cut, cuts))
            values = [value(trial) for trial in trials]
            if max(values) > value(cuts) + 1e-12:
                cuts = highest_best(trials, values)
        if value(cuts) - before < 1e-6:
            break
    found = tune_thresholds(Y, scores, max_passes=max_passes, **keywords)
    for label in range(3):
        same = scores[:, label].max() < cuts[label] and scores[:, label].max() < found[label]
        assert same or found[label] == cuts[label]


@pytest.mark.parametrize(
    ("grid_size", "accepted"), [(1, {0, 11}), (2, {0, 1, 11}), (3, {0, 1, 6, 11}), (11, range(12))]
)
def test_a_callable_is_tried_on_scores_spread_evenly(grid_size, accepted):
    scores = np.arange(11.0)[:, None]
    tried = set()

    def objective(y_true, y_pred):
        tried.add(int(y_pred.sum()))
        return -abs(y_pred.sum() - y_true.sum())

    cut = tune_thresholds(scores > 4.5, scores, objective=objective, grid_size=grid_size)
    assert tried == set(accepted)
    assert cut == {1: 0.0, 2: 9.5}.get(grid_size, 4.5)


@pytest.mark.parametrize("max_passes", [1, 20])
@pytest.mark.parametrize("seed", range(4))
def test_ascent_of_a_callable_is_the_loop(seed, max_passes):
    Y, scores, _ = random_case(seed, 12, 3, missing=False)

    def objective(y_true, y_pred):
        both, either = (y_true & y_pred).sum(axis=1), (y_true | y_pred).sum(axis=1)
        return float((both / np.maximum(either, 1) - 0.1 * (y_pred.sum(axis=1) > 2)).mean())

    def value(cuts):
        return objective(Y.astype(int), (scores >= cuts).astype(int))

    candidates = cuts_of(scores)
    common = highest_best(candidates, [value(np.full(3, c)) for c in candidates])
    cuts = np.full(3, common)
    for _ in range(max_passes):
        before = value(cuts)
        for label in range(3):
            for cut in cuts_of(scores[:, label]):
                trial = np.where(np.arange(3) == label, cut, cuts)
                if value(trial) > value(cuts):
                    cuts = trial
        if value(cuts) == before:
            break
    found = tune_thresholds(Y, scores, objective=objective, max_passes=max_passes)
    np.testing.assert_array_equal(found, cuts)


def test_many_rows_and_labels_are_searched_in_blocks():
    """More labels than a block, more rows than a tile, more entries than a cache holds."""
    rng = np.random.default_rng(0)
    n, L = 1100, 130
    Y = (rng.random((n, L)) < 0.3).astype(float)
    Y[rng.random((n, L)) < 0.1] = np.nan
    scores = (rng.integers(0, 9, (n, L)) + 2 * np.nan_to_num(Y)) / 8
    weight = rng.integers(1, 4, (n, L)) / 2
    cuts = tune_thresholds(Y, scores, objective="f1_macro", sample_weight=weight)
    for j in (0, 63, 64, 127, 128, 129):
        column = [part[:, j : j + 1] for part in (Y, scores, weight)]
        alone = tune_thresholds(*column[:2], objective="f1_macro", sample_weight=column[2])
        assert cuts[j] == alone[0]
    for objective in BY_ROWS:
        keywords = {"objective": objective, "sample_weight": weight}
        candidates = cuts_of(scores)
        values = [threshold_score(Y, scores, cut, **keywords) for cut in candidates]
        common = tune_thresholds(Y, scores, per_label=False, **keywords)[0]
        assert common == highest_best(candidates, values)


def test_no_label_holds_a_positive():
    """Nothing to find: every label goes just above its scores, or to the threshold of all."""
    Y, scores = np.zeros((4, 2)), np.array([[0.1, 0.5], [0.2, 0.6], [0.3, 0.7], [0.4, 0.8]])
    for objective in OBJECTIVES:
        for per_label in (False, True):
            cuts = tune_thresholds(Y, scores, objective=objective, per_label=per_label)
            np.testing.assert_array_equal(cuts, np.nextafter(0.8, 1))


def test_cardinality_is_less_the_distance_of_the_weighted_means():
    Y = np.array([[1, 0, np.nan], [1, 1, 0], [0, 0, 0]])
    scores = np.array([[0.9, 0.8, 0.9], [0.1, 0.9, 0.2], [0.7, 0.6, 0.9]])

    def score(weight):
        return threshold_score(Y, scores, 0.5, objective="cardinality", sample_weight=weight)

    # Surplus of the rows: 1, -1, 3; the missing label counts for nothing.
    assert score(None) == pytest.approx(-3 / 3)
    assert score([1.0, 2.0, 4.0]) == pytest.approx(-(1 - 2 + 12) / 7)
    entries = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [1.0, 1.0, 4.0]])
    # A row weighs the mean of its weights: 2, 2, 2.
    assert score(entries) == pytest.approx(-(2 - 2 + 6) / 6)


@pytest.mark.parametrize("objective", ["f1_micro", "accuracy"])
def test_equal_scores_of_all_rows_give_that_score_or_one_above(objective):
    scores = np.full((4, 1), 0.25)
    mostly = tune_thresholds([[1], [1], [1], [0]], scores, objective=objective)
    assert mostly.tolist() == [0.25]
    rarely = tune_thresholds([[1], [0], [0], [0]], scores, objective=objective)
    assert rarely.tolist() == [0.25 if objective == "f1_micro" else np.nextafter(0.25, 1)]


def test_bounds_of_parameters_are_in_or_out():
    arguments = {"y_true": [[0], [1]], "y_score": [[0.1], [0.2]]}
    expected = tune_thresholds(**arguments)
    for allowed in ({"shrinkage": 0}, {"grid_size": 1}, {"max_passes": 1}, {"shrinkage": 1e300}):
        np.testing.assert_allclose(tune_thresholds(**arguments, **allowed), expected)
    for refused in ({"shrinkage": np.inf}, {"shrinkage": "1"}, {"grid_size": 0}):
        with pytest.raises(ValueError, match=f"'{next(iter(refused))}' parameter of tune_thr"):
            tune_thresholds(**arguments, **refused)


def test_a_callable_without_a_size_of_the_grid_is_tried_on_a_hundred_scores():
    scores, tried = np.arange(150.0)[:, None], set()

    def objective(y_true, y_pred):
        tried.add(int(y_pred.sum()))
        return float((y_pred == y_true).mean())

    tune_thresholds(scores > 70, scores, objective=objective)
    assert len(tried) == 101
    assert {0, 1, 150} <= tried


def test_nan_is_the_worst_value_of_a_callable():
    Y, scores = np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.2], [0.3], [0.4]])

    def objective(y_true, y_pred):
        return np.nan if y_pred.sum() != 3 else -5.0

    for per_label in (False, True):
        cut = tune_thresholds(Y, scores, objective=objective, per_label=per_label)
        np.testing.assert_allclose(cut, 0.15, rtol=1e-15)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_positive_alone_is_found(objective):
    Y, scores = np.zeros((5, 2)), np.arange(10.0).reshape(5, 2)
    Y[4, 1] = 1
    cuts = tune_thresholds(Y, scores, objective=objective, per_label=False)
    assert cuts.tolist() == [8.5, 8.5]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(2))
def test_shrinkage_pulls_to_the_common_threshold_of_the_objective(objective, seed):
    """By the weight of a label's positives; "f1_macro" takes the common one of "f1_micro"."""
    Y, scores, weight = random_case(seed)
    keywords = {"objective": objective, "sample_weight": weight}
    w = np.ones(len(Y)) if weight is None else weight
    own = tune_thresholds(Y, scores, **keywords)
    got = tune_thresholds(Y, scores, shrinkage=4.0, **keywords)
    if objective == "f1_macro":
        keywords["objective"] = "f1_micro"
    common = tune_thresholds(Y, scores, per_label=False, **keywords)
    evidence = w @ (Y == 1)
    np.testing.assert_allclose(got, (evidence * own + 4 * common) / (evidence + 4), rtol=1e-14)
