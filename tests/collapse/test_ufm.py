"""The unconstrained-features optimum: closed form, golden values, and a trained model."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from sklearn_mlcl.collapse import fit_tag_prototypes, neural_collapse_metrics, ufm_scaling
from sklearn_mlcl.losses._pick_all_label import PickAllLabelLoss

GOLDEN = {
    "sum": (2.0278468, {1: 2.144002, 2: 1.916968, 3: 1.786542}),
    "mean": (1.7805537, {1: 2.391737, 2: 1.876362, 3: 1.588442}),
}
REPEATS = {1: 7, 2: 4, 3: 3}


def label_rows(L, repeats):
    rows = [
        np.isin(np.arange(L), S).astype(float)
        for m, n in repeats.items()
        for S in combinations(range(L), m)
        for _ in range(n)
    ]
    return np.array(rows)


def train_ufm(Y, d, lam_w, lam_h, norm, seed=0):
    """Features and classifier minimising the regularised loss, by L-BFGS in float64."""
    generator = torch.Generator().manual_seed(seed)
    n, L = Y.shape
    G = torch.randn(n, d, generator=generator, dtype=torch.float64).mul_(0.03).requires_grad_()
    W = torch.randn(L, d, generator=generator, dtype=torch.float64).mul_(0.3).requires_grad_()
    labels, loss = torch.tensor(Y), PickAllLabelLoss(norm)
    optimizer = torch.optim.LBFGS(
        [G, W],
        max_iter=1500,
        tolerance_grad=1e-11,
        tolerance_change=0,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        H = n**0.5 * G  # the loss averages over rows: this scale gives G and W like curvatures
        value = loss(H @ W.T, labels) + lam_w * W.square().sum() + lam_h * H.square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    return n**0.5 * G.detach().numpy(), W.detach().numpy()


@pytest.fixture(scope="module", params=["sum", "mean"])
def trained(request):
    Y = label_rows(5, REPEATS)
    return request.param, Y, *train_ufm(Y, 8, 5e-3, 5e-3 / len(Y), request.param)


@pytest.mark.parametrize("norm", ["sum", "mean"])
def test_closed_form_gives_the_golden_values(norm):
    optimum = ufm_scaling(5, {1: 35, 2: 40, 3: 30}, 5e-3, 5e-3 / 105, norm)
    omega2, c = GOLDEN[norm]
    assert optimum.omega2 == pytest.approx(omega2, abs=6e-8)
    assert optimum.c == pytest.approx(c, abs=6e-7)


def test_trained_model_reaches_the_closed_form(trained):
    norm, Y, H, W = trained
    optimum = ufm_scaling(5, {1: 35, 2: 40, 3: 30}, 5e-3, 5e-3 / 105, norm)
    np.testing.assert_allclose((W**2).sum(axis=1), optimum.omega2, rtol=1e-5)
    sums = Y @ W
    for m, c in optimum.c.items():
        rows = Y.sum(axis=1) == m
        fitted = (H[rows] * sums[rows]).sum() / (sums[rows] ** 2).sum()
        assert fitted == pytest.approx(c, rel=1e-5)
        np.testing.assert_allclose(H[rows], c * sums[rows], atol=1e-4)
        logits = H[rows] @ W.T
        gap = logits[Y[rows] == 1].mean() - logits[Y[rows] == 0].mean()
        assert gap == pytest.approx(optimum.gap[m], rel=1e-5)


def test_metrics_of_the_trained_model(trained):
    norm, Y, H, W = trained
    optimum = ufm_scaling(5, {1: 35, 2: 40, 3: 30}, 5e-3, 5e-3 / 105, norm)
    report = neural_collapse_metrics(H + 3.0, Y, W, -3.0 * W.sum(axis=1))
    for name in ("nc1_m1", "nc1_m2", "nc1_m3", "nc2_h", "nc2_w", "nc3", "phi_rmse"):
        assert report[name] < 1e-5, name
    assert report["tag_r2"] == pytest.approx(1, abs=1e-8)
    assert report["nc4"] == 1 and report["tag_w_cos"] == pytest.approx(1, abs=1e-8)
    for m in (1, 2, 3):
        assert report[f"alpha_m{m}"] == pytest.approx(optimum.relative[m], abs=1e-4)
    assert report["ncm_chance_deg_m2"] == pytest.approx(87.79, abs=0.005)
    assert report["ncm_chance_deg_m3"] == pytest.approx(87.79, abs=0.005)


def test_pairs_alone_give_the_directions_of_the_classifier():
    Y = label_rows(5, {2: 4})
    H, W = train_ufm(Y, 8, 5e-3, 5e-3 / len(Y), "sum")
    tags = fit_tag_prototypes(H, Y).tags
    cosine = (tags * W).sum(axis=1) / np.linalg.norm(tags, axis=1) / np.linalg.norm(W, axis=1)
    assert cosine.min() > 0.9999


def test_values_of_the_authors_settings():
    counts = {1: 31_000, 2: 9_000}
    lam = {"lam_w": 5e-4 / 2, "lam_h": 1e-3 * 128 / 40_000}
    optimum = ufm_scaling(10, counts, **lam)
    assert optimum.relative[2] == pytest.approx(0.898, abs=6e-4)
    assert [optimum.gap[1], optimum.gap[2]] == pytest.approx([5.65, 5.07], abs=6e-3)
    assert ufm_scaling(10, counts, **lam, norm="mean").relative[2] == pytest.approx(0.792, abs=6e-4)


def test_singles_only_and_trivial_solution():
    optimum = ufm_scaling(4, {1: 40}, 1e-3, 1e-4)
    assert optimum.c[1] == pytest.approx(np.sqrt(1e-3 * 4 / (1e-4 * 40)), rel=1e-10)
    assert ufm_scaling(4, {1: 40}, 10.0, 10.0).omega2 == 0.0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1, {1: 3}, 1e-3, 1e-3), "n_labels"),
        ((4, {5: 3}, 1e-3, 1e-3), "counts"),
        ((4, {4: 3}, 1e-3, 1e-3), "other than the full"),
        ((4, {1: 3}, 0.0, 1e-3), "lam_w"),
        ((4, {1: 3}, 1e-3, 1e-3, "median"), "norm"),
        ((4, {1: 3}, 1e-3, 1e-3, 2.0), "norm"),
    ],
)
def test_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        ufm_scaling(*arguments)
