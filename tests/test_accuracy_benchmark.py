"""The accuracy benchmark: ranks with ties, the protocol of a fit, kills and budgets."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Bunch

from benchmarks import accuracy
from benchmarks._accuracy_fit import (
    OBJECTIVES,
    as_embeddings,
    evaluate,
    oracle_scores,
    tuned_thresholds,
)
from benchmarks._accuracy_models import MODELS, PEERS, LogisticOrConstant
from benchmarks._accuracy_report import (
    METRICS,
    ORACLE,
    SEEDS,
    comparable_rows,
    critical_difference,
    mean_ranks,
    ranks_among_peers,
    seed_means,
    set_ranks,
    tied_ranks,
    wins_table,
    write_report,
)
from benchmarks._resumable import KilledError, RowFile, run_missing, within_budget
from sklearn_mlcl.metrics import f1_macro, f1_micro

ESTIMATORS = ("ours", "forest", "neighbours")


def row_of(task: dict, **given: float) -> dict:
    """A row without a fit: scores from the names in the task, always the same."""
    seed = sum(map(ord, task["dataset"] + task["estimator"])) + task["seed"]
    scores = np.random.default_rng(seed).uniform(size=len(METRICS) + len(ORACLE)).round(6)
    names = [*METRICS, *ORACLE]
    row = {**task, "status": "ok", **dict(zip(names, scores.tolist(), strict=True))}
    return {**row, "fit_seconds": 1.0, "budget_s": 10.0, **given}


# ---------------------------------------------------------------------- ranks


@pytest.mark.parametrize(
    ("scores", "ranks"),
    [
        ([0.9, 0.8, 0.7], [1, 2, 3]),
        ([0.700, 0.705, 0.5], [1.5, 1.5, 3]),
        ([0.700, 0.706, 0.5], [2, 1, 3]),
        ([0.5, 0.5, 0.5, 0.5], [2.5, 2.5, 2.5, 2.5]),
        # The middle one ties with both ends, which do not tie with each other.
        ([0.500, 0.504, 0.508], [2.5, 2, 1.5]),
        ([0.1], [1]),
    ],
)
def test_ranks_with_ties_by_hand(scores, ranks):
    np.testing.assert_array_equal(tied_ranks(np.array(scores)), ranks)


def test_a_difference_printed_as_the_tie_is_one_wherever_it_lies():
    for low in np.arange(0, 995, 5) / 1000:
        np.testing.assert_array_equal(tied_ranks(np.array([low, round(low + 0.005, 6)])), 1.5)


def means_of(scores: dict[str, list[float]], sets: list[str]) -> pd.DataFrame:
    rows = [
        {**row_of({"dataset": name, "estimator": estimator, "seed": 0}), "f1_macro": values[place]}
        for place, name in enumerate(sets)
        for estimator, values in scores.items()
    ]
    return seed_means(rows, list(scores))


def test_mean_ranks_and_wins_by_hand():
    scores = {"ours": [0.60, 0.503, 0.2], "forest": [0.50, 0.500, 0.3], "neighbours": [0.4] * 3}
    means = means_of(scores, ["a", "b", "c"])
    ranks = mean_ranks(means)["macro-F1"]
    assert ranks["ours"] == pytest.approx((1 + 1.5 + 3) / 3)
    assert ranks["forest"] == pytest.approx((2 + 1.5 + 2) / 3)
    assert ranks["neighbours"] == pytest.approx((3 + 3 + 1) / 3)
    assert wins_table(means, ["ours"]).loc["ours", "macro-F1"] == "1/1/1"


def test_a_fit_over_budget_is_missing_and_ranks_last():
    tasks = list(accuracy.plan(["a", "b"], ESTIMATORS))
    rows = [row_of(task) for task in tasks]
    late = {**tasks[1], "status": "over budget", "budget_s": 10.0}
    means = seed_means([rows[0], late, *rows[2:]], ESTIMATORS)
    assert means.loc[("a", "forest")].drop(SEEDS).isna().all()
    assert means.drop(index=("a", "forest")).notna().all(axis=None)
    assert (means[SEEDS] == accuracy.N_SEEDS).all()
    whole = seed_means(rows, ESTIMATORS)
    for metric in METRICS.values():
        ranks, before = set_ranks(means, metric), set_ranks(whole, metric)
        assert ranks.loc["a", "forest"] == len(ESTIMATORS)
        pair = before.loc["a"].drop("forest").rank()
        pd.testing.assert_series_equal(ranks.loc["a"].drop("forest"), pair)
        pd.testing.assert_series_equal(ranks.loc["b"], before.loc["b"])


def test_what_is_compared_has_a_row_of_every_estimator():
    """Set by set and seed by seed: one estimator that lags behind hides that seed alone."""
    rows = [row_of(task) for task in accuracy.plan(["a", "b"], ESTIMATORS)]
    lagging = [row for row in rows if (row["dataset"], row["seed"]) != ("a", 1)]
    lagging += [row for row in rows if (row["dataset"], row["seed"]) == ("a", 1)][1:]
    found = comparable_rows(lagging, ESTIMATORS)
    keys = {(row["dataset"], row["seed"], row["estimator"]) for row in found}
    assert len(found) == len(keys) == 5 * len(ESTIMATORS)
    assert ("a", 1) not in {key[:2] for key in keys}
    assert comparable_rows(rows, ["ours"]) == [row for row in rows if row["estimator"] == "ours"]
    assert seed_means(found, ESTIMATORS)[SEEDS].tolist() == [2] * 3 + [3] * 3


def test_each_of_ours_is_ranked_among_the_peers_alone():
    scores = {"ours": [0.6, 0.5], "other": [0.9, 0.9], "forest": [0.5, 0.6], "trees": [0.4, 0.4]}
    table = ranks_among_peers(means_of(scores, ["a", "b"]), ["ours", "other"])
    assert table["macro-F1"].to_dict() == {"ours": 1.5, "other": 1.0}


def test_critical_difference_against_the_published_table():
    # Demsar, Statistical comparisons of classifiers over multiple data sets, 2006, table 5.
    for n_estimators, quantile in ((2, 1.960), (5, 2.728), (10, 3.164)):
        expected = quantile * np.sqrt(n_estimators * (n_estimators + 1) / 6)
        assert critical_difference(n_estimators, 1) == pytest.approx(expected, rel=1e-3)


# ---------------------------------------------------------------------- killed and restarted


def run_all(path, fitted: list, stop_after: float = np.inf) -> None:
    """Run the whole plan of two sets with rows instead of fits; fail from some fit on."""

    def work(task: dict) -> dict:
        if len(fitted) >= stop_after:
            raise RuntimeError("out of memory")
        fitted.append(tuple(task[name] for name in accuracy.KEY))
        return row_of(task)

    run_missing(accuracy.plan(["a", "b"], ESTIMATORS), RowFile(path, accuracy.KEY), work)


def report_of(path, doc) -> dict[str, str]:
    results = RowFile(path, accuracy.KEY)
    tasks = accuracy.plan(["a", "b"], ESTIMATORS)
    rows = [results.rows[results.key_of(task)] for task in tasks]
    write_report(rows, ESTIMATORS, ["ours"], doc)
    return {file.name: file.read_text() for file in (doc / "_data").iterdir()}


def test_truncated_at_a_random_byte_the_same_tables_come_and_only_the_lost_is_fitted(tmp_path):
    whole = tmp_path / "whole.jsonl"
    run_all(whole, first := [])
    assert len(first) == len(set(first)) == 2 * len(ESTIMATORS) * accuracy.N_SEEDS
    expected, content = report_of(whole, tmp_path / "doc"), whole.read_bytes()
    assert set(expected) == {
        f"accuracy_{name}.csv"
        for name in ("scores", "spread", "oracle", "ranks", "ours", "macro", "wins")
    }
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    cuts = np.random.default_rng().integers(len(content), size=20)
    for cut in (0, ends[3], ends[3] - 1, ends[3] + 1, len(content) - 1, *map(int, cuts)):
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(content[:cut])
        run_all(torn, again := [])
        kept = sum(end <= cut for end in ends)
        assert again == first[kept:], cut
        assert torn.read_bytes() == content, cut
    assert report_of(torn, tmp_path / "again") == expected


def test_a_failed_run_keeps_what_it_did_and_goes_on_from_there(tmp_path):
    path, fitted = tmp_path / "results" / "rows.jsonl", []
    with pytest.raises(ExceptionGroup, match=r"11 of 18 fits failed"):
        run_all(path, fitted, stop_after=7)
    assert len(path.read_text().splitlines()) == 7
    run_all(path, fitted)
    assert len(fitted) == len(set(fitted)) == 18
    run_all(path, fitted)
    assert len(fitted) == 18


def test_more_budget_gives_a_late_fit_another_go(tmp_path):
    results = RowFile(tmp_path / "rows.jsonl", accuracy.KEY)
    task = {"dataset": "a", "estimator": "forest", "seed": 0}
    results.add({**task, "status": "over budget", "budget_s": 10.0})

    def again(budget: float) -> int:
        return run_missing(
            [task], results, row_of, is_done=lambda row: accuracy.stands(row, budget)
        )

    assert [again(10.0), again(5.0), again(20.0), again(30.0)] == [0, 0, 1, 0]
    assert RowFile(results.path, accuracy.KEY).rows == results.rows


def test_over_budget_is_killed_and_a_failure_is_told():
    start = time.perf_counter()
    with pytest.raises(TimeoutError, match=r"sleep took more than 0\.2 s"):
        within_budget(time.sleep, 60, seconds=0.2)
    assert time.perf_counter() - start < 30
    assert within_budget(max, 2, 3, seconds=30) == 3
    with pytest.raises(RuntimeError, match=r"(?s)sqrt\(-1\.0,\) failed.*ValueError"):
        within_budget(math.sqrt, -1.0, seconds=30)
    with pytest.raises(RuntimeError, match="died with exit code 3"):
        within_budget(os._exit, 3, seconds=30)
    with pytest.raises(KilledError, match="died with exit code -9"):
        within_budget(signal.raise_signal, signal.SIGKILL, seconds=30)


@pytest.mark.parametrize(
    ("error", "status"), [(TimeoutError, "over budget"), (KilledError, "killed")]
)
def test_a_fit_without_an_end_gets_a_row_that_says_so(monkeypatch, tmp_path, error, status):
    def without_end(*args, seconds):
        raise error

    monkeypatch.setattr(accuracy, "within_budget", without_end)
    task = {"dataset": "a", "estimator": "forest", "seed": 2}
    results = RowFile(tmp_path / "rows.jsonl", accuracy.KEY)
    expected = {**task, "status": status, "budget_s": 3.0}
    assert accuracy.run_within(task, 3.0, results) == expected


def test_over_budget_with_one_seed_is_not_tried_with_the_next(monkeypatch, tmp_path):
    """One fit of the late estimator on the late set; the others, and more time, have a go."""
    tried = []

    def within_budget(run, dataset, estimator, seed, *, seconds):
        tried.append((dataset, estimator, seed, seconds))
        if (dataset, estimator) == ("a", "forest") and seconds < 20:
            raise TimeoutError
        return row_of({"dataset": dataset, "estimator": estimator, "seed": seed})

    monkeypatch.setattr(accuracy, "within_budget", within_budget)
    results = RowFile(tmp_path / "rows.jsonl", accuracy.KEY)

    def run(budget):
        run_missing(
            accuracy.plan(["a", "b"], ["ours", "forest"]),
            results,
            lambda task: accuracy.run_within(task, budget, results),
            is_done=lambda row: accuracy.stands(row, budget),
        )

    run(10.0)
    assert len(tried) == len(set(tried)) == 12 - 2
    assert [call for call in tried if call[:2] == ("a", "forest")] == [("a", "forest", 0, 10.0)]
    found = [results.rows["a", "forest", seed] for seed in range(3)]
    assert [row["status"] for row in found] == [
        "over budget", "over budget with another seed", "over budget with another seed",
    ]  # fmt: skip
    assert {row["budget_s"] for row in found} == {10.0}
    run(10.0)
    assert len(tried) == 10
    run(20.0)
    assert tried[10:] == [("a", "forest", seed, 20.0) for seed in range(3)]
    assert {row["status"] for row in results.rows.values()} == {"ok"}


# ---------------------------------------------------------------------- one fit


class Recorder(ClassifierMixin, BaseEstimator):
    """Takes the first L features for probabilities, and notes the rows it sees."""

    seen: list = []  # noqa: RUF012 - shared by the clones on purpose

    def fit(self, X, y):
        self.n_labels_ = y.shape[1]
        Recorder.seen.append(("fit", X[:, -1].astype(int).tolist()))
        return self

    def predict_proba(self, X):
        Recorder.seen.append(("predict", X[:, -1].astype(int).tolist()))
        return X[:, : self.n_labels_]


@pytest.fixture
def tiny() -> Bunch:
    rng = np.random.default_rng(0)
    Y = rng.integers(2, size=(80, 3))
    proba = np.clip(0.35 * Y + rng.uniform(0, 0.6, Y.shape), 0, 1)
    X = np.column_stack([proba, np.arange(80)])
    return Bunch(X=X[:60], Y=Y[:60], X_test=X[60:], Y_test=Y[60:])


def test_the_test_rows_are_predicted_once_and_enter_no_choice(tiny):
    Recorder.seen = []
    row = evaluate(Recorder(), tiny, seed=0)
    calls = Recorder.seen
    assert [kind for kind, _ in calls] == ["fit", "predict"] * 4
    held_out = [rows for kind, rows in calls[:6] if kind == "predict"]
    assert sorted(chain.from_iterable(held_out)) == list(range(60))
    for (_, fitted), (_, scored) in zip(calls[0:6:2], calls[1:6:2], strict=True):
        assert not set(fitted) & set(scored)
    assert calls[6:] == [("fit", list(range(60))), ("predict", list(range(60, 80)))]
    assert row["thresholds"] == tuned_thresholds(tiny.Y, tiny.X[:, :3])
    decided = tiny.X_test[:, :3] >= row["thresholds"]["f1_macro"]
    assert row["f1_macro"] == pytest.approx(f1_macro(tiny.Y_test, decided.astype(int)), abs=1e-6)
    assert json.loads(json.dumps(row)) == row
    assert set(row) >= {*METRICS, *ORACLE}


def test_every_estimator_gets_the_same_folds(tiny):
    Recorder.seen = []
    evaluate(Recorder(), tiny, seed=1)
    first, Recorder.seen = Recorder.seen, []
    evaluate(Recorder(), tiny, seed=1)
    assert Recorder.seen == first


def test_oracle_scores_are_the_best_of_nine(tiny):
    found = oracle_scores(tiny.Y_test, tiny.X_test[:, :3])
    nine = [f1_micro(tiny.Y_test, (tiny.X_test[:, :3] >= t / 10).astype(int)) for t in range(1, 10)]
    assert found["f1_micro_oracle"] == max(nine)
    assert set(found) == set(ORACLE) == {f"{name}_oracle" for name in OBJECTIVES}


def test_the_constant_peer_answers_for_one_value():
    X = np.eye(3)
    for value in (0, 1):
        model = LogisticOrConstant().fit(X, np.full(3, value))
        assert model.predict(X).tolist() == [value] * 3
        np.testing.assert_allclose(model.predict_proba(X)[:, value], 7 / 8)


def test_the_peers_are_those_of_the_protocol():
    forest, trees = (PEERS[name](False, 0) for name in ("random forest", "extra trees"))
    assert forest.n_estimators == trees.n_estimators == 300
    mlp = PEERS["MLPClassifier"](True, 0)[-1]
    assert (mlp.early_stopping, mlp.max_iter) == (False, 200)
    for name in ("one-vs-rest logistic", "classifier chain", "k nearest neighbours"):
        assert len(next(iter(PEERS[name](True, 0).param_grid.values()))) >= 5
    assert all(hasattr(build(True, 0), "fit") for build in MODELS.values())


# ------------------------------------------------------------------------ sets


def test_embeddings_know_the_training_rows_alone():
    rng = np.random.default_rng(0)
    words = sp.random_array((60, 200), density=0.1, format="csr", random_state=rng)
    Y = rng.integers(0, 2, (60, 3))
    data = Bunch(X=words[:40], Y=Y[:40], X_test=words[40:], Y_test=Y[40:])
    whole = as_embeddings(data, width=8)
    assert whole.X.shape == (40, 8) and whole.X.dtype == whole.X_test.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(whole.X, axis=1), 1, rtol=1e-5)
    other = as_embeddings(Bunch(**{**data, "X_test": words[40:41]}), width=8)
    np.testing.assert_array_equal(other.X, whole.X)
    np.testing.assert_allclose(other.X_test, whole.X_test[:1], rtol=1e-5)
