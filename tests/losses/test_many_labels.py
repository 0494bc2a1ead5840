"""Labels as index lists, active prototypes, sampled negatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from sklearn_mlcl.losses import LabelIndices, MSCLoss, PrototypeLoss, RegularizedContrastiveLoss
from tests.losses.cases import CASES, Batch, as_tensors, of_member

SAMPLED = (PrototypeLoss, MSCLoss, RegularizedContrastiveLoss)


def lists_of(labels):
    return LabelIndices.from_csr(sparse.csr_array(labels))


def test_lists_csr_and_indicator_are_the_same_labels():
    Y = (np.random.default_rng(0).random((6, 5)) < 0.4).astype(float)
    assert lists_of(Y).shape == (6, 5)
    for labels in (lists_of(Y), lists_of(Y).to("cpu")):
        assert len(labels) == 6
        np.testing.assert_array_equal(labels.dense().numpy(), Y)


def test_stored_zeros_and_repeated_indices_count_once():
    stored = sparse.csr_array((np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 2])))
    assert lists_of(stored).dense().tolist() == [[True, False]]
    repeated = LabelIndices(torch.tensor([2, 2]), torch.tensor([0, 2, 2]), 3)
    assert repeated.dense().int().tolist() == [[0, 0, 1], [0] * 3]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("queue", "weights"), [(False, None), (True, None), (True, "entry")])
def test_index_lists_are_the_indicator_matrix(name, queue, weights):
    loss = CASES[name].loss()
    dense = as_tensors(Batch.random(6, 8, 12).arguments(loss, queue=queue, weights=weights))
    lists = as_tensors(Batch.random(6, 8, 12).arguments(loss, queue=queue, weights=weights))
    for key in ("labels", "queue_labels"):
        if key in lists:
            lists[key] = lists_of(dense[key].numpy())
    for tensors in (dense, lists):
        tensors["value"] = loss(**tensors)
        tensors["value"].backward()
    torch.testing.assert_close(lists["value"], dense["value"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        lists["embeddings"].grad, dense["embeddings"].grad, rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(
        loss.pair_weights(lists["labels"]), loss.pair_weights(dense["labels"].float())
    )


@pytest.mark.parametrize("build", SAMPLED)
@pytest.mark.parametrize(("listed", "weights"), [(False, None), (True, None), (False, "entry")])
def test_drawing_all_negatives_is_the_full_loss(build, listed, weights):
    batch = Batch.random(7, 6, 12)
    batch.labels[:, 6:] = 0.0
    grads = []
    for n_negatives in (None, 12):
        loss = build(n_negatives=n_negatives)
        tensors = as_tensors(batch.arguments(loss, weights=weights))
        if listed:
            tensors["labels"] = lists_of(batch.labels)
        value = loss(**tensors)
        value.backward()
        grads.append((value, tensors["embeddings"].grad, tensors["prototypes"].grad))
    for full, drawn in zip(*grads, strict=True):
        torch.testing.assert_close(drawn, full, rtol=1e-10, atol=1e-12)


def test_only_active_and_drawn_prototypes_get_gradients():
    batch = Batch.random(7, 6, 40)
    batch.labels[:, 6:] = 0.0
    tensors = as_tensors(batch.arguments(PrototypeLoss()))
    PrototypeLoss(n_negatives=4)(**tensors).backward()
    touched = tensors["prototypes"].grad.any(1)
    assert touched[:6].all()
    assert touched[6:].sum() == 4


def test_drawn_denominator_is_unbiased():
    """For the prototype loss exp(loss of a row) is D times known factors."""
    torch.manual_seed(0)
    z, p = torch.randn(1, 4, dtype=torch.float64), torch.randn(50, 4, dtype=torch.float64)
    Y = torch.zeros(1, 50)
    Y[0, 3] = 1.0

    def denominator(n_negatives):
        loss = PrototypeLoss(n_negatives=n_negatives, temperature=1.0)
        return loss(z, Y, p).exp().item()

    exact = denominator(None)
    draws = np.array([denominator(8) for _ in range(2000)])
    error = draws.std() / np.sqrt(len(draws))
    assert abs(draws.mean() - exact) < 4 * error
    assert draws.std() > 10 * error


def test_no_negatives_leaves_the_active_prototypes():
    batch = Batch.random(7, 6, 12)
    batch.labels[:, 6:] = 0.0
    for build in SAMPLED:
        tensors = as_tensors(batch.arguments(build()))
        labels, prototypes = tensors["labels"][:, :6], tensors["prototypes"][:6]
        expected = build()(tensors["embeddings"], labels, prototypes)
        torch.testing.assert_close(build(n_negatives=0)(**tensors), expected)


@pytest.mark.parametrize("build", SAMPLED)
def test_members_share_one_draw(build):
    batch = Batch.random(4, 6, 12)
    batch.labels[:, 6:] = 0
    loss = build(n_negatives=3)
    tensors = as_tensors(batch.arguments(loss, n_members=3)) | {"labels": lists_of(batch.labels)}
    torch.manual_seed(0)
    found = loss(**tensors)
    for m in range(3):
        torch.manual_seed(0)
        torch.testing.assert_close(found[m], loss(**of_member(tensors, m)), rtol=1e-11, atol=0)
