"""The tag fit and the fitted decoder of label sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import comb
from sklearn.metrics import f1_score

from sklearn_mlcl.collapse import VARIANTS, fit_onn_decoder, fit_tag_prototypes
from sklearn_mlcl.heads.held_out import tune_onn_prior

from .oracles import all_sets, collapsed


@pytest.mark.parametrize("sizes", [[1, 2, 3], [2], [2, 3], [1]])
def test_tags_recover_an_exact_collapse(sizes):
    H, Y, T = collapsed(5, 7, all_sets(5, sizes), 2, offset=11.0)
    fitted = fit_tag_prototypes(H, Y)
    first = sizes[0] ** -0.3
    np.testing.assert_allclose(fitted.tags, first * T, atol=1e-8)
    np.testing.assert_allclose(fitted.intercept, 11.0, atol=1e-8)
    np.testing.assert_allclose(fitted.scales, np.array(sizes) ** -0.3 / first, atol=1e-8)
    sums = fitted.scales[Y.sum(axis=1).astype(int) - sizes[0], None] * (Y @ fitted.tags)
    np.testing.assert_allclose(fitted.intercept + sums, H, atol=1e-7)
    assert fitted.r2 == pytest.approx(1, abs=1e-12)


def test_tag_fit_is_the_least_squares_solution():
    """With one multiplicity the model is linear: compare with a dense solve, weights included."""
    rng = np.random.default_rng(0)
    Y = all_sets(6, [2])[rng.integers(0, 15, 80)]
    H = rng.standard_normal((80, 4))
    fitted = fit_tag_prototypes(H, Y)
    sets, index, counts = np.unique(Y, axis=0, return_inverse=True, return_counts=True)
    root = counts[:, None] ** 0.25
    design = np.column_stack([np.ones(len(sets)), sets - 2 / 6])
    means = np.array([H[index == u].mean(axis=0) for u in range(len(sets))])
    solution = np.linalg.lstsq(root * design, root * means, rcond=1e-10)[0]
    np.testing.assert_allclose(fitted.tags, solution[1:] - solution[1:].mean(axis=0), atol=1e-8)
    np.testing.assert_allclose(fitted.intercept, solution[0], atol=1e-8)


def test_tags_of_labels_without_positives_and_duplicates():
    H, Y, _ = collapsed(4, 5, all_sets(4, [1, 2]), 3)
    wide = np.column_stack([Y, np.zeros(len(Y)), Y[:, 0]])
    fitted = fit_tag_prototypes(H, wide)
    assert np.isnan(fitted.tags[4]).all() and fitted.labels.tolist() == [0, 1, 2, 3, 5]
    np.testing.assert_allclose(fitted.tags[0], fitted.tags[5], atol=1e-6)


def test_a_label_of_the_full_set_alone():
    """Without the full set four labels are left, and the set of these four is full in its turn."""
    sets = np.vstack([all_sets(4, [1, 2, 4]) @ np.eye(4, 5), np.ones((1, 5))])
    H, Y, _ = collapsed(5, 6, sets, 3, noise=0.2)
    fitted = fit_tag_prototypes(H, Y)
    assert fitted.labels.tolist() == [0, 1, 2, 3] and fitted.multiplicities.tolist() == [1, 2]
    decoder = fit_onn_decoder(H, Y)
    assert decoder.own_sets.toarray().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    np.testing.assert_allclose(decoder.own_prototypes[0], H[Y.sum(axis=1) == 4].mean(axis=0))


def test_labels_that_cannot_be_fitted():
    H, Y, _ = collapsed(4, 5, all_sets(4, [1, 2]), 3)
    with pytest.raises(ValueError, match="neither empty nor full"):
        fit_tag_prototypes(H, np.ones_like(Y))
    with pytest.raises(ValueError, match="must hold 0, 1 and NaN"):
        fit_tag_prototypes(H, 2 * Y.astype(int))
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
