"""The study of C-GMVAE: its protocol, the best epoch, the figures of the mixture, its tables."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.metrics import f1_score

from benchmarks import _cgmvae_fit as fit
from benchmarks import _cgmvae_report as report
from benchmarks.study_cgmvae import ABLATIONS, KEY, PARTS, task
from sklearn_mlcl import CGMVAEClassifier, recipes


def test_the_split_is_that_of_the_issue() -> None:
    train, valid, test = fit.split(2417, seed=2)
    assert [len(part) for part in (train, valid, test)] == [1933, 242, 242]
    order = np.random.RandomState(2).permutation(2417)
    assert_array_equal(np.concatenate([train, valid, test]), order)
    half, *others = fit.split(2417, seed=2, fraction=0.5)
    assert_array_equal(half, train[:966])
    assert all(map(np.array_equal, others, (valid, test)))


def test_scores_at_the_nine_thresholds() -> None:
    rng = np.random.default_rng(0)
    Y, P = (rng.random((40, 5)) < 0.4).astype(float), rng.random((40, 5))
    Y[0], P[0], Y[:, 4], P[:, 4] = 0, 0, 0, 0
    table = fit.f1_by_threshold(Y, P)
    assert table.shape == (9, 3)
    for row, threshold in zip(table, np.arange(1, 10) / 10, strict=True):
        predicted = np.greater_equal(P, threshold).astype(int)
        kept = (Y + predicted).any(axis=1)  # a row without labels, true or predicted, is left out
        samples = f1_score(Y[kept], predicted[kept], average="samples", zero_division=0)
        micro = f1_score(Y, predicted, average="micro")
        macro = f1_score(Y, predicted, average="macro", zero_division=0)
        assert_allclose(row, [samples, micro, macro], atol=1e-6)


@pytest.fixture(scope="module")
def small(label_data: Any) -> tuple[np.ndarray, np.ndarray]:
    X, Y = label_data
    return X.astype(np.float32), Y.astype(float)


@pytest.mark.parametrize("best_epoch", [True, False])
def test_a_fit_gives_its_row(best_epoch: bool, small: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(fit, "load", lambda name: small)
    arguments = {"max_epochs": 6, "embedding_dim": 32, "learning_rate": 0.02}
    found = fit.run_fit("any", 1, arguments, best_epoch=best_epoch, fraction=1.0)
    assert 1 <= found["best_epoch"] <= 6 and found["kl"] > 0 and found["separation"] > 0
    for name in fit.SCORES:
        assert 0 < found[name] <= found[f"{name}_oracle"] <= 1
        assert found[f"{name}_permuted_cost"] <= found[name]
    assert -1 <= found["label_agreement"] <= 1


def test_the_best_epoch_is_put_back(small: Any) -> None:
    X, Y = small
    keeper = fit.BestEpoch(X[150:], Y[150:])
    clf = CGMVAEClassifier(
        max_epochs=8, embedding_dim=32, learning_rate=0.05, schedule="constant",
        neighbor_weight=0, callbacks=[keeper], random_state=0,
    ).fit(X[:150], Y[:150])  # fmt: skip
    scores = fit.f1_by_threshold(Y[150:], clf.predict_proba(X[150:]))
    assert keeper.best_ == pytest.approx(scores[:, 2].max(), abs=1e-9)
    plain = CGMVAEClassifier(**{**clf.get_params(), "callbacks": None, "max_epochs": keeper.epoch_})
    plain.fit(X[:150], Y[:150])
    assert_allclose(plain.predict_proba(X), clf.predict_proba(X), atol=1e-6)


def test_codes_of_other_rows_say_nothing(small: Any) -> None:
    X, Y = small
    clf = CGMVAEClassifier(max_epochs=20, embedding_dim=32, random_state=0).fit(X, Y)
    permuted = fit.with_permuted_codes(clf, X, np.random.RandomState(0))
    order = np.random.RandomState(0).permutation(len(X))
    assert_allclose(permuted, clf.predict_proba(X)[order], atol=1e-5)  # z is all that is decoded


def test_separation_is_in_standard_deviations() -> None:
    clf = SimpleNamespace(
        label_means_=np.array([[3.0, 0.0], [-3.0, 0.0]]), label_log_vars_=np.log([[4.0, 1], [4, 1]])
    )
    assert fit.separation(clf) == pytest.approx(np.sqrt((2.25 + 2.25) / 4))


def test_tasks_have_keys_of_their_own() -> None:
    for part in PARTS.values():
        keys = [tuple(t[name] for name in KEY) for t in part()]
        assert len(keys) == len(set(keys))
    digests = {name: task("yeast", name, 1, a)["digest"] for name, a in ABLATIONS.items()}
    assert len({*digests.values(), task("yeast", "d", 1, {})["digest"]}) == len(ABLATIONS) + 1
    same = task("yeast", "d", 1, {"lambda_kl": CGMVAEClassifier().lambda_kl})["digest"]
    assert same == task("yeast", "d", 1, {})["digest"]
    assert set(recipes.CGMVAE_PAPER) <= set(CGMVAEClassifier().get_params())


def rows_of_two_models(n_seeds: int = 4) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    models = {"recipe": 0.4, "defaults": 0.5, **dict.fromkeys(ABLATIONS, 0.45)}
    return [
        {
            "dataset": "yeast", "model": model, "seed": seed, "fraction": fraction, "kl": 1.0,
            "separation": 0.5, "label_agreement": 0.9, "f1_macro_permuted_cost": 0.1,
            **{score: value + 0.01 * rng.normal() for score in report.SCORES},
        }
        for model, value in models.items() for seed in range(n_seeds) for fraction in (0.5, 1.0)
    ]  # fmt: skip


def test_tables(tmp_path: Path) -> None:
    rows = rows_of_two_models()
    report.write_report(rows, list(ABLATIONS), tmp_path)
    tables = {
        path.stem.removeprefix("study_cgmvae_"): list(csv.reader(path.read_text().splitlines()))
        for path in tmp_path.iterdir()
    }
    n_models = 1 + len(ABLATIONS)
    lengths = {
        "paired": 4,
        "skip": 4,
        "mixture": 6,
        "ablations": 1 + n_models,
        "half": 1 + 3 * (1 + n_models),
    }
    assert {name: len(table) for name, table in tables.items()} == lengths
    assert all(len({len(line) for line in table}) == 1 for table in tables.values())
    gains = np.array([
        [r["f1_macro"] for r in report.chosen(rows, model=model, fraction=1.0)]
        for model in ("recipe", "defaults")
    ])  # fmt: skip
    difference = gains[1] - gains[0]
    interval = stats.ttest_1samp(difference, 0).confidence_interval()
    assert_allclose(report.paired_interval(difference), interval)
    assert tables["paired"][3][5] == f"{difference.mean():+.3f}"
