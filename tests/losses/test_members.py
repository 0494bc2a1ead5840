"""Members of an ensemble in one call against the same loss called member by member."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_mlcl.losses import (
    LabelIndices,
    MemoryQueue,
    MSCLoss,
    PrototypeLoss,
    RegularizedContrastiveLoss,
    SupConLoss,
)
from tests.losses.cases import CASES, DENSE, Batch, as_tensors, expect, tile_budget

M = 3
EXACT = {"rtol": 1e-11, "atol": 1e-12}
BY_MEMBER = ("embeddings", "prototypes", "queue")
LEAVES = ("embeddings", "prototypes")

batches = st.builds(
    Batch.random,
    seed=st.integers(0, 10**6),
    B=st.integers(1, 9),
    L=st.integers(1, 6),
    Q=st.integers(1, 4),
    missing=st.sampled_from([0.0, 0.3]),
)


def stacked(arguments, seed=0):
    """The arguments with other vectors for each of the members; the first keeps what came."""
    rng = np.random.default_rng(seed)

    def of_members(name, array):
        if name not in BY_MEMBER:
            return array
        return np.stack([array, *rng.normal(size=(M - 1, *array.shape))])

    return {name: of_members(name, array) for name, array in arguments.items()}


def of_member(arguments, m):
    return {name: array[m] if name in BY_MEMBER else array for name, array in arguments.items()}


def answer(loss, arguments, outer):
    """Value and gradients of a call whose values go on with the slopes ``outer``."""
    tensors = as_tensors(arguments)
    value = loss(**tensors)
    (value * torch.as_tensor(outer)).sum().backward()
    gradients = {name: tensors[name].grad.numpy() for name in LEAVES if name in tensors}
    return {"value": value.detach().numpy(), **gradients}


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=15)
@given(
    batch=batches,
    lambda_reg=st.sampled_from([0.0, 0.5, 1.0]),
    queue=st.booleans(),
    weighted=st.booleans(),
    prototypes=st.booleans(),
    edge=st.sampled_from([None, 1, 2, 5]),
    reduction=st.sampled_from(["mean", "none"]),
)
def test_members_at_once_are_members_one_by_one(
    name, batch, lambda_reg, queue, weighted, prototypes, edge, reduction
):
    case = CASES[name]
    how = {"lambda_reg": lambda_reg, "reduction": reduction}
    budget = DENSE if edge is None else M * tile_budget(edge)
    together, alone = case.loss(**how, memory_budget=budget), case.loss(**how)
    prototypes = prototypes or together.requires_prototypes
    arguments = stacked(
        batch.arguments(together, prototypes=prototypes, queue=queue, weighted=weighted)
    )
    shape = together(**as_tensors(arguments)).shape
    assert shape[0] == M and len(shape) == (1 if reduction == "mean" else 2)
    outer = np.random.default_rng(1).normal(size=shape)
    found = answer(together, arguments, outer)
    for m in range(M):
        expected = answer(alone, of_member(arguments, m), outer[m])
        assert found.keys() == expected.keys()
        for part, array in expected.items():
            np.testing.assert_allclose(found[part][m], array, **EXACT, err_msg=part)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("edge", [None, 3])
def test_members_against_the_loops(name, edge):
    """Every member has the value and the gradients that the oracle gives its vectors alone."""
    case, batch = CASES[name], Batch.random(5, 7, 4, missing=0.1)
    loss = case.loss(lambda_reg=1.0, memory_budget=DENSE if edge is None else M * tile_budget(edge))
    arguments = stacked(batch.arguments(loss, queue=True, weighted=True))
    found = answer(loss, arguments, np.ones(M))
    for m in range(M):
        expected = expect(case, of_member(arguments, m), lambda_reg=1.0)
        for part in found:
            np.testing.assert_allclose(found[part][m], expected[part], rtol=1e-10, atol=1e-10)


def test_no_member_learns_from_another():
    """With a slope for one member alone the others get no gradient at all."""
    loss = RegularizedContrastiveLoss(lambda_reg=1.0)
    arguments = stacked(Batch.random(2, 8, 3).arguments(loss))
    found = answer(loss, arguments, np.array([0.0, 1.0, 0.0]))
    for name in LEAVES:
        assert np.abs(found[name][1]).max() > 0
        assert not found[name][[0, 2]].any()


@pytest.mark.parametrize("build", [RegularizedContrastiveLoss, MSCLoss, PrototypeLoss])
def test_label_lists_and_drawn_prototypes(build):
    """All members see the negatives of one draw."""
    batch = Batch.random(4, 6, 12)
    batch.labels[:, 6:] = 0
    loss = build(n_negatives=3)
    tensors = as_tensors(stacked(batch.arguments(loss)))
    tensors["labels"] = LabelIndices.from_csr(sp.csr_array(batch.labels))
    torch.manual_seed(0)
    found = loss(**tensors)
    for m in range(M):
        torch.manual_seed(0)
        torch.testing.assert_close(found[m], loss(**of_member(tensors, m)), rtol=1e-11, atol=0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prototypes": torch.zeros(4, 3)}, r"prototypes must have shape \(2, n, 3\)"),
        ({"prototypes": torch.zeros(3, 4, 3)}, r"prototypes must have shape \(2, n, 3\)"),
        ({"prototypes": torch.zeros(2, 5, 3)}, "prototypes has 5 labels but labels has 4"),
        ({"queue": torch.zeros(6, 3)}, r"queue must have shape \(2, n, 3\)"),
        ({"queue": torch.zeros(2, 6, 2)}, r"queue must have shape \(2, n, 3\)"),
        ({"embeddings": torch.zeros(1, 2, 5, 3)}, r"\(n, d\) or \(M, n, d\)"),
        ({"embeddings": torch.zeros(2, 6, 3)}, "embeddings has 6 rows but labels has 5"),
        ({"sample_weight": torch.ones(2)}, r"sample_weight must have shape \(5,\)"),
    ],
)
def test_shapes_that_do_not_fit_the_members(changed, message):
    arguments = {
        "embeddings": torch.zeros(2, 5, 3),
        "labels": torch.ones(5, 4).bool(),
        "prototypes": torch.zeros(2, 4, 3),
        "queue": torch.zeros(2, 6, 3),
        "queue_labels": torch.ones(6, 4).bool(),
    }
    with pytest.raises(ValueError, match=message):
        MSCLoss()(**{**arguments, **changed})


def test_a_queue_of_members_is_a_queue_for_each():
    """Through several rounds, one batch longer than the queue; and its state moves to another."""
    torch.manual_seed(0)
    together = MemoryQueue(7, 2, 3, n_members=M)
    alone = [MemoryQueue(7, 2, 3) for _ in range(M)]
    for n_rows in (3, 5, 9, 2):
        embeddings, labels = torch.randn(M, n_rows, 2), torch.rand(n_rows, 3) < 0.5
        together.push(embeddings, labels)
        for queue, rows in zip(alone, embeddings, strict=True):
            queue.push(rows, labels)
        assert len(together) == len(alone[0])
        assert torch.equal(together.embeddings, torch.stack([q.embeddings for q in alone]))
        assert torch.equal(together.labels, alone[0].labels)
    other = MemoryQueue(7, 2, 3, n_members=M)
    other.load_state_dict(together.state_dict())
    assert torch.equal(other.embeddings, together.embeddings)
    with pytest.raises(ValueError, match=r"embeddings must have shape \(3, 4, 2\)"):
        together.push(torch.zeros(4, 2), torch.ones(4, 3).bool())


@pytest.mark.parametrize("n_members", [0, -1])
def test_a_queue_needs_a_member(n_members):
    with pytest.raises(ValueError, match="n_members must be >= 1"):
        MemoryQueue(7, 2, 3, n_members=n_members)


def test_half_precision_members_are_computed_in_float32():
    torch.manual_seed(0)
    embeddings, labels = torch.randn(M, 6, 4).to(torch.bfloat16), torch.rand(6, 3) < 0.6
    embeddings.requires_grad_()
    value = SupConLoss()(embeddings, labels)
    value.sum().backward()
    assert value.dtype == torch.float32 and embeddings.grad.dtype == torch.bfloat16
    expected = torch.stack([SupConLoss()(rows.float(), labels) for rows in embeddings])
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
