"""Losses on logits against loops over cells, rows and labels."""

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
    TwoWayLoss,
    ZLPRLoss,
)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def bce_cell(x, y):
    return -log(sigmoid(x)) if y else -log(1 - sigmoid(x))


def focal_cell(x, y, gamma=2.0):
    p_t = sigmoid(x) if y else 1 - sigmoid(x)
    return -((1 - p_t) ** gamma) * log(p_t)


def asl_cell(x, y, gamma_neg=4.0, gamma_pos=1.0, clip=0.05):
    p = sigmoid(x)
    if y:
        return -((1 - p) ** gamma_pos) * log(p)
    p_m = max(p - clip, 0.0)
    return -(p_m**gamma_neg) * log(1 - p_m)


CELLS = {
    "bce": (BinaryCrossEntropyLoss(), bce_cell),
    "focal": (FocalLoss(), focal_cell),
    "focal-0": (FocalLoss(0.0), bce_cell),
    "asl": (AsymmetricLoss(), asl_cell),
    "asl-study": (AsymmetricLoss(1.0, 0.0, 0.0), lambda x, y: asl_cell(x, y, 1.0, 0.0, 0.0)),
    "asl-root": (AsymmetricLoss(0.5, 0.5, 0.1), lambda x, y: asl_cell(x, y, 0.5, 0.5, 0.1)),
}


def batch(seed, B, L, missing):
    rng = np.random.default_rng(seed)
    Y = (rng.random((B, L)) < 0.4).astype(float)
    Y[0], Y[-1] = 0.0, 1.0
    Y[rng.random((B, L)) < missing] = np.nan
    return rng.normal(size=(B, L)) * 3, Y, rng.uniform(0, 2, size=B)


shapes = {
    "seed": st.integers(0, 10**6),
    "B": st.integers(1, 6),
    "L": st.integers(1, 5),
    "missing": st.sampled_from([0.0, 0.3, 1.0]),
    "weighted": st.booleans(),
}


def check(loss, x, Y, w, weighted, expected):
    value = loss(torch.tensor(x), torch.tensor(Y), torch.tensor(w) if weighted else None)
    assert value.item() == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", CELLS)
@settings(deadline=None, max_examples=20)
@given(**shapes)
def test_cells(name, seed, B, L, missing, weighted):
    loss, cell = CELLS[name]
    x, Y, w = batch(seed, B, L, missing)
    total = mass = 0.0
    for i in range(B):
        for j in range(L):
            if not np.isnan(Y[i, j]):
                weight = w[i] if weighted else 1.0
                total, mass = total + weight * cell(x[i, j], Y[i, j]), mass + weight
    check(loss, x, Y, w, weighted, total / mass if mass else 0.0)


@settings(deadline=None, max_examples=20)
@given(**shapes)
def test_zlpr(seed, B, L, missing, weighted):
    x, Y, w = batch(seed, B, L, missing)
    total = mass = 0.0
    for i in range(B):
        negatives = sum(exp(x[i, j]) for j in range(L) if Y[i, j] == 0)
        positives = sum(exp(-x[i, j]) for j in range(L) if Y[i, j] == 1)
        weight = (w[i] if weighted else 1.0) * float(not np.isnan(Y[i]).all())
        total += weight * (log1p(negatives) + log1p(positives))
        mass += weight
    check(ZLPRLoss(), x, Y, w, weighted, total / mass if mass else 0.0)


def two_way_term(x, Y, w):
    """One direction, over rows; w are the copies of the columns, summed inside."""
    out = []
    for row, labels in zip(x, Y, strict=True):
        negatives = sum(c * exp(v) for v, y, c in zip(row, labels, w, strict=True) if y == 0)
        positives = sum(c * exp(-v / 4) for v, y, c in zip(row, labels, w, strict=True) if y == 1)
        if positives == 0:
            out.append(None)
        elif negatives == 0:
            out.append(0.0)
        else:
            out.append(log1p(exp(log(negatives) + 4 * log(positives))))
    return out


@settings(deadline=None, max_examples=20)
@given(**shapes)
def test_two_way(seed, B, L, missing, weighted):
    x, Y, w = batch(seed, B, L, missing)
    copies = w if weighted else np.ones(B)
    terms = zip(copies, two_way_term(x, Y, np.ones(L)), strict=True)
    rows = [(c, v) for c, v in terms if v is not None]
    columns = [v for v in two_way_term(x.T, Y.T, copies) if v is not None]
    expected = sum(c * v for c, v in rows) / sum(c for c, _ in rows) if rows else 0.0
    expected += np.mean(columns) if columns else 0.0
    check(TwoWayLoss(), x, Y, w, weighted, expected)


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
    x, Y, w = batch(1, 4, 3, 0.2)
    x = torch.tensor(x, requires_grad=True)
    loss = LOGIT_LOSSES[name]()
    assert torch.autograd.gradcheck(lambda v: loss(v, torch.tensor(Y), torch.tensor(w)), x)


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
    loss = LOGIT_LOSSES[name]() if name in LOGIT_LOSSES else CELLS[name][0]
    one_label = [] if name == "pal" else [torch.zeros(1, 1)]  # a softmax over one label is refused
    for logits in (EXTREME, torch.zeros(1, 2), torch.randn(4, 3), *one_label):
        x = logits.clone().to(dtype).requires_grad_()
        value = loss(x, torch.full(logits.shape, fill))
        assert value.isfinite()
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        value.backward()
        assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_boolean_labels(name):
    x, Y, _ = batch(5, 6, 4, 0.0)
    x, Y = torch.tensor(x), torch.tensor(Y)
    loss = LOGIT_LOSSES[name]()
    assert loss(x, Y.bool()) == loss(x, Y) == loss(x, Y.int())


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 3.0, 1.0])])
def test_bce_is_torch(weight):
    x, Y = torch.randn(5, 3), torch.rand(5, 3) < 0.5
    expected = binary_cross_entropy_with_logits(x, Y.float(), pos_weight=weight)
    torch.testing.assert_close(BinaryCrossEntropyLoss(pos_weight=weight)(x, Y), expected)


def test_errors():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="labels must have the shape of logits"):
        BinaryCrossEntropyLoss()(x, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="logits must be a floating tensor"):
        ZLPRLoss()(x.int(), x)
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(2,\)"):
        TwoWayLoss()(x, x, torch.ones(3))
    with pytest.raises(ValueError, match="clip must be below 1"):
        AsymmetricLoss(clip=1.0)
    with pytest.raises(ValueError, match="gamma must be finite and >= 0"):
        FocalLoss(-1.0)
