"""Losses on logits against loops over entries, samples and labels."""

from __future__ import annotations

from math import exp, log, log1p

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from sklearn_mlcl.losses import (
    LOGIT_LOSSES,
    AsymmetricLoss,
    BinaryCrossEntropyLoss,
    FocalLoss,
    PickAllLabelLoss,
    TwoWayLoss,
    ZLPRLoss,
)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def bce_entry(x, y):
    return -log(sigmoid(x)) if y else -log(1 - sigmoid(x))


def focal_entry(x, y, gamma=2.0):
    p_t = sigmoid(x) if y else 1 - sigmoid(x)
    return -((1 - p_t) ** gamma) * log(p_t)


def asl_entry(x, y, gamma_neg=4.0, gamma_pos=1.0, clip=0.05):
    p = sigmoid(x)
    if y:
        return -((1 - p) ** gamma_pos) * log(p)
    p_m = max(p - clip, 0.0)
    return -(p_m**gamma_neg) * log(1 - p_m)


def mean(values, weights):
    mass = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / mass if mass else 0.0


def over_entries(entry):
    """The loop of a weighted mean over the entries that are not missing."""

    def expected(x, Y, w):
        there = [tuple(index) for index in np.argwhere(~np.isnan(Y))]
        return mean([entry(x[ij], Y[ij]) for ij in there], [w[ij] for ij in there])

    return expected


def sample_weights(Y, w):
    """Mean weight of the entries of each sample that are not missing."""
    there = ~np.isnan(Y)
    return [v[t].mean() if t.any() else 0.0 for v, t in zip(w, there, strict=True)]


def zlpr(x, Y, w):
    values = []
    for z, y in zip(x, Y, strict=True):
        negatives, positives = sum(map(exp, z[y == 0])), sum(map(exp, -z[y == 1]))
        values.append(log1p(negatives) + log1p(positives))
    return mean(values, sample_weights(Y, w))


def two_way_terms(x, Y, copies):
    """Value of each row, and whether it has a positive."""
    values = []
    for z, y, c in zip(x, Y, copies, strict=True):
        negatives = sum(n * exp(v) for n, v in zip(c[y == 0], z[y == 0], strict=True))
        positives = sum(n * exp(-v / 4) for n, v in zip(c[y == 1], z[y == 1], strict=True))
        values.append(log1p(negatives * positives**4))
    return values, (Y == 1).any(1).astype(float)


def two_way(x, Y, w):
    rows, row_has_positive = two_way_terms(x, Y, np.ones_like(w))
    columns, column_has_positive = two_way_terms(x.T, Y.T, w.T)
    return mean(rows, row_has_positive * sample_weights(Y, w)) + mean(columns, column_has_positive)


def pick_all_label(gamma):
    def expected(x, Y, w):
        total = mass = 0.0
        for z, y, v in zip(x, Y, w, strict=True):
            S, log_sum = np.flatnonzero(y == 1), log(sum(map(exp, z[~np.isnan(y)])) or 1.0)
            if len(S):
                total += len(S) ** -gamma * sum(v[k] * (log_sum - z[k]) for k in S)
                mass += v[S].mean()
        return total / mass if mass else 0.0

    return expected


LOOPS = {
    "bce": (BinaryCrossEntropyLoss(), over_entries(bce_entry)),
    "focal": (FocalLoss(), over_entries(focal_entry)),
    "focal-0": (FocalLoss(0.0), over_entries(bce_entry)),
    "asl": (AsymmetricLoss(), over_entries(asl_entry)),
    "asl-study": (
        AsymmetricLoss(1.0, 0.0, 0.0),
        over_entries(lambda x, y: asl_entry(x, y, 1.0, 0.0, 0.0)),
    ),
    "asl-root": (
        AsymmetricLoss(0.5, 0.5, 0.1),
        over_entries(lambda x, y: asl_entry(x, y, 0.5, 0.5, 0.1)),
    ),
    "zlpr": (ZLPRLoss(), zlpr),
    "two_way": (TwoWayLoss(), two_way),
    "pal": (PickAllLabelLoss(), pick_all_label(1.0)),
    "pal-sum": (PickAllLabelLoss("sum"), pick_all_label(0.0)),
}


def batch(seed, B, L, missing):
    """Logits, labels, and weights of samples and of entries, of which a fifth is 0."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((B, L)) < 0.4).astype(float)
    Y[0], Y[-1] = 0.0, 1.0
    Y[rng.random((B, L)) < missing] = np.nan
    entries = rng.uniform(0.2, 3.0, (B, L)) * (rng.random((B, L)) < 0.8)
    weights = {None: np.ones(B), "sample": rng.uniform(0.1, 2.0, B), "entry": entries}
    return rng.normal(size=(B, L)) * 3, Y, weights


@pytest.mark.parametrize("name", LOOPS)
@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    B=st.integers(1, 6),
    L=st.integers(1, 5),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
    kind=st.sampled_from([None, "sample", "entry"]),
)
def test_against_loops(name, seed, B, L, missing, kind):
    loss, expected = LOOPS[name]
    # A softmax over one label is refused.
    x, Y, weights = batch(seed, B, max(L, 2) if name.startswith("pal") else L, missing)
    w = weights[kind]
    value = loss(torch.tensor(x), torch.tensor(Y), None if kind is None else torch.tensor(w))
    of_entries = w if w.ndim == 2 else np.repeat(w[:, None], Y.shape[1], axis=1)
    hidden = np.where(of_entries == 0, np.nan, Y)
    assert value.item() == pytest.approx(expected(x, hidden, of_entries), rel=1e-10, abs=1e-10)


def test_excess_of_pick_all_label_is_zero_at_the_weighted_optimum():
    """The softmax that fits a sample best is proportional to the weights of its labels."""
    labels = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    weight = torch.tensor([[3.0, 1.0, 5.0]], dtype=torch.float64)
    best = torch.tensor([[3.0, 1.0, 1e-300]], dtype=torch.float64).log()
    loss = PickAllLabelLoss()
    smallest = (4 * np.log(4) - 3 * np.log(3)) / 4
    assert loss(best, labels, weight).item() == pytest.approx(smallest, abs=1e-12)
    assert loss.excess(best, labels, weight).item() == pytest.approx(0.0, abs=1e-12)
    other = best.flip(1)
    gap = loss(other, labels, weight).item() - smallest
    assert loss.excess(other, labels, weight).item() == pytest.approx(gap)


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_a_weight_counts_copies(name):
    x, Y, _ = batch(3, 4, 5, 0.2)
    copies = np.array([1, 2, 0, 3])
    x, Y = torch.tensor(x), torch.tensor(Y)
    loss = LOGIT_LOSSES[name]()
    repeated = torch.tensor(np.repeat(np.arange(4), copies))
    torch.testing.assert_close(
        loss(x, Y, torch.tensor(copies)), loss(x[repeated], Y[repeated]), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_gradcheck(name):
    x, Y, weights = batch(1, 4, 3, 0.2)
    x, w = torch.tensor(x, requires_grad=True), torch.tensor(weights["entry"])
    loss = LOGIT_LOSSES[name]()
    assert torch.autograd.gradcheck(lambda v: loss(v, torch.tensor(Y), w), x)


def test_zlpr_gradient_formula():
    x = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    ZLPRLoss()(x, torch.tensor([[True, False, False]])).backward()
    e = x.detach().exp()[0]
    D = 1 + e[1] + e[2]
    expected = torch.stack([-1 / e[0] / (1 + 1 / e[0]), e[1] / D, e[2] / D])
    torch.testing.assert_close(x.grad[0], expected)


EXTREME = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 80.0]])


@pytest.mark.parametrize("name", [*LOGIT_LOSSES, "asl-root"])
@pytest.mark.parametrize("fill", [0.0, 1.0, np.nan])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_finite(name, fill, dtype):
    loss = LOGIT_LOSSES[name]() if name in LOGIT_LOSSES else LOOPS[name][0]
    one_label = [] if name == "pal" else [torch.zeros(1, 1)]  # a softmax over one label is refused
    for logits in (EXTREME, torch.zeros(1, 2), torch.randn(4, 3), *one_label):
        x = logits.clone().to(dtype).requires_grad_()
        value = loss(x, torch.full(logits.shape, fill))
        assert value.isfinite()
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        value.backward()
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", LOGIT_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_no_known_label_no_gradient(name, dtype):
    """Also where the loss is a term with a large weight: no division by a tiny number."""
    x = torch.randn(4, 3, dtype=dtype).requires_grad_()
    for labels, weight in ((torch.full((4, 3), np.nan), None), (torch.ones(4, 3), torch.zeros(4))):
        value = LOGIT_LOSSES[name]()(x, labels, weight)
        (1e3 * value).backward()
        assert value == 0
        assert not x.grad.any()


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_boolean_labels(name):
    x, Y, _ = batch(5, 6, 4, 0.0)
    x, Y = torch.tensor(x), torch.tensor(Y)
    loss = LOGIT_LOSSES[name]()
    assert loss(x, Y.bool()) == loss(x, Y) == loss(x, Y.int())


def test_bce_is_torch():
    x, Y = torch.randn(5, 3), torch.rand(5, 3) < 0.5
    expected = binary_cross_entropy_with_logits(x, Y.float())
    torch.testing.assert_close(BinaryCrossEntropyLoss()(x, Y), expected)


def test_errors():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"labels must have shape \(2, 3\), got \(2, 2\)"):
        BinaryCrossEntropyLoss()(x, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="logits must be a floating tensor"):
        ZLPRLoss()(x.int(), x)
    for loss in (TwoWayLoss(), PickAllLabelLoss()):
        with pytest.raises(ValueError, match=r"sample_weight must have shape \(2,\) or \(2, 3\)"):
            loss(x, x, torch.ones(3))
    with pytest.raises(
        ValueError, match=r"'clip' parameter of AsymmetricLoss must be .* \[0.0, 1.0\)"
    ):
        AsymmetricLoss(clip=1.0)
    with pytest.raises(ValueError, match="'gamma' parameter of FocalLoss"):
        FocalLoss(-1.0)
