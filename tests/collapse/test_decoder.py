"""The tag fit, the fitted decoder, the decision rules and the ONN classifier."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import comb
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_mlcl.collapse import ONNDecoder, fit_onn_decoder, fit_tag_prototypes
from sklearn_mlcl.estimators.nearest_label_set import ONNClassifier
from sklearn_mlcl.heads.decision import tune_onn_prior
from sklearn_mlcl.thresholds import choose_decision, threshold_decision, topk_decision, tune_topk

from .oracles import all_sets, collapsed

VARIANTS = ("tags", "etf", "cosine", "observed")


@pytest.mark.parametrize("sizes", [[1, 2, 3], [2], [2, 3], [1]])
def test_tags_recover_an_exact_collapse(sizes):
    H, Y, T = collapsed(5, 7, all_sets(5, sizes), 2, offset=11.0)
    fitted = fit_tag_prototypes(H, Y)
    first = sizes[0] ** -0.3
    np.testing.assert_allclose(fitted.tags, first * T, atol=1e-8)
    np.testing.assert_allclose(fitted.intercept, 11.0, atol=1e-8)
    np.testing.assert_allclose(fitted.scales, np.array(sizes) ** -0.3 / first, atol=1e-8)
    np.testing.assert_allclose(fitted.prototypes(Y), H, atol=1e-7)
    assert fitted.r2 == pytest.approx(1, abs=1e-12)


def test_tag_fit_is_the_least_squares_solution():
    """With one multiplicity the model is linear: compare with a dense solve, weights included."""
    rng = np.random.default_rng(0)
    Y = all_sets(6, [2])[rng.integers(0, 15, 80)]
    H = rng.standard_normal((80, 4))
    fitted = fit_tag_prototypes(H, Y, weights="rows")
    design = np.column_stack([np.ones(80), Y - 2 / 6])
    sets, index = np.unique(Y, axis=0, return_inverse=True)
    means = np.array([H[index == u].mean(axis=0) for u in range(len(sets))])[index]
    solution = np.linalg.lstsq(design, means, rcond=1e-10)[0]
    np.testing.assert_allclose(fitted.tags, solution[1:] - solution[1:].mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(fitted.intercept, solution[0], atol=1e-8)


def test_tags_of_labels_without_positives_and_duplicates():
    H, Y, _ = collapsed(4, 5, all_sets(4, [1, 2]), 3)
    wide = np.column_stack([Y, np.zeros(len(Y)), Y[:, 0]])
    fitted = fit_tag_prototypes(H, wide)
    assert np.isnan(fitted.tags[4]).all() and fitted.labels.tolist() == [0, 1, 2, 3, 5]
    np.testing.assert_allclose(fitted.tags[0], fitted.tags[5], atol=1e-6)
    assert fitted.rank == 3
    with pytest.raises(ValueError, match="without a tag"):
        fitted.prototypes(np.eye(6)[4:5])


def test_singles_method_and_its_error():
    H, Y, T = collapsed(4, 5, all_sets(4, [1, 2]), 3, offset=2.0)
    np.testing.assert_allclose(fit_tag_prototypes(H, Y, method="singles").tags, T, atol=1e-12)
    with pytest.raises(ValueError, match=r"labels \[0, 1, 2, 3\]"):
        fit_tag_prototypes(H[Y.sum(1) == 2], Y[Y.sum(1) == 2], method="singles")
    with pytest.raises(ValueError, match="neither empty nor full"):
        fit_tag_prototypes(H, np.ones_like(Y))
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        fit_tag_prototypes(H, 2 * Y)
    with pytest.raises(ValueError, match="rows where Y has"):
        fit_tag_prototypes(H[1:], Y)


@pytest.mark.parametrize("variant", VARIANTS)
def test_decoder_recovers_the_training_sets(variant):
    sets = all_sets(6, [0, 1, 2, 6] if variant != "cosine" else [1, 2])
    H, Y, _ = collapsed(6, 8, sets, 4, offset=1.0, noise=0.02, scale=lambda m: max(m, 1) ** -0.3)
    H[Y.sum(axis=1) == 0] += 0.5  # else the empty and the full set share one prototype
    decoder = fit_onn_decoder(H, Y, variant=variant)
    np.testing.assert_array_equal(decoder.decode(H).toarray(), Y)
    p = decoder.marginals(H)
    assert ((p > 0.5) == (Y == 1)).all()
    copy = ONNDecoder.from_arrays(decoder.to_arrays())
    np.testing.assert_array_equal(copy.decode(H).toarray(), Y)
    np.testing.assert_array_equal(copy.marginals(H), p)
    with pytest.raises(ValueError, match="columns"):
        decoder.decode(H[:, 1:])


@pytest.mark.parametrize("variant", ["etf", "tags", "observed"])
def test_marginals_are_those_of_the_listed_posterior(variant):
    rng = np.random.default_rng(0)
    sets = np.vstack([np.zeros(5), all_sets(5, [1, 2])])
    H, Y, _ = collapsed(5, 6, sets, 3, noise=0.3, scale=lambda m: max(m, 1) ** -0.3)
    decoder = fit_onn_decoder(H, Y, variant=variant, validation=(H, Y))
    queries, v = H[::3] + 0.3 * rng.standard_normal((len(H[::3]), 6)), decoder.variance
    g, T = decoder.intercept, decoder.tags
    expected = []
    for h in queries:
        logp = []
        for y in sets:
            m = int(y.sum())
            own = variant == "observed" or m == 0
            if own:
                P = H[(y == Y).all(axis=1)].mean(axis=0)
                D = ((h - P) ** 2).sum() - ((h - g) ** 2).sum()
            else:
                a = decoder.scales[m - 1]
                norm = ((y @ T) ** 2).sum()
                if variant == "etf":
                    norm = (T**2).sum() / 5 * m * (5 - m) / 4
                D = -2 * a * (y @ T) @ (h - g) + a * a * norm
            share = 3 / len(Y) if own or variant == "tags" else (m_share(Y, m) / comb(5, m))
            logp.append(-D / (2 * v) + np.log(share))
        p = np.exp(np.array(logp) - max(logp))
        expected.append(p @ sets / p.sum())
    np.testing.assert_allclose(decoder.marginals(queries), expected, atol=1e-10)


def m_share(Y, m):
    return (Y.sum(axis=1) == m).mean()


def test_prior_pulls_towards_frequent_sizes():
    sets = np.vstack([np.repeat(all_sets(5, [1]), 20, axis=0), all_sets(5, [2])])
    H, Y, _ = collapsed(5, 4, sets, 2, noise=0.6)
    decoder = fit_onn_decoder(H, Y)
    sizes = [replace(decoder, prior=t).decode(H).sum() for t in (0.0, 0.5, 1.0)]
    assert sizes[0] > sizes[1] > sizes[2]
    tuned = tune_onn_prior(decoder, H, Y)
    scores = {
        t: f1_score(Y, replace(decoder, prior=t).decode(H).toarray(), average="micro")
        for t in (0.0, 0.25, 0.5, 0.75, 1.0)
    }
    assert scores[tuned.prior] == max(scores.values())


def test_features_of_any_kind_and_any_block_decode_alike(tmp_path):
    H, Y, _ = collapsed(6, 8, all_sets(6, [1, 2, 3]), 6, noise=0.4)
    decoder = fit_onn_decoder(H, Y)
    expected = decoder.decode(H).toarray()
    np.save(tmp_path / "H.npy", H)
    same = [sp.csr_matrix(H), torch.tensor(H), np.load(tmp_path / "H.npy", mmap_mode="r")]
    for features in same:
        np.testing.assert_array_equal(fit_onn_decoder(features, Y).scales, decoder.scales)
        np.testing.assert_array_equal(decoder.decode(features).toarray(), expected)
    one_by_one = np.vstack([decoder.decode(h[None]).toarray() for h in H])
    np.testing.assert_array_equal(one_by_one, expected)
    assert decoder.decode(H[:0]).shape == (0, 6)
    with pytest.raises(ValueError, match="NaN"):
        decoder.decode(np.full((1, 8), np.nan))


def test_sample_weight_counts_as_repetition():
    H, Y, _ = collapsed(5, 6, all_sets(5, [1, 2]), 4, noise=0.5)
    weight = np.random.default_rng(0).integers(0, 3, len(Y))
    a = fit_onn_decoder(H, Y, sample_weight=weight)
    b = fit_onn_decoder(np.repeat(H, weight, axis=0), np.repeat(Y, weight, axis=0))
    np.testing.assert_allclose(a.tags, b.tags, atol=1e-10)
    np.testing.assert_allclose(a.marginals(H), b.marginals(H), atol=1e-8)


def test_decision_rules():
    P = np.array([[0.2, 0.9, 0.9], [0.5, 0.1, 0.4]])
    assert threshold_decision(P, 0.5).tolist() == [[False, True, True], [True, False, False]]
    assert topk_decision(P, 1).toarray().tolist() == [[0, 1, 0], [1, 0, 0]]
    assert topk_decision(P, [0, 2]).toarray().tolist() == [[0, 0, 0], [1, 0, 1]]
    assert tune_topk(P, np.array([[0, 1, 1], [1, 0, 1]])) == 2
    with pytest.raises(ValueError, match="k must be"):
        topk_decision(P, 4)
    with pytest.raises(ValueError, match="threshold"):
        threshold_decision(P, [0.1, 0.2])


@pytest.mark.parametrize("scoring", ["f1_micro", "f1_macro", "f1_samples"])
def test_choose_decision_scores_and_caution(scoring):
    rng = np.random.default_rng(0)
    Y = rng.integers(0, 2, (300, 4))
    flip = rng.random(Y.shape)
    rules = {"threshold": np.where(flip < 0.2, 1 - Y, Y), "onn": np.where(flip < 0.1, 1 - Y, Y)}
    name, scores = choose_decision(rules, Y, scoring=scoring)
    assert name == "onn"
    average = scoring.split("_")[1]
    for rule, P in rules.items():
        expected = f1_score(Y, P, average=average, zero_division=0)
        assert scores[rule] == pytest.approx(expected, abs=1e-12)
    nearly = Y.copy()
    nearly[0, 0] = 1 - nearly[0, 0]  # one entry better is no evidence
    base = nearly.copy()
    base[1, 0] = 1 - base[1, 0]
    assert choose_decision({"a": base, "b": nearly}, Y, scoring=scoring, n_se=2)[0] == "a"
    missing = np.where(rng.random(Y.shape) < 0.3, np.nan, Y)
    assert choose_decision(rules, missing, scoring=scoring)[0] == "onn"


@parametrize_with_checks([ONNClassifier(variant) for variant in VARIANTS])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def label_rows():
    return make_multilabel_classification(200, 10, n_classes=5, n_labels=2, random_state=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_classifier_forms_of_y(variant, label_rows):
    X, Y = label_rows
    onn = ONNClassifier(variant, max_labels=4).fit(X, Y)
    expected = onn.predict(X)
    assert expected.shape == Y.shape and expected.dtype == Y.dtype
    p = onn.predict_proba(X)
    assert p.shape == Y.shape and (p > 0).all() and (p < 1).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(onn)).predict(X), expected)
    sparse = clone(onn).fit(X, sp.csr_matrix(Y)).predict(X)
    assert sp.issparse(sparse) and type(sparse) is sp.csr_matrix
    np.testing.assert_array_equal(sparse.toarray(), expected)
    holes = np.vstack([Y.astype(float), np.full((3, 5), np.nan)])
    with_holes = clone(onn).fit(np.vstack([X, X[:3]]), holes).predict(X)
    assert with_holes.dtype == np.int64
    np.testing.assert_array_equal(with_holes, expected)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "columns", [[0], [0, 0], [0, 1]], ids=["one label", "duplicates", "two labels"]
)
def test_classifier_on_few_labels(variant, columns, label_rows):
    X, Y = label_rows
    Y = Y[:, columns]
    onn = ONNClassifier(variant).fit(X, Y)
    assert onn.predict(X).shape == Y.shape and np.isfinite(onn.predict_proba(X)).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_classifier_warns_of_absent_labels_and_keeps_constant_ones(variant, label_rows):
    X, Y = label_rows
    Y = np.column_stack([Y, np.zeros(len(Y), int), np.ones(len(Y), int)])
    with pytest.warns(UserWarning, match=r"Labels \[5\] have no positive"):
        onn = ONNClassifier(variant).fit(X, Y)
    assert not onn.predict(X)[:, 5].any()
    every = np.ones((len(Y), 3), int)
    assert ONNClassifier(variant).fit(X, every).predict(X).all()


def test_classifier_errors(label_rows):
    X, Y = label_rows
    with pytest.raises(ValueError, match="variant"):
        ONNClassifier("nearest").fit(X, Y)
    with pytest.raises(ValueError, match="prior"):
        ONNClassifier(prior=2.0).fit(X, Y)
    with pytest.raises(ValueError, match="all its labels observed"):
        ONNClassifier().fit(X, np.full(Y.shape, np.nan))
    with pytest.raises(ValueError, match="at most max_labels=1"):
        fit_onn_decoder(X, np.tile([1, 1, 0, 0], (len(X), 1)), max_labels=1)
