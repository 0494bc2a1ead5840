"""Against other people's formulas: pytorch-metric-learning, and the literal three-way tensor."""

from __future__ import annotations

import pytest
import torch

from benchmarks.literal_losses import literal_regularized_loss
from sklearn_mlcl.losses import RegularizedContrastiveLoss, SupConLoss
from tests.losses.cases import Batch


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_supcon_any_is_pytorch_metric_learning(seed, temperature):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    batch = Batch.random(seed, 12, 5, d=4)
    z, Y = torch.tensor(batch.embeddings), torch.tensor(batch.labels)
    same = (Y @ Y.T > 0) & ~torch.eye(12, dtype=torch.bool)
    other = (Y @ Y.T == 0) & ~torch.eye(12, dtype=torch.bool)
    indices = (*same.nonzero(as_tuple=True), *other.nonzero(as_tuple=True))
    theirs, ours = z.clone().requires_grad_(), z.clone().requires_grad_()
    expected = losses.SupConLoss(temperature=temperature)(theirs, indices_tuple=indices)
    value = SupConLoss(temperature=temperature)(ours, Y)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0])
def test_regularized_is_the_literal_formula(alpha):
    batch = Batch.random(1, 9, 6)
    batch.labels[0, 0] = 1.0  # the literal formula divides by the size of an empty row
    batch.labels[batch.labels.sum(1) == 0, 1] = 1.0
    z, p = torch.tensor(batch.embeddings), torch.tensor(batch.prototypes)
    u, q = z.clone().requires_grad_(), p.clone().requires_grad_()
    z.requires_grad_()
    p.requires_grad_()
    Y = torch.tensor(batch.labels)
    value = RegularizedContrastiveLoss(alpha, temperature=0.2)(z, Y, p)
    expected, surrogate = literal_regularized_loss(u, Y, q, alpha=alpha, temperature=0.2)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    value.backward()
    surrogate.backward()
    torch.testing.assert_close(z.grad, u.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(p.grad, q.grad, rtol=1e-10, atol=1e-12)
