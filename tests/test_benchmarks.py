"""Benchmarks and studies in small: every file imports, fits and reports; killed runs go on."""

from __future__ import annotations

import ast
import importlib
import json
import os
import signal
import sys
import time
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Bunch

from benchmarks import (
    _cgmvae_fit,
    _data,
    _report,
    accuracy,
    bench_gpu,
    gpu,
    study_cgmvae,
    study_losses,
    study_scale,
)
from benchmarks._accuracy_fit import (
    evaluate,
    micro_f1_interval,
    oracle_scores,
    tuned_thresholds,
)
from benchmarks._accuracy_models import MODELS, VARIANTS, MeanOfTwo
from benchmarks._accuracy_peers import MODULES, WithoutConstantLabels, missing_module
from benchmarks._accuracy_report import (
    METRICS,
    ORACLE,
    estimates_table,
    ranks_among_peers,
    seed_means,
    tied_ranks,
    wins_table,
    write_report,
)
from benchmarks._performance_page import write_page
from benchmarks._report import Bar
from benchmarks._resumable import (
    KilledError,
    RowFile,
    processor_seconds,
    run_missing,
    within_budget,
)
from benchmarks._scores import DECISION_SCORES, scores
from sklearn_mlcl import CGMVAEClassifier
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import f1_macro, f1_micro, roc_auc
from sklearn_mlcl.utils.response import label_scores
from tests import test_gpu

FILES = sorted(path.stem for path in (Path(__file__).parents[1] / "benchmarks").glob("*.py"))
ESTIMATORS = ("ours", "forest", "neighbours")


@pytest.mark.parametrize("name", FILES)
def test_every_file_imports(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def digits() -> Bunch:
    bunch = make_multilabel_digits((10, 2), (3, 1))
    X, Y, train, test = bunch.data[:, ::8], bunch.target, bunch.train_idx, bunch.test_idx
    return Bunch(X=X[train], Y=Y[train], X_test=X[test], Y_test=Y[test])


# ---------------------------------------------------------------------- accuracy


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.*single value", "ignore:Label .* is present in all")
@pytest.mark.parametrize("name", [*MODELS, *VARIANTS])
def test_every_model_is_fitted_and_scored(name: str, digits: Bunch) -> None:
    row = evaluate(small_model(name, False), digits, seed=0)
    assert json.loads(json.dumps(row)) == row
    assert all(0 <= row[score] <= 1 for score in (*METRICS, *ORACLE) if score != "log_loss")
    assert 0 < row["log_loss"] < 16


def small_model(name: str, sparse: bool, max_epochs: int = 1) -> BaseEstimator:
    """An estimator of the benchmark, small in everything."""
    if module := missing_module(name):
        pytest.skip(f"{module} is not installed")
    model = {**MODELS, **VARIANTS}[name](sparse, 0)
    small = {
        "max_epochs": max_epochs, "max_iter": 5, "n_estimators": 5, "iterations": 5,
        "max_rules": 20, "d_block": 8,
    }  # fmt: skip
    for key in list(model.get_params()):
        if (last := key.rpartition("__")[2]) in small:
            model.set_params(**{key: small[last]})
    if hasattr(model, "param_grid"):
        model.set_params(param_grid={k: v[:1] for k, v in model.param_grid.items()}, cv=2)
    return model


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_peers_predict_the_constant_of_constant_labels(name: str, sparse: bool) -> None:
    X = np.random.default_rng(0).normal(size=(120, 4))
    X[:, 3] = 1  # a constant feature, too
    Y = np.column_stack([np.zeros(120), np.ones(120), X[:, 0] > 0, X[:, 1] > 0]).astype(int)
    X = sp.csr_matrix(X) if sparse else X
    for n_labels in (3, 4):  # one label that varies, and two
        model = small_model(name, sparse, max_epochs=30).fit(X, Y[:, :n_labels])
        P = label_scores(model, X, n_labels, "predict_proba")
        np.testing.assert_allclose(P[:, :2], [[0.5 / 121, 120.5 / 121]] * 120)
        assert roc_auc(Y[:, 2:n_labels], P[:, 2:]) > 0.8


def test_without_a_label_that_varies_nothing_is_fitted() -> None:
    Y = np.tile([0, 1], (9, 1))
    model = WithoutConstantLabels(Recorder()).fit(np.zeros((9, 2)), Y)
    np.testing.assert_allclose(model.predict_proba(np.zeros((2, 2))), [[0.05, 0.95]] * 2)


def test_a_peer_without_its_package_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(MODULES, "TabM", "no_such_module")
    assert accuracy.can_fit(["TabM", "extra trees"]) == ["extra trees"]
    assert "no new rows of TabM: there is no module no_such_module" in capsys.readouterr().out


def test_the_vote_is_the_mean_of_its_members(digits: Bunch) -> None:
    members = [small_model(name, False) for name in ("random forest", "extra trees")]
    fitted = [*members, MeanOfTwo(*members)]
    first, second, vote = (
        label_scores(
            model.fit(digits.X, digits.Y), digits.X_test, digits.Y.shape[1], "predict_proba"
        )
        for model in fitted
    )
    np.testing.assert_allclose(vote, (first + second) / 2)


class Recorder(ClassifierMixin, BaseEstimator):
    """Takes the first L features for probabilities, and notes the samples it sees."""

    seen: list = []  # noqa: RUF012 - shared by the clones on purpose

    def fit(self, X: Any, y: Any) -> Recorder:
        self.n_labels_ = y.shape[1]
        self.seen.append(X[:, -1].astype(int).tolist())
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        self.seen.append(X[:, -1].astype(int).tolist())
        return X[:, : self.n_labels_]


def test_test_samples_are_predicted_once_and_enter_no_choice() -> None:
    rng = np.random.default_rng(0)
    Y = rng.integers(2, size=(80, 3))
    P = np.clip(0.35 * Y + rng.uniform(0, 0.6, Y.shape), 0, 1)
    X = np.column_stack([P, np.arange(80)])
    Recorder.seen.clear()
    row = evaluate(Recorder(), Bunch(X=X[:60], Y=Y[:60], X_test=X[60:], Y_test=Y[60:]), seed=0)
    first, *folds, last = Recorder.seen
    assert (first, last) == (list(range(60)), list(range(60, 80)))
    fitted, predicted = folds[::2], folds[1::2]
    assert sorted(chain.from_iterable(predicted)) == list(range(60))
    assert not any(set(a) & set(b) for a, b in zip(fitted, predicted, strict=True))
    assert row["thresholds"] == tuned_thresholds(Y[:60], P[:60])
    decided = (P[60:] >= row["thresholds"]["f1_macro"]).astype(int)
    assert row["f1_macro"] == pytest.approx(f1_macro(Y[60:], decided), abs=1e-6)
    nine = [f1_micro(Y[60:], (P[60:] >= t / 10).astype(int)) for t in range(1, 10)]
    assert oracle_scores(Y[60:], P[60:])["f1_micro_oracle"] == max(nine)


@pytest.mark.parametrize(
    ("scores", "ranks"),
    [
        ([0.700, 0.705, 0.5], [1.5, 1.5, 3]),
        ([0.700, 0.706, 0.5], [2, 1, 3]),
        # The middle one ties with both ends, which do not tie with each other.
        ([0.500, 0.504, 0.508], [2.5, 2, 1.5]),
    ],
)
def test_ranks_with_ties(scores: list[float], ranks: list[float]) -> None:
    np.testing.assert_array_equal(tied_ranks(np.array(scores)), ranks)


def made_rows(values: dict[str, float], dataset: str = "a", score: str = "f1_micro") -> list[dict]:
    """Rows of one set and seed that differ in one score."""
    same = dict.fromkeys(METRICS, 0.5)
    return [
        {"dataset": dataset, "estimator": name, "seed": 0, **same, score: value}
        for name, value in values.items()
    ]


def test_a_log_loss_ties_within_a_percent_and_a_capped_fit_is_last() -> None:
    losses = {"ours": 0.101, "near": 0.1, "far": 0.102, "capped": np.nan}
    rows = made_rows(losses, score="log_loss")
    means = seed_means(rows, list(losses))
    assert ranks_among_peers(means, ["ours"])["log loss"].tolist() == [2.0]
    assert wins_table(means, ["ours"]).loc["ours", "log loss"] == "0/1/0"
    rows[-1] = {"dataset": "a", "estimator": "capped", "seed": 0, "status": "over budget"}
    means = seed_means(rows, list(losses))
    assert means["capped"].tolist() == [0, 0, 0, 1]
    alone = ranks_among_peers(means, ["capped"])
    assert alone[[*METRICS.values()]].eq(4).all(axis=None)


def test_bootstrap_interval_of_micro_f1() -> None:
    rng = np.random.default_rng(0)
    Y = rng.integers(2, size=(200, 5))
    D = np.where(rng.random(Y.shape) < 0.8, Y, 1 - Y)
    draws = rng.integers(200, size=(1000, 200))
    slow = np.quantile([f1_micro(Y[draw], D[draw]) for draw in draws], [0.05, 0.95])
    np.testing.assert_allclose(micro_f1_interval(Y, D, seed=0), slow, atol=0.004)
    assert micro_f1_interval(Y, Y, seed=0) == (1, 1)


def test_a_fit_with_an_estimate_of_its_own_is_held_to_it(digits: Bunch) -> None:
    class Judged(Recorder):
        validation_scores_: dict = {"f1_micro": 0.25}  # noqa: RUF012

        def predict(self, X: Any) -> np.ndarray:
            return (self.predict_proba(X) > 0.5).astype(int)

    row = evaluate(Judged(), digits, seed=0)
    assert row["estimated_low"] <= row["estimated"] <= row["estimated_high"]
    key = {"dataset": "a", "seed": 0}
    inside = {"estimate": 0.5, "estimated": 0.5, "estimated_low": 0.4, "estimated_high": 0.6}
    rows = [{**key, "estimator": "judged", **inside}, {**key, "estimator": "peer"}]
    rows.append({**rows[0], "seed": 1, "estimate": 0.7})
    table = estimates_table(rows)
    assert table.index.tolist() == [("a", "judged")]
    assert table.loc[("a", "judged"), ["estimate", "inside", "seeds"]].tolist() == [0.6, 1, 2]


# ---------------------------------------------------------------------- killed and restarted


def row_of(task: dict) -> dict:
    """A row without a fit, always the same for the same task."""
    seed = sum(map(ord, task["dataset"] + task["estimator"])) + task["seed"]
    values = np.random.default_rng(seed).uniform(size=len(METRICS) + len(ORACLE)).tolist()
    row = dict(zip([*METRICS, *ORACLE], values, strict=True))
    return {**task, "status": "ok", **row, "fit_seconds": 1.0, "budget_s": 10.0}


def run_all(path: Path) -> tuple[RowFile, list]:
    results, fitted = RowFile(path, accuracy.KEY), []

    def work(task: dict) -> dict:
        fitted.append(results.key_of(task))
        return row_of(task)

    run_missing(accuracy.plan(["a", "b"], ESTIMATORS), results, work)
    return results, fitted


def test_a_torn_file_is_completed_and_reported(tmp_path: Path) -> None:
    results, first = run_all(tmp_path / "whole.jsonl")
    assert len(set(first)) == len(first) == 2 * len(ESTIMATORS) * accuracy.N_SEEDS
    content = results.path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for cut in (0, ends[3] - 1, ends[3], ends[3] + 1, len(content) - 1, len(content)):
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(content[:cut])
        assert run_all(torn)[1] == first[sum(end <= cut for end in ends) :], cut
        assert torn.read_bytes() == content, cut
    with mpl.rc_context({"backend": "agg"}):
        write_report([*results.rows.values()], ESTIMATORS, ["ours"], tmp_path)
    tables = ("macro", "means", "oracle", "ours", "ranks", "scores", "spread", "wins")
    found = sorted(path.name for path in (tmp_path / "_data").iterdir())
    assert found == [f"accuracy_{name}.csv" for name in tables]


def busy(seconds: float) -> None:
    """Use a processor and never return to what started it."""
    with processor_seconds(seconds):
        while True:
            pass


def test_a_fit_over_its_processor_time_is_killed() -> None:
    with pytest.raises(TimeoutError, match="busy used more than its processor time"):
        within_budget(busy, 0.1)
    with processor_seconds(0.05):
        time.sleep(0.1)  # waiting costs nothing


def test_a_capped_fit_is_not_tried_with_the_next_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(*args: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(accuracy, "within_budget", over)
    results = RowFile(tmp_path / "rows.jsonl", accuracy.KEY)
    for task in accuracy.plan(["a"], ["ours"], 2):
        results.add(accuracy.run_within(task, 900.0, results))
    statuses = [row["status"] for row in results.rows.values()]
    assert statuses == ["over budget", "over budget with another seed"]


def test_rows_of_the_peers_are_not_fitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "found", list)
    monkeypatch.setattr(accuracy, "preload", lambda *modules: None)
    monkeypatch.setattr(accuracy, "run_within", lambda task, *others: row_of(task))
    peers = RowFile(tmp_path / "peers.jsonl", accuracy.KEY)
    for task in accuracy.plan(["a"], ["extra trees", "TabM"], 1):
        peers.add(row_of(task))
    arguments = [
        "--datasets", "a", "--seeds", "1", "--estimators", "extra trees", "TabM", "MLP",
        "--out", str(tmp_path / "ours.jsonl"), "--peers", str(peers.path), "--doc", str(tmp_path),
    ]  # fmt: skip
    with mpl.rc_context({"backend": "agg"}):
        accuracy.main(arguments)
    fitted = RowFile(tmp_path / "ours.jsonl", accuracy.KEY).rows
    assert list(fitted) == [("a", "MLP", 0)]
    assert len((tmp_path / "_data" / "accuracy_scores.csv").read_text().splitlines()) == 4


def test_over_budget_is_killed_and_a_failure_is_told() -> None:
    with pytest.raises(TimeoutError, match=r"sleep took more than 0\.2 s"):
        within_budget(time.sleep, 60, seconds=0.2)
    assert within_budget(max, 2, 3, seconds=60) == 3
    with pytest.raises(RuntimeError, match="died with exit code 3"):
        within_budget(os._exit, 3, seconds=60)
    with pytest.raises(KilledError, match="died with exit code -9"):
        within_budget(signal.raise_signal, signal.SIGKILL, seconds=60)


# ---------------------------------------------------------------------- studies


@pytest.mark.parametrize("recipe", study_losses.RECIPES)
def test_study_of_losses_fits_a_test_after_its_holdout(
    recipe: str, digits: Bunch, tmp_path: Path
) -> None:
    loss = "bce" if "end" in recipe else "reg"
    holdout = study_losses.Fit("digits", recipe, {"loss": loss, "max_epochs": 1})
    test = study_losses.Fit("digits", recipe, holdout.params, rows="test")
    cache = study_losses.Cache(tmp_path / "cache.jsonl")
    assert study_losses.run([holdout, test], cache, "", lambda name: digits) == 2
    again = study_losses.Cache(cache.path)
    assert study_losses.run([holdout, test], again, "", lambda name: digits) == 0
    found = again.rows.values()
    assert len({json.dumps(row["thresholds"]) for row in found}) == 1
    assert [len(row["prr"]) for row in found] == [int(recipe == "two-stage")] * 2


def test_study_of_losses_is_reported(tmp_path: Path, monkeypatch: Any, digits: Bunch) -> None:
    rng = np.random.default_rng(0)
    names = scores(digits.Y, digits.Y, dict.fromkeys(DECISION_SCORES, 0.5))

    def fitted(fit: Any, *others: Any) -> dict:
        values = dict(zip(names, rng.random(len(names)).tolist(), strict=True))
        return {**vars(fit), "fit_seconds": 1.0, "thresholds": {}, "prr": [0.2, 0.3], **values}

    monkeypatch.setattr(study_losses, "run_fit", fitted)
    monkeypatch.setattr(study_losses, "load", lambda name: Bunch(Y=np.zeros((1, len(name)))))
    cache = study_losses.Cache(tmp_path / "cache.jsonl")
    study_losses.run_all(["emotions", "bibtex"], cache, lambda name: digits)
    with mpl.rc_context({"backend": "agg"}):
        study_losses.report(["emotions", "bibtex"], cache, tmp_path)
    assert len(list((tmp_path / "_data").iterdir())) == 6
    assert len(list((tmp_path / "_static").iterdir())) == 5


def test_study_of_cgmvae(label_data: Any, tmp_path: Path, monkeypatch: Any) -> None:
    X, Y = label_data[0].astype(np.float32), label_data[1].astype(float)
    monkeypatch.setattr(_cgmvae_fit, "load", lambda name: (X, Y))
    small = {"max_epochs": 4, "learning_rate": 0.02, "net_params": {"embedding_dim": 32}}
    row = _cgmvae_fit.run_fit("any", 1, small, best_epoch=True, fraction=1.0)
    assert 1 <= row["best_epoch"] <= 4 and row["kl"] > 0 and row["separation"] > 0
    for name in _cgmvae_fit.SCORES:
        assert row[f"{name}_permuted_cost"] <= row[name] <= row[f"{name}_oracle"] <= 1
    tasks = [task for part in study_cgmvae.PARTS.values() for task in part()]
    rows = [{**row, **{k: task[k] for k in study_cgmvae.KEY}} for task in tasks]
    study_cgmvae.write_report(rows, list(study_cgmvae.ABLATIONS), tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


def test_codes_of_other_samples_and_the_best_epoch(label_data: Any) -> None:
    X, Y = label_data[0].astype(np.float32), label_data[1].astype(float)
    keeper = _cgmvae_fit.BestEpoch(X[150:], Y[150:])
    clf = CGMVAEClassifier(
        max_epochs=6, learning_rate=0.05, neighbor_weight=0, callbacks=[keeper], random_state=0,
        validation=None, net_params={"embedding_dim": 32, "schedule": "one_cycle"},
    ).fit(X[:150], Y[:150])  # fmt: skip
    P = clf.predict_proba(X)
    assert keeper.best_ == pytest.approx(_cgmvae_fit.f1_by_threshold(Y[150:], P[150:])[:, 2].max())
    permuted = _cgmvae_fit.with_permuted_codes(clf, X, np.random.RandomState(0))
    order = np.random.RandomState(0).permutation(len(X))
    np.testing.assert_allclose(permuted, P[order], atol=1e-5)  # z is all that is decoded


# ---------------------------------------------------------------------- performance


def test_every_bar_of_a_gpu_runs_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    table = tmp_path / "bars.json"
    monkeypatch.setattr(
        gpu, "find_spec", lambda name: None if name == "pytest" else find_spec(name)
    )
    assert gpu.main(["--dry-run", "--json", str(table)]) == 0
    printed = capfd.readouterr().out
    assert "pytest is not installed" in printed and "not measured" not in printed
    bars = json.loads(table.read_text())["bars"]
    assert len(bars) == 8 and all(0 <= bar["measured"] < np.inf for bar in bars)
    assert {bar["config"]["device"] for bar in bars} == {"CPU, dry run"}
    monkeypatch.setattr(bench_gpu, "TINY", None)
    assert list(bench_gpu.bars(dry_run=True, seconds=-1)) == []
    assert "label_bars is not measured" in capfd.readouterr().out


def test_a_machine_that_cannot_run_the_bars_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 1
    assert "sees no GPU on this machine" in capfd.readouterr().out
    assert list(bench_gpu.bars()) == []
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu124")
    assert "torch >= 2.6 is needed" in str(gpu.what_is_missing(dry_run=True))
    monkeypatch.setattr(
        gpu, "find_spec", lambda name: None if name == "skorch" else find_spec(name)
    )
    assert "has no skorch" in str(gpu.what_is_missing(dry_run=True))


def test_the_bars_of_a_gpu_need_few_packages() -> None:
    needed = {"numpy", "pytest", "scipy", "sklearn", "skorch", "threadpoolctl", "torch"}
    paths = [Path(module.__file__ or "") for module in (gpu, bench_gpu, _report, _data, test_gpu)]
    trees = [ast.parse(path.read_text()) for path in paths]
    names = {
        alias.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {
        node.module or ""
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    tops = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert tops <= needed | {"benchmarks", "sklearn_mlcl"}


def test_a_run_becomes_a_page(tmp_path: Path) -> None:
    (tmp_path / "_data").mkdir()
    (tmp_path / "_static").mkdir()
    bars = [
        Bar("ours / torch", 1.1, 1.2, config={"n": 5}),
        *(Bar(f"n = {n}", None, n, "s", config={"curve": "n", "value": n}) for n in (10, 100)),
        Bar("exponent", 1.1, 1.0, "", config={"exponent": "n"}),
    ]
    machine = {"processor": "Cheetah", "cores": 2, "threads": 1, "python": "3.11"}
    tables = {"epoch": {"machine": machine, "bars": [vars(bar) for bar in bars]}}
    write_page(tables, tmp_path)
    assert "at most 1.1 x,1.2 x,**missed**" in (tmp_path / "_data/performance_bars.txt").read_text()
    assert (tmp_path / "_static/performance_cost.svg").exists()


@pytest.mark.filterwarnings("ignore:.*single value:UserWarning")
def test_model_of_the_cost_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study_scale, "GRID", ((300, 8, 4, 32, 1), (600, 8, 4, 32, 2)))
    monkeypatch.setattr(study_scale, "EPOCHS", 1)
    # Two epochs take longer than one by what is asked for: 1 and 4 seconds.
    clock = iter([0.0, 1.0, 1.0, 3.0, *(0.0, 1.0, 1.0, 3.0), *(0.0, 1.0, 1.0, 6.0)])
    monkeypatch.setattr(study_scale, "process_time", lambda: next(clock))
    table = study_scale.main(["--csv", str(tmp_path / "scale.csv")])
    assert table["seconds"].tolist() == [1.0, 4.0]
    assert len(study_scale.terms(300, 8, 4, 32, 1)) == len(study_scale.TERMS)
    assert "error: median" in capsys.readouterr().out
    assert (tmp_path / "scale.csv").read_text().startswith("n,d,L,B,K,seconds,estimate\n300,")
