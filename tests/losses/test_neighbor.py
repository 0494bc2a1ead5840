"""The cross-entropy of head and vote against loops, and its limits."""

from __future__ import annotations

from math import exp, log, nan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_mlcl.losses import BinaryCrossEntropyLoss, NeighborCrossEntropyLoss


def oracle(logits, embeddings, labels, weights, w, tau, n_candidates=10**6):
    """The docstring's formulas, one cell after the other."""
    unit = [row / row.norm() for row in embeddings]
    total = mass = 0.0
    for i, row in enumerate(unit):
        others = [j for j in range(min(len(unit), n_candidates)) if j != i]
        kernel = {j: exp(float(row @ unit[j]) / tau) for j in others}
        for label in range(labels.shape[1]):
            y, s = float(labels[i, label]), float(weights[i, label])
            if y != y or s == 0:
                continue
            p = 1 / (1 + exp(-float(logits[i, label])))
            heard = [j for j in others if labels[j, label] == labels[j, label]]
            heard = [j for j in heard if weights[j, label] > 0]
            if heard:
                masses = {j: kernel[j] * float(weights[j, label]) for j in heard}
                share = sum(masses[j] * float(labels[j, label]) for j in heard)
                p = (1 - w) * p + w * share / sum(masses.values())
            total -= s * (y * log(p) + (1 - y) * log(1 - p))
            mass += s
    return total / mass


def batch(seed, n_rows=7, n_labels=4, width=5):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n_rows, n_labels, generator=generator, dtype=torch.float64)
    embeddings = torch.randn(n_rows, width, generator=generator, dtype=torch.float64)
    labels = (torch.rand(n_rows, n_labels, generator=generator) < 0.4).double()
    return logits, embeddings, labels


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), w=st.sampled_from([0.0, 0.3, 0.9]))
def test_value_is_that_of_the_loops(seed, w):
    logits, embeddings, labels = batch(seed)
    weights = torch.ones_like(labels)
    loss = NeighborCrossEntropyLoss(weight=w, temperature=0.3)
    expected = oracle(logits, embeddings, labels, weights, w, 0.3)
    assert loss(logits, embeddings, labels).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n_candidates", [3, 1024])
@pytest.mark.parametrize("kind", ["rows", "cells"])
def test_unknown_cells_and_weights_count_as_in_the_loops(kind, n_candidates):
    logits, embeddings, labels = batch(3)
    labels[0, 0] = labels[4, 2] = nan
    labels[:, 3] = nan
    labels[2, 3] = 1.0  # known to one row alone: its head decides
    labels[1, 1] = 0.3  # mixed
    weights = torch.rand(7, 4, generator=torch.Generator().manual_seed(1)).double()
    weights[5, 1] = 0.0
    if kind == "rows":
        weights = weights[:, :1].expand(7, 4)
    given = weights[:, 0] if kind == "rows" else weights
    loss = NeighborCrossEntropyLoss(weight=0.5, temperature=0.3, n_candidates=n_candidates)
    expected = oracle(logits, embeddings, labels, weights, 0.5, 0.3, n_candidates)
    value = loss(logits, embeddings, labels, given)
    assert value.item() == pytest.approx(expected, rel=1e-10)


def test_gradients_in_double_precision():
    logits, embeddings, labels = batch(5)
    labels[0, 0] = nan
    loss = NeighborCrossEntropyLoss(weight=0.5, temperature=0.3)
    inputs = (logits.requires_grad_(), embeddings.requires_grad_())
    assert torch.autograd.gradcheck(lambda z, h: loss(z, h, labels), inputs)


def test_without_a_share_it_is_the_cross_entropy_of_the_head():
    logits, embeddings, labels = batch(7)
    plain = BinaryCrossEntropyLoss()(logits, labels)
    loss = NeighborCrossEntropyLoss(weight=0.0)
    torch.testing.assert_close(loss(logits, embeddings, labels), plain)


def test_a_row_alone_asks_nobody():
    logits, embeddings, labels = batch(8, n_rows=1)
    plain = BinaryCrossEntropyLoss()(logits, labels)
    torch.testing.assert_close(NeighborCrossEntropyLoss()(logits, embeddings, labels), plain)


def test_members_are_averaged():
    parts = [batch(seed) for seed in (0, 1, 2)]
    labels = parts[0][2]
    loss = NeighborCrossEntropyLoss()
    stacked = loss(*(torch.stack([part[k] for part in parts]) for k in (0, 1)), labels)
    apart = [loss(logits, embeddings, labels) for logits, embeddings, _ in parts]
    torch.testing.assert_close(stacked, torch.stack(apart).mean())


def test_extreme_rows_stay_finite():
    """Certain and wrong, twins, zero embeddings, a label nobody knows."""
    logits = torch.tensor([[90.0, -90.0], [-90.0, 90.0], [0.0, 0.0]], requires_grad=True)
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[0.0, nan], [1.0, nan], [1.0, nan]])
    for weight in (0.0, 0.5, 1.0):
        value = NeighborCrossEntropyLoss(weight=weight)(logits, embeddings, labels)
        gradients = torch.autograd.grad(value, (logits, embeddings), allow_unused=True)
        assert torch.isfinite(value)
        assert all(g is None or torch.isfinite(g).all() for g in gradients)


def test_rows_of_one_label_attract_each_other():
    logits = torch.zeros(3, 1)
    embeddings = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], requires_grad=True)
    labels = torch.tensor([[True], [False], [True]])
    loss = NeighborCrossEntropyLoss(temperature=0.5)
    (gradient,) = torch.autograd.grad(loss(logits, embeddings, labels), embeddings)
    moved = embeddings - 0.01 * gradient
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(moved[0], moved[2], dim=0) > cosine(embeddings[0], embeddings[2], dim=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 1.5}, r"weight must be in \[0, 1\], got 1.5"),
        ({"temperature": 0.0}, "temperature must be finite and > 0"),
        ({"n_candidates": 1}, "n_candidates must be >= 2"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        NeighborCrossEntropyLoss(**options)


def test_rows_that_do_not_match_are_named():
    logits, embeddings, labels = batch(0)
    with pytest.raises(ValueError, match="embeddings must be floating, one a row"):
        NeighborCrossEntropyLoss()(logits, embeddings[:-1], labels)
