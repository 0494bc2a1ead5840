"""The machinery of the study of losses: what is fitted on what, the cache, the tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from sklearn.utils import Bunch

from benchmarks import study_losses as study
from benchmarks._scores import scores
from benchmarks._study_report import (
    clamp_table,
    final_table,
    fraction_table,
    frame_of,
    temperature_table,
    weighting_table,
)
from benchmarks.study_losses import Cache, Fit, final_fits, run, run_fit, split_rows, sweep_fits
from sklearn_mlcl.datasets import make_multilabel_digits
from sklearn_mlcl.metrics import f1_macro

QUICK = {"loss": "reg", "temperature": 0.1, "lambda_reg": 1.0, "max_epochs": 2}
SCORES = [
    "map", "f1_samples", "f1_micro", "f1_macro",
    "f1_samples_tuned", "f1_micro_tuned", "f1_macro_tuned",
]  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> Bunch:
    bunch = make_multilabel_digits(n_train_per_set=(20, 2), n_test_per_set=(5, 1))
    train, test = bunch.train_idx, bunch.test_idx
    return Bunch(
        X=bunch.data[train],
        Y=bunch.target[train],
        X_test=bunch.data[test],
        Y_test=bunch.target[test],
    )


def row_of(fit: Fit, **given: float) -> dict:
    """A row of the cache without a fit: every score that is not given is 0.5."""
    made = {"n_fitted": 10, "fit_seconds": 1.0, "thresholds": {}, "prr": [0.2, 0.3]}
    made.update({name: given.get(name, 0.5) for name in SCORES})
    return {**vars(fit), **made}


# ---------------------------------------------------------------------- fits and cache


def test_a_second_run_fits_nothing_again(digits, tmp_path, monkeypatch):
    path = tmp_path / "results" / "cache.jsonl"
    first = Fit("digits", "two-stage", QUICK)
    fits = [first, replace(first, rows="test"), first]
    assert run(fits[:1], Cache(path), "", lambda name: digits) == 1
    assert run(fits, Cache(path), "", lambda name: digits) == 1
    monkeypatch.setattr(study, "run_fit", lambda *args: pytest.fail("fitted again"))
    again = Cache(path)
    assert run(fits, again, "", lambda name: digits) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["rows"] for line in lines] == ["holdout", "test"]
    assert list(again.rows) == [first.key, fits[1].key]


def test_a_test_fit_needs_and_takes_the_thresholds_of_its_holdout(digits, tmp_path):
    fit = Fit("digits", "default", QUICK, seed=1, fraction=0.5, rows="test")
    cache = Cache(tmp_path / "cache.jsonl")
    with pytest.raises(KeyError):
        run([fit], cache, "", lambda name: digits)
    run([replace(fit, rows="holdout"), fit], cache, "", lambda name: digits)
    holdout, test = cache.rows.values()
    assert holdout["thresholds"] == test["thresholds"]
    assert holdout["f1_macro_tuned"] >= holdout["f1_macro"]


def test_a_fit_is_seeded_and_scored_on_the_right_rows(digits):
    fit = Fit("digits", "end-to-end", {"loss": "bce", "max_epochs": 2}, seed=3, rows="test")
    thresholds = {"f1_samples": 0.3, "f1_micro": 0.4, "f1_macro": 0.2}
    row, same = (run_fit(fit, digits, thresholds) for _ in range(2))
    assert {**row, "fit_seconds": 0} == {**same, "fit_seconds": 0}
    model = study.RECIPES["end-to-end"](loss="bce", max_epochs=2, random_state=3)
    probabilities = model.fit(digits.X, digits.Y).predict_proba(digits.X_test)
    expected = f1_macro(digits.Y_test, (probabilities >= 0.2).astype(int))
    assert row["f1_macro_tuned"] == pytest.approx(expected, abs=1e-6)
    assert row["n_fitted"] == len(digits.X)


def test_refitted_heads_stand_on_the_embedding_of_the_end_to_end_encoder(digits):
    refitted = study.RECIPES["end-to-end, heads refitted"](loss="bce", max_epochs=2)
    refitted.set_params(**{study._seed_parameter(refitted): 5}).fit(digits.X, digits.Y)
    plain = study.RECIPES["end-to-end"](loss="bce", max_epochs=2, random_state=5)
    embedding = plain.fit(digits.X, digits.Y).transform(digits.X_test)
    np.testing.assert_array_equal(refitted[0].transform(digits.X_test), embedding)
    heads = refitted[1:].predict_proba(embedding)
    np.testing.assert_array_equal(refitted.predict_proba(digits.X_test), heads)


def test_the_ratio_is_recorded_for_the_loss_alone(digits):
    holdout = run_fit(Fit("digits", "two-stage", QUICK), digits, None)
    assert len(holdout["prr"]) == 2
    assert all(0 <= value < 1 for value in holdout["prr"]) and holdout["prr"][0] > 0
    assert run_fit(Fit("digits", "default", QUICK), digits, None)["prr"] == []


@pytest.mark.parametrize("fraction", [0.25, 1.0])
def test_rows_are_a_stratified_share_and_a_quarter_of_it(digits, fraction):
    fit = Fit("digits", "default", QUICK, seed=2, fraction=fraction)
    all_rows, nothing = split_rows(replace(fit, rows="test"), digits.Y)
    fitted, held_out = split_rows(fit, digits.Y)
    assert len(nothing) == 0
    assert len(all_rows) == pytest.approx(fraction * len(digits.Y), abs=1)
    np.testing.assert_array_equal(np.sort(np.concatenate([fitted, held_out])), np.sort(all_rows))
    assert len(held_out) == pytest.approx(len(all_rows) / 4, abs=1)
    counts = digits.Y[held_out].sum(axis=0)
    np.testing.assert_allclose(counts, digits.Y[all_rows].sum(axis=0) / 4, atol=1.5)


def test_scores_at_half_and_at_the_thresholds_given():
    Y = np.array([[1, 0], [1, 1], [0, 0]])
    probabilities = np.array([[0.6, 0.1], [0.4, 0.3], [0.2, 0.2]])
    found = scores(Y, probabilities, {"f1_samples": 0.35, "f1_micro": 0.25, "f1_macro": 0.25})
    assert found["f1_macro"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["f1_macro_tuned"] == found["f1_micro_tuned"] == found["map"] == 1.0
    assert found["f1_samples_tuned"] == pytest.approx((1 + 2 / 3 + 1) / 3)


# ---------------------------------------------------------------------- the plan


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Cache:
    """All rows of the plan for two sets, scores drawn at random instead of fitted."""
    made = Cache(tmp_path / "cache.jsonl")
    rng = np.random.RandomState(0)
    monkeypatch.setattr(
        study, "run_fit", lambda fit, *_: row_of(fit, **dict(zip(SCORES, rng.rand(7), strict=True)))
    )
    study.run_all(["emotions", "bibtex"], made, lambda name: None)
    return made


def test_only_the_final_fits_see_test_rows_and_each_after_its_holdout(cache):
    assert all(fit.rows == "holdout" for fit in sweep_fits("emotions", 0))
    before = {fit.key for fit in sweep_fits("emotions", 0)}
    for fit in final_fits("emotions", 0, cache):
        assert fit.rows == "holdout" or replace(fit, rows="holdout").key in before
        before.add(fit.key)


def test_the_chosen_configuration_is_the_best_on_the_holdout_of_its_seed(cache):
    rows = [cache.rows[fit.key] for fit in sweep_fits("emotions", 0) if fit.recipe == "two-stage"]
    best = max(rows, key=lambda row: row["f1_macro_tuned"])
    assert study.chosen("emotions", 0, cache) == best["params"]


def test_a_chosen_configuration_that_is_in_the_table_anyway_keeps_both_names(cache):
    params = study.FINAL["reg, two stages"][1]
    best = Fit("emotions", "two-stage", params, seed=1)
    cache.rows[best.key] = row_of(best, f1_macro_tuned=1.0)
    models = study.final_models("emotions", 1, cache)
    assert models[study.BEST] == models["reg, two stages"] == replace(best, rows="test")
    names = [row["model"] for row in study.final_rows(["emotions"], cache)]
    assert names.count(study.BEST) == study.SEEDS["sweep"]["emotions"]


def test_the_report_is_written_from_the_cache(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "load", lambda name: Bunch(Y=np.zeros((1, len(name)))))
    with mpl.rc_context({"backend": "agg"}):
        study.report(["emotions", "bibtex"], cache, tmp_path)
    tables = {path.stem for path in (tmp_path / "_data").iterdir()}
    pictures = {path.stem for path in (tmp_path / "_static").iterdir()}
    names = {f"study_losses_{name}" for name in ("temperature", "clamp", "fractions")}
    assert tables == names | {f"study_losses_{name}" for name in ("default", "weighting", "final")}
    assert pictures == names | {"study_losses_prr", "study_losses_labels"}
    final = Path(tmp_path / "_data" / "study_losses_final.csv").read_text()
    assert all(name in final for name in [*study.FINAL, study.BEST])


def test_sets_without_a_file_are_skipped_with_a_message(tmp_path, monkeypatch, capsys):
    (tmp_path / "scene.npz").touch()
    monkeypatch.setenv("SKLEARN_MLCL_DATA", str(tmp_path))
    assert study.found(["emotions", "scene"]) == ["scene"]
    assert "skipping emotions" in capsys.readouterr().out


# ---------------------------------------------------------------------- tables


def two_stage(loss: str, clamp: float, score: float, seed: int = 0, **given) -> dict:
    dataset, temperature = given.pop("dataset", "a"), given.pop("temperature", 0.1)
    params = {"loss": loss, "temperature": temperature, "lambda_reg": clamp, **given}
    fit = Fit(dataset, "two-stage", params, seed)
    return row_of(fit, map=score, f1_macro_tuned=score / 2)


def test_clamp_table_averages_seeds_before_it_counts():
    rows = [two_stage("any", 0.0, 0.40), two_stage("any", 1.0, 0.42)]
    # The other set: gains +0.03 and -0.05 in the two seeds, -0.01 on average.
    for seed, (plain, clamped) in enumerate([(0.5, 0.53), (0.6, 0.55)]):
        rows += [two_stage("any", 0.0, plain, seed, dataset="b")]
        rows += [two_stage("any", 1.0, clamped, seed, dataset="b")]
    rows += [two_stage("any", 0.0, 0.9, temperature=0.5)]  # without its pair
    rows += [two_stage("reg", 1.0, 0.1, alpha=1.0), two_stage("reg", 0.0, 0.9, alpha=1.0)]
    table = clamp_table(frame_of(rows))
    assert list(table.index) == ["any"]
    assert table.loc["any", "mAP gain"] == pytest.approx((0.02 - 0.01) / 2)
    assert table.loc["any", "mAP better/tie/worse"] == "1/0/1"
    assert table.loc["any", "macro-F1 gain"] == pytest.approx(0.0025)
    assert table.loc["any", "pairs"] == 2


def test_temperature_table_means_over_sets_and_leaves_out_gaps():
    rows = [
        two_stage("any", 0.0, score, dataset=dataset, temperature=temperature)
        for dataset, temperature, score in [
            ("a", 0.1, 0.4), ("a", 0.2, 0.6), ("b", 0.1, 0.6), ("b", 0.2, 0.7), ("c", 0.1, 0.0)
        ]
    ]  # fmt: skip
    rows += [two_stage("reg", 1.0, 0.3, dataset="a", temperature=0.1)]
    table = temperature_table(frame_of(rows), ["a", "b"])
    assert list(table.index) == [("any", 0.0)]
    assert table.loc[("any", 0.0), "mAP, 0.1"] == pytest.approx(0.5)
    assert table.loc[("any", 0.0), "macro-F1, 0.2"] == pytest.approx(0.325)


def test_weighting_table_leaves_the_clamp_to_reg_and_names_the_variants():
    rows = [
        two_stage("any", 0.0, 0.4), two_stage("any", 1.0, 0.9), two_stage("reg", 1.0, 0.6),
        two_stage("reg", 0.0, 0.7), two_stage("reg", 1.0, 0.5, alpha=-1.0),
        two_stage("mulsupcon", 0.0, 0.3, anchor_weighting="sample"),
        two_stage("any", 0.0, 0.0, temperature=0.5),
        row_of(Fit("a", "end-to-end, heads refitted", {"loss": "bce"}), map=0.55),
    ]  # fmt: skip
    table = weighting_table(frame_of(rows), ["a"])
    assert table["mAP mean"].round(3).to_dict() == {
        "reg": 0.7, "reg, clamped": 0.6, "none: BCE encoder": 0.55, "reg, alpha -1, clamped": 0.5,
        "any": 0.4, "mulsupcon, by row": 0.3,
    }  # fmt: skip


def test_final_and_fraction_tables_average_the_seeds():
    test_rows = [
        {**row_of(replace(fit, fraction=fraction), f1_macro_tuned=score), "model": "BCE"}
        for seed, fraction, score in [(0, 1.0, 0.5), (1, 1.0, 0.7), (0, 0.1, 0.2), (1, 0.1, 0.4)]
        for fit in [Fit("a", "end-to-end", {"loss": "bce"}, seed, rows="test")]
    ]
    test = frame_of(test_rows)
    (final,) = final_table(test).to_dict("records")
    assert final["macro-F1"] == pytest.approx(0.6)
    assert final["macro-F1 sd"] == pytest.approx(np.sqrt(0.02))
    assert (final["model"], final["seeds"]) == ("BCE", 2)
    assert fraction_table(test).loc[("a", "BCE")].round(3).to_dict() == {0.1: 0.3, 1.0: 0.6}
