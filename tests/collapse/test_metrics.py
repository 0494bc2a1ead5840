"""neural_collapse_metrics against loops, exact collapse, invariances and limits."""

from __future__ import annotations

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf

from .oracles import all_sets, collapsed, loop_nc1


def angle(u, v):
    return np.degrees(np.arccos(np.clip(u @ v / np.linalg.norm(u) / np.linalg.norm(v), -1, 1)))


@pytest.mark.parametrize(
    ("L", "d", "sizes"), [(5, 8, [1, 2, 3]), (6, 5, [2]), (5, 40, [2, 3])], ids=str
)
def test_exact_collapse_with_an_offset(L, d, sizes):
    H, Y, T = collapsed(L, d, all_sets(L, sizes), 4, offset=np.linspace(-50, 50, d))
    report = neural_collapse_metrics(H, Y, T, 0.3 - T @ np.linspace(-50, 50, d))
    zero = ["nc2_h", "nc2_w", "nc3", "nc2_w_excess", "phi_rmse", "tag_norm_cv", "tag_cos_std"]
    for m in sizes:
        zero += [f"nc1_m{m}", f"nc1_trace_m{m}"]
        assert report[f"ncm_deg_m{m}"] < 1e-4
        balanced = m * (L - m) / (L * (L - 1))
        assert report[f"kappa_m{m}"] == pytest.approx(balanced, abs=1e-12)
        assert report[f"imbalance_m{m}"] == 1
    for name in zero:
        assert abs(report[name]) < 1e-5, name
    assert report["tag_r2"] == pytest.approx(1, abs=1e-10)
    assert report["nc4"] == 1 and report["coverage"] == 1


@pytest.mark.parametrize(
    ("L", "m", "golden"),
    [(5, 2, 87.79), (5, 3, 87.79), (9, 2, 89.05), (10, 2, 89.18), (10, 3, 89.69), (20, 2, 89.66)],
)
def test_chance_angle_at_exact_collapse(L, m, golden):
    H, Y, _ = collapsed(L, L - 1, all_sets(L, [m]), 2)
    report = neural_collapse_metrics(H, Y, max_rows=None)
    assert report[f"ncm_chance_deg_m{m}"] == pytest.approx(golden, abs=0.006)


@pytest.fixture(scope="module")
def noisy():
    sets = np.vstack([all_sets(6, [1, 2, 3]), np.zeros((1, 6)), np.ones((1, 6))])
    H, Y, T = collapsed(6, 9, sets, 3, offset=4.0, noise=0.4, scale=lambda m: max(m, 1) ** -0.3)
    keep = np.random.default_rng(1).random(len(Y)) < 0.8
    return H[keep], Y[keep], T


def test_against_loops(noisy):
    H, Y, _ = noisy
    report = neural_collapse_metrics(H, Y)
    tags, g = report.arrays["tags"], report.arrays["intercept"]
    for m in (1, 2, 3):
        nc1, trace = loop_nc1(H, Y, m, r_max=5)
        assert report[f"nc1_m{m}"] == pytest.approx(nc1, rel=1e-9)
        assert report[f"nc1_trace_m{m}"] == pytest.approx(trace, rel=1e-9)
    groups: dict = {}
    for h, y in zip(H, Y, strict=True):
        groups.setdefault(tuple(int(v) for v in y), []).append(h)
    kept = {k: np.mean(v, axis=0) - g for k, v in groups.items() if len(v) > 1 and 0 < sum(k) < 6}
    pairs = [(kept[2] if k == 2 else kept[k], np.array(k), len(groups[k])) for k in kept]
    for m in (1, 2, 3):
        mine = [(u, y, n) for u, y, n in pairs if y.sum() == m]
        own = np.average(
            [angle(u, y @ tags) for u, y, _ in mine], weights=[n**0.5 for *_, n in mine]
        )
        chance = np.mean([angle(u, T) for u, *_ in mine for T in all_sets(6, [m]) @ tags])
        assert report[f"ncm_deg_m{m}"] == pytest.approx(own, rel=1e-9)
        assert report[f"ncm_m{m}"] == pytest.approx(own / chance, rel=1e-9)
    errors, cosines, phis = [], [], []
    for (u, y, _), (v, t, _) in combinations(pairs, 2):
        cosines.append(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
        phis.append(np.corrcoef(y, t)[0, 1])
        errors.append((cosines[-1] - phis[-1]) ** 2)
    assert report["phi_rmse"] == pytest.approx(np.sqrt(np.mean(errors)), rel=1e-9)
    assert report["phi_corr"] == pytest.approx(np.corrcoef(cosines, phis)[0, 1], rel=1e-9)


def test_published_nc1_uses_the_true_mean(noisy):
    H, Y, _ = noisy
    single = Y.sum(axis=1) == 1
    H1, k = H[single], Y[single].argmax(axis=1)
    mu = np.array([H1[k == j].mean(axis=0) for j in range(6)])
    within = (H1 - mu[k]).T @ (H1 - mu[k]) / len(H1)
    between = (mu - H1.mean(axis=0)).T @ (mu - H1.mean(axis=0)) / 6
    cutoff = 9 * np.finfo(np.float32).eps
    expected = np.trace(within @ np.linalg.pinv(between, rcond=cutoff, hermitian=True)) / 6
    assert neural_collapse_metrics(H, Y)["nc1_code"] == pytest.approx(expected, rel=1e-8)


def test_invariances(noisy):
    H, Y, W = noisy
    base = neural_collapse_metrics(H, Y, W)
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((9, 9)))[0]
    order = rng.permutation(len(Y))
    for other in (
        neural_collapse_metrics(7.0 * H @ Q - 3.0, Y, W @ Q),
        neural_collapse_metrics(H[order], Y[order], W),
        neural_collapse_metrics(torch.tensor(H), sp.csr_matrix(Y), torch.tensor(W)),
    ):
        for name, value in base.items():
            np.testing.assert_allclose(other[name], value, rtol=1e-7, atol=1e-9, err_msg=name)


def test_kappa_of_unequal_single_labels():
    for counts, golden in (((30, 12, 7, 4, 2), 0.051), ((60, 20, 10, 5, 1), 0.027)):
        Y = np.repeat(np.eye(5), counts, axis=0)
        H = Y @ simplex_etf(5) + 0.1 * np.random.default_rng(0).standard_normal((len(Y), 4))
        assert neural_collapse_metrics(H, Y)["kappa_m1"] == pytest.approx(golden, abs=6e-4)


def test_more_sets_than_dimensions_and_random_features():
    rng = np.random.default_rng(0)
    Y = np.repeat(all_sets(12, [1, 2]), 8, axis=0)
    report = neural_collapse_metrics(rng.standard_normal((len(Y), 5)), Y)
    assert np.isfinite([report["nc1_m1"], report["nc1_m2"], report["nc1_trace_m2"]]).all()
    assert abs(report["ncm_m2"] - 1) < 0.35 and abs(report["phi_corr"]) < 0.25


def test_missing_labels_rare_sets_and_trivial_data():
    H, Y, _ = collapsed(5, 6, all_sets(5, [1, 2]), 3)
    Y = Y.astype(float)
    Y[0, 0] = np.nan
    lone = np.array([[1.0, 1, 1, 0, 0]])
    report = neural_collapse_metrics(np.vstack([H, H[:1]]), np.vstack([Y, lone]))
    assert report["n_incomplete"] == 1 and report["n_rows"] == len(Y)
    assert np.isnan(report["nc1_m3"]) and np.isnan(report["ncm_m3"])
    assert report["coverage"] == pytest.approx(1 - 1 / len(Y))
    two = neural_collapse_metrics(H[:6], np.repeat(np.eye(2), 3, axis=0))
    assert np.isnan(two["ncm_m1"]) and np.isfinite(two["nc1_m1"])
    with pytest.raises(ValueError, match="neither empty nor full"):
        neural_collapse_metrics(H, np.zeros_like(Y))
    with pytest.raises(ValueError, match="W, b must be"):
        neural_collapse_metrics(H, Y, np.zeros((5, 7)))
    with pytest.raises(ValueError, match="min_count"):
        neural_collapse_metrics(H, Y, min_count=0)


def test_row_sample_is_stratified_and_seeded():
    rng = np.random.default_rng(0)
    Y = all_sets(6, [1, 2, 3])[rng.integers(0, 41, 3000)]
    H = Y @ simplex_etf(6) + 0.1 * rng.standard_normal((3000, 5))
    small = neural_collapse_metrics(H, Y, max_rows=600)
    assert small["n_rows"] == 600
    for m in (1, 2, 3):
        assert abs(small[f"rows_m{m}"] / 600 - (Y.sum(axis=1) == m).mean()) < 0.003
    assert small == neural_collapse_metrics(H, Y, max_rows=600)


def test_memory_does_not_grow_with_the_rows():
    def peak(n):
        Y = all_sets(8, [1, 2])[np.arange(n) % 36].astype(np.int8)
        H = np.zeros((n, 128), dtype=np.float32)
        H[:, :8] = Y
        H += np.float32(1e-3) * (np.arange(n) % 7)[:, None].astype(np.float32)
        tracemalloc.start()
        neural_collapse_metrics(H, Y, max_rows=None)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    # 40,000 float32 rows of 128 features would be 41 MB in float64.
    assert peak(80_000) - peak(40_000) < 15e6
