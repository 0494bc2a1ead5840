"""What a call of a loss may hold in memory, and in which precision it computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from sklearn_mlcl.losses import JaccardSupConLoss, MSCLoss, PrototypeLoss, SupConLoss
from tests.losses.cases import CASES, DENSE, Batch, as_tensors, tile_budget

every_loss = pytest.mark.parametrize("name", CASES)
D, L = 2, 3


class PairShapes(TorchFunctionMode):
    """Records the shapes of all arrays of pairs: matrices as wide and as high as `least`."""

    def __init__(self, least):
        super().__init__()
        self.least, self.met = least, set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.ndim >= 2 and min(out.shape[-2:]) >= self.least:
            self.met.add(tuple(out.shape))
        return out


def pair_shapes(loss, n, n_labels=L, **extra):
    rng = np.random.default_rng(0)
    z = torch.tensor(rng.normal(size=(n, D)), requires_grad=True)
    labels = torch.tensor(rng.random((n, n_labels)) < 0.4)
    if loss.uses_prototypes:
        extra["prototypes"] = torch.tensor(rng.normal(size=(n_labels, D)))
    with PairShapes(max(D, L) + 1) as shapes:
        loss(z, labels, **extra).sum().backward()
    return shapes.met


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("build", [SupConLoss, JaccardSupConLoss])
def test_a_budget_of_four_arrays_of_pairs_is_one_tile(build, reduction):
    n = 12
    loss = build(reduction=reduction, memory_budget=tile_budget(n))
    assert (n, n) in pair_shapes(loss, n)
    loss = build(reduction=reduction, memory_budget=tile_budget(n) - 1)
    shapes = pair_shapes(loss, n)
    assert (n - 1, n - 1) in shapes
    assert (n, n) not in shapes


def test_the_budget_counts_rows_times_columns():
    n, n_labels = 6, 40
    of = {"n": n, "n_labels": n_labels}
    budget = 4 * 8 * n * n_labels
    # One byte less, and the edge is the root of the 239 entries that fit.
    assert (n, 15) not in pair_shapes(PrototypeLoss(memory_budget=budget), **of)
    assert (n, 15) in pair_shapes(PrototypeLoss(memory_budget=budget - 1), **of)


def test_tiles_are_not_larger_than_the_caches():
    shapes = pair_shapes(SupConLoss(memory_budget=tile_budget(1050)), 1060)
    assert max(shapes) == (1024, 1024)


def test_members_share_the_budget():
    z = torch.randn(2, 12, D, dtype=torch.float64, requires_grad=True)
    labels = torch.rand(12, L) < 0.4
    for budget, shape in ((2 * tile_budget(12), (2, 12, 12)), (tile_budget(12), (2, 8, 8))):
        with PairShapes(4) as shapes:
            SupConLoss(memory_budget=budget)(z, labels).sum().backward()
        assert max(shape for shape in shapes.met if len(shape) == 3) == shape


@pytest.mark.parametrize("budget", [DENSE, tile_budget(5)], ids=["dense", "tiled"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@every_loss
def test_autocast_changes_neither_value_nor_gradient(name, reduction, budget):
    batch = Batch.random(4, 9, 4)
    loss = CASES[name].loss(reduction=reduction, memory_budget=budget)
    results = []
    for enabled in (False, True):
        tensors = as_tensors(batch.arguments(loss), torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = loss(**tensors)
            value.sum().backward()
        results.append((value.detach(), tensors["embeddings"].grad))
    for plain, cast in zip(*results, strict=True):
        assert plain.dtype == cast.dtype == torch.float32
        assert torch.equal(plain, cast)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@every_loss
def test_a_second_derivative_is_refused(name, reduction):
    """The gradient is formed beside the value: it has no graph of its own to go through."""
    loss = CASES[name].loss(reduction=reduction)
    tensors = as_tensors(Batch.random(4, 8, 4).arguments(loss))
    value = (loss(**tensors) ** 2).sum()
    (first,) = torch.autograd.grad(value, tensors["embeddings"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@every_loss
def test_a_vector_below_a_millionth_of_a_millionth_has_no_direction(name):
    """Above that length only the direction counts, and the gradient grows as the length falls."""
    batch, loss = Batch.random(4, 8, 4), CASES[name].loss()

    def gradient(length):
        embeddings = batch.embeddings.copy()
        embeddings[5] *= length / np.linalg.norm(embeddings[5])
        tensors = as_tensors(batch.arguments(loss) | {"embeddings": embeddings})
        loss(**tensors).backward()
        return tensors["embeddings"].grad[5]

    assert gradient(1.0).any()
    torch.testing.assert_close(gradient(1.1e-12) * 1.1e-12, gradient(1.0), rtol=1e-9, atol=1e-12)
    assert not gradient(0.9e-12).any()


@pytest.mark.parametrize("build", [SupConLoss, MSCLoss])
def test_a_pair_of_equal_points_far_from_all_others_costs_nothing(build):
    """An anchor is no candidate of its own, at any temperature."""
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]])
    for temperature in (0.01, 0.1, 0.5):
        value = build(temperature=temperature)(z, labels).item()
        others = {SupConLoss: 2.0, MSCLoss: 0.2}[build] * np.exp(-2 / temperature)
        repulsion = {SupConLoss: 1.0, MSCLoss: 0.1}[build]
        assert value == pytest.approx(np.log(repulsion + others), rel=1e-9, abs=1e-12)
