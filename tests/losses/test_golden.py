"""Golden example E1 of the specification: closed-form values, weights, gradients and PRR."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sklearn_mlcl.losses import RegularizedContrastiveLoss
from sklearn_mlcl.representation import positive_regularization_ratio
from tests.losses.cases import CASES, DENSE, evaluate, tile_budget

LABELS = np.array([[1.0, 1], [1, 0], [0, 1], [1, 1]])
EMBEDDINGS = np.array([(1.0, 0), (0.8, 0.6), (0, 1), (-0.6, 0.8)])
PROTOTYPES = np.array([(0.6, 0.8), (-1.0, 0)])
GOLDEN = {
    "any": 1.5635236105,
    "all": 3.0332574970,
    "jaccard": 1.7301902771,
    "multisupcon-.3": 1.0345332633,
    "multisupcon-.5": 1.0345332633,
    "simdis": 1.0345332633,
    "mulsupcon-label": 1.8312126838,
    "mulsupcon-sample": 1.7301902771,
    "proto": 1.0491301032,
    "msc": 1.3369938108,
    "reg-0": 2.0161581719,
    "reg-1": 1.9672692830,
    "reg-hard": 1.8206026164,
}


@pytest.mark.parametrize("budget", [DENSE, tile_budget(3)], ids=["dense", "tiled"])
@pytest.mark.parametrize("name", GOLDEN)
def test_value(name, budget):
    loss = CASES[name].loss(temperature=0.5, memory_budget=budget)
    arguments = {"embeddings": EMBEDDINGS, "labels": LABELS}
    if loss.uses_prototypes:
        arguments["prototypes"] = PROTOTYPES
    assert evaluate(loss, arguments)["value"] == pytest.approx(GOLDEN[name], abs=1e-9)


def test_regularized_weights():
    W = RegularizedContrastiveLoss().pair_weights(torch.tensor(LABELS)).numpy()
    np.testing.assert_allclose(W[0], [0, 1 / 6, 1 / 6, 1 / 3, 1 / 6, 1 / 6], atol=1e-15)
    np.testing.assert_allclose(W[1], [1 / 3, 0, 0, 1 / 3, 1 / 3, 0], atol=1e-15)
    np.testing.assert_allclose(W[4], [1 / 3, 1 / 3, 0, 1 / 3, 0, 0], atol=1e-15)


# Gradient in the logits of anchor 0: clamped, and without the clamp.
GRADIENT_ROW = {
    1.0: [0, 0, -0.01061277, -0.05038556, 0, -0.02545475],
    0.0: [0, 0.05724104, -0.01061277, -0.05038556, 0.02921204, -0.02545475],
}


@pytest.mark.parametrize("lambda_reg", GRADIENT_ROW)
def test_gradient_of_one_anchor(lambda_reg):
    """With its weight set to 2, what changes in d sum / d points is the row of anchor 0."""
    loss = RegularizedContrastiveLoss(temperature=0.5, lambda_reg=lambda_reg, reduction="none")
    z = torch.tensor(EMBEDDINGS, requires_grad=True)
    p = torch.tensor(PROTOTYPES, requires_grad=True)
    rows = loss(z, torch.tensor(LABELS), p)
    assert rows.shape == (6,)
    got = torch.cat(torch.autograd.grad(rows[0], (z, p))).numpy() / 6
    points = np.vstack([EMBEDDINGS, PROTOTYPES])
    G = np.array(GRADIENT_ROW[lambda_reg])
    expected = G[:, None] * points[0] / 0.5
    expected[0] += G @ points / 0.5
    expected -= points * (expected * points).sum(1, keepdims=True)
    np.testing.assert_allclose(got, expected, atol=2e-8)


def test_positive_regularization_ratio():
    W = RegularizedContrastiveLoss().pair_weights(torch.tensor(LABELS))
    points = np.vstack([EMBEDDINGS, PROTOTYPES])
    assert positive_regularization_ratio(points, W, temperature=0.5) == pytest.approx(7 / 22)
