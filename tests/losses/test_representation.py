"""Representation metrics against loops over pairs."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_mlcl import representation
from sklearn_mlcl.representation import alignment, positive_regularization_ratio, uniformity
from tests.losses.cases import CASES, Batch
from tests.losses.oracle import jaccard, points_of

batches = st.builds(
    Batch.random, st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 5),
    missing=st.sampled_from([0.0, 0.3]),
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(representation, "_BLOCK", 3)


def pairs_of(batch):
    points = points_of(batch.embeddings, batch.labels, "instance")
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            yield points[i], points[j], np.linalg.norm(points[i].vector - points[j].vector)


@pytest.mark.parametrize("exponent", [1.0, 2.0])
@settings(deadline=None, max_examples=15)
@given(batch=batches)
def test_alignment(batch, exponent):
    total = mass = 0.0
    for i, j, distance in pairs_of(batch):
        weight = float(jaccard(i, j) > 0)
        total, mass = total + weight * distance**exponent, mass + weight
    expected = total / mass if mass else float("nan")
    got = alignment(batch.embeddings, batch.labels, exponent=exponent)
    # A distance is the root of a difference: a duplicate is only 0 up to the root of the precision.
    assert got == pytest.approx(expected, abs=1e-7, nan_ok=True)
    assert isinstance(got, float)


@settings(deadline=None, max_examples=15)
@given(batch=batches, t=st.sampled_from([0.5, 2.0, 200.0]))
def test_uniformity(batch, t):
    terms = [-t * distance**2 for _, _, distance in pairs_of(batch)]
    top = max(terms)
    expected = top + log(sum(exp(x - top) for x in terms) / len(terms))
    assert uniformity(torch.tensor(batch.embeddings), t=t) == pytest.approx(expected, abs=1e-9)


RATIO_CASES = ["any", "multisupcon-.3", "mulsupcon-label", "reg-0", "msc", "proto"]


@pytest.mark.parametrize("name", RATIO_CASES)
@settings(deadline=None, max_examples=10)
@given(batch=batches)
def test_positive_regularization_ratio(batch, name):
    loss = CASES[name].loss()
    W = loss.pair_weights(torch.tensor(batch.labels)).numpy()
    points = batch.embeddings
    if loss.uses_prototypes:
        points = np.vstack([batch.embeddings, batch.prototypes])
    beta = np.ones(len(points))
    beta[: len(batch.embeddings)] = 0.1 if name == "msc" else 1.0
    z = points / np.linalg.norm(points, axis=1, keepdims=True)
    first = len(batch.embeddings) if name == "proto" else 0
    hits = positives = 0
    for i in range(len(W)):
        others = [k for k in range(W.shape[1]) if k + first != i]
        D = sum(beta[first + k] * exp(z[i] @ z[first + k] / 0.1) for k in others)
        for j in others:
            sigma = beta[first + j] * exp(z[i] @ z[first + j] / 0.1) / D
            positives += W[i, j] > 0
            hits += W[i, j] > 0 and W[i].sum() * sigma - W[i, j] > 1e-12
    how = {"temperature": 0.1, "repulsion": beta[first:]}
    if name == "proto":
        got = positive_regularization_ratio(batch.embeddings, W, candidates=batch.prototypes, **how)
    else:
        got = positive_regularization_ratio(points, torch.tensor(W), **how)
    expected = hits / positives if positives else float("nan")
    assert got == pytest.approx(expected, nan_ok=True)


def test_errors():
    with pytest.raises(ValueError, match="at least 2 rows"):
        uniformity([[1.0, 0.0]])
    with pytest.raises(ValueError, match="embeddings has 2 rows but labels has 1"):
        alignment(np.ones((2, 2)), [[1]])
    with pytest.raises(ValueError, match=r"must have shape \(n, d\)"):
        uniformity([1.0, 2.0])
    with pytest.raises(ValueError, match="weights must have 2 columns"):
        positive_regularization_ratio(np.ones((2, 2)), np.ones((2, 3)), temperature=1.0)
