"""Finite everywhere, and clear errors (property 9 of the specification)."""

from __future__ import annotations

import copy
import inspect
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from scipy import sparse

from sklearn_mlcl.losses import (
    CONTRASTIVE_LOSSES,
    LOGIT_LOSSES,
    BinaryCrossEntropyLoss,
    JaccardSupConLoss,
    LabelIndices,
    MemoryQueue,
    MSCLoss,
    MulSupConLoss,
    MultiSupConLoss,
    PrototypeLoss,
    RegularizedContrastiveLoss,
    SupConLoss,
)
from sklearn_mlcl.losses._inputs import values_checked
from sklearn_mlcl.representation import alignment
from tests.losses.cases import CASES, DENSE, LEAVES, Batch, as_tensors, tile_budget

every_loss = pytest.mark.parametrize("name", CASES)


def _batch(B, L, fill=None, same=False, zero=False):
    batch = Batch.random(0, B, L, d=8)
    if fill is not None:
        batch.labels[:] = fill
    if same:
        batch.embeddings[:] = batch.embeddings[0]
    if zero:
        batch.embeddings[0] = 0.0
    return batch


HARD = {
    "empty rows": _batch(6, 4),
    "all rows empty": _batch(6, 4, fill=0.0),
    "all rows full": _batch(6, 4, fill=1.0),
    "all labels missing": _batch(6, 4, fill=np.nan),
    "one row": _batch(1, 4, fill=1.0),
    "one label": _batch(6, 1),
    "one row one label": _batch(1, 1, fill=1.0),
    "labels without a positive": _batch(3, 12),
    "exact duplicates": _batch(6, 4, same=True),
    "zero embedding": _batch(6, 4, fill=1.0, zero=True),
}


@every_loss
@pytest.mark.parametrize(
    ("dtype", "budget"),
    [
        (torch.float64, 2 * tile_budget(3)),
        (torch.float32, DENSE),
        (torch.float32, 2 * tile_budget(3, itemsize=4)),
        (torch.float16, DENSE),
        (torch.bfloat16, DENSE),
    ],
)
def test_9_finite(name, dtype, budget):
    settings = ((0.0, "mean"), (1.0, "mean"), (1.0, "none"))
    for hard, (lambda_reg, reduction) in product(HARD, settings):
        loss = CASES[name].loss(
            temperature=0.005, lambda_reg=lambda_reg, reduction=reduction, memory_budget=budget
        )
        tensors = as_tensors(HARD[hard].arguments(loss, queue=True, n_members=2), dtype)
        value = loss(**tensors)
        assert value.isfinite().all(), hard
        assert len(value) == 2
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        value.sum().backward()
        for key in set(LEAVES) & set(tensors):
            assert tensors[key].grad.isfinite().all(), hard
            assert tensors[key].grad.dtype == dtype


@every_loss
def test_no_anchor_no_loss(name):
    loss = CASES[name].loss()
    tensors = as_tensors(HARD["all rows empty"].arguments(loss))
    value = loss(**tensors)
    value.backward()
    assert value == 0
    assert not tensors["embeddings"].grad.any()


@every_loss
def test_zero_embedding_gets_no_gradient(name):
    tensors = as_tensors(HARD["zero embedding"].arguments(CASES[name].loss()))
    CASES[name].loss()(**tensors).backward()
    assert not tensors["embeddings"].grad[0].any()
    assert tensors["embeddings"].grad.any()


@every_loss
def test_half_precision_is_computed_in_single(name):
    loss, batch = CASES[name].loss(), Batch.random(4, 8, 4)
    half = as_tensors(batch.arguments(loss), torch.bfloat16)
    single = {key: x.detach().float() for key, x in half.items()}
    assert loss(**half) == loss(**single)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(**single) == loss(**half)


@every_loss
def test_inputs_are_left_alone_and_only_learning_inputs_get_gradients(name):
    loss, batch = CASES[name].loss(), Batch.random(4, 8, 4)
    tensors = as_tensors(batch.arguments(loss, queue=True, weights="sample"))
    if "queue" in tensors:
        tensors["queue"].requires_grad_()
    before = {key: x.detach().clone() for key, x in tensors.items()}
    loss(**tensors).backward()
    for key, x in tensors.items():
        assert torch.equal(x, before[key])
    if "queue" in tensors:
        assert tensors["queue"].grad is None
    frozen = {key: x.detach() for key, x in tensors.items()}
    assert not loss(**frozen).requires_grad
    with torch.no_grad():
        assert not loss(**tensors).requires_grad


@every_loss
def test_backward_can_run_twice(name):
    for reduction in ("mean", "none"):
        loss = CASES[name].loss(reduction=reduction)
        tensors = as_tensors(Batch.random(4, 8, 4).arguments(loss))
        value = loss(**tensors).sum()
        (first,) = torch.autograd.grad(value, tensors["embeddings"], retain_graph=True)
        (second,) = torch.autograd.grad(3 * value, tensors["embeddings"])
        torch.testing.assert_close(second, 3 * first)


@pytest.mark.parametrize("name", CONTRASTIVE_LOSSES)
def test_registry_builds_losses_that_can_be_copied(name):
    loss = CONTRASTIVE_LOSSES[name](temperature=0.2)
    assert loss.temperature == 0.2
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert repr(twin) == repr(loss)
        for parameter in inspect.signature(type(loss)).parameters:
            assert getattr(twin, parameter) == getattr(loss, parameter)


def test_registry_names_both_supcons():
    assert CONTRASTIVE_LOSSES["any"]().positives == "any"
    assert CONTRASTIVE_LOSSES["all"]().positives == "all"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SupConLoss("some"), "'positives' parameter of SupConLoss must be a str among"),
        (lambda: SupConLoss(temperature=0.0), r"'temperature' .* range \(0.0, 1\S+\]. Got 0.0"),
        (lambda: SupConLoss(temperature=float("nan")), "'temperature'"),
        (lambda: SupConLoss(temperature="warm"), "'temperature' .* must be a float"),
        (lambda: SupConLoss(lambda_reg=-1.0), "'lambda_reg'"),
        (lambda: SupConLoss(reduction="sum"), "'reduction'"),
        (lambda: SupConLoss(memory_budget=0), "'memory_budget'"),
        (lambda: SupConLoss(memory_budget=1.5), "'memory_budget' .* must be an int"),
        (lambda: MultiSupConLoss(1.5), r"'overlap_threshold' .* range \(0.0, 1.0\]"),
        (lambda: MultiSupConLoss(0.0), "'overlap_threshold'"),
        (lambda: MulSupConLoss("row"), "'anchor_weighting'"),
        (lambda: MSCLoss(0.0), "'beta'"),
        (lambda: MSCLoss(n_negatives=-1), "'n_negatives'"),
        (lambda: RegularizedContrastiveLoss(float("inf")), "'alpha'"),
    ],
)
def test_bad_parameters(build, message):
    with pytest.raises(ValueError, match=message):
        build()


Z, Y, P = torch.randn(4, 3), torch.ones(4, 2), torch.randn(2, 3)
TWO = torch.zeros(2, 4, 3)


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        (SupConLoss(), (Z[0], Y), r"embeddings must be a floating tensor of shape \(n, d\)"),
        (SupConLoss(), (Z.int(), Y), "embeddings must be a floating tensor"),
        (SupConLoss(), (TWO[None], Y), r"\(n, d\) or \(M, n, d\)"),
        (SupConLoss(), (Z, Y[:, 0]), r"labels must have shape \(4, L\)"),
        (SupConLoss(), (Z, Y[:3]), r"labels must have shape \(4, L\).* got \(3, 2\)"),
        (SupConLoss(), (TWO, Y[:3]), r"labels must have shape \(4, L\)"),
        (SupConLoss(), (Z, Y, P), "SupConLoss has no prototypes"),
        (PrototypeLoss(), (Z, Y), "PrototypeLoss needs prototypes"),
        (MSCLoss(), (Z, Y, P[:1]), r"prototypes must have shape \(2, 3\), got \(1, 3\)"),
        (MSCLoss(), (Z, Y, P[:, :2]), r"prototypes must have shape \(2, 3\)"),
        (MSCLoss(), (TWO, Y, P), r"prototypes must have shape \(2, 2, 3\)"),
        (MSCLoss(), (TWO, Y, P.expand(3, 2, 3)), r"prototypes must have shape \(2, 2, 3\)"),
        (RegularizedContrastiveLoss(), (Z, Y, P, Z, Y), "takes no queue"),
        (JaccardSupConLoss(), (Z, Y, None, Z), "must be given together"),
        (JaccardSupConLoss(), (Z, Y, None, Z, Y[:2]), r"queue must have shape \(2, 3\)"),
        (JaccardSupConLoss(), (TWO, Y, None, Z, Y), r"queue must have shape \(2, 4, 3\)"),
        (JaccardSupConLoss(), (Z, Y, None, Z, Y[:, :1]), r"queue_labels must have shape \(4, 2\)"),
        (JaccardSupConLoss(), (Z, Y, None, None, None, Z), r"sample_weight .* \(4,\) or \(4, 2\)"),
        (JaccardSupConLoss(), (TWO, Y, None, None, None, Z[0]), r"sample_weight .* \(4,\)"),
    ],
)
def test_bad_batches(loss, arguments, message):
    with pytest.raises(ValueError, match=message):
        loss(*arguments)


@pytest.mark.parametrize("loss", [*CONTRASTIVE_LOSSES.values(), *LOGIT_LOSSES.values()])
@pytest.mark.parametrize("code", [lambda y: 2 * y - 1, lambda y: 2 * y, lambda y: -y.double()])
def test_labels_are_0_and_1(loss, code):
    x, y = torch.randn(4, 3), torch.eye(4, 3, dtype=torch.int64)
    prototypes = (torch.eye(3),) if loss in (PrototypeLoss,) else ()
    with pytest.raises(ValueError, match=r"labels must hold 0, 1 and NaN"):
        loss()(x, code(y), *prototypes)
    with pytest.raises(ValueError, match="sample_weight must be finite and not negative"):
        loss()(x, y, *prototypes, sample_weight=torch.tensor([1.0, -1.0, 1.0, 1.0]))


@pytest.mark.parametrize("loss", [*CONTRASTIVE_LOSSES.values(), *LOGIT_LOSSES.values()])
def test_what_is_no_tensor_is_named(loss):
    x, y = torch.randn(4, 3), torch.eye(4, 3)
    more = {"prototypes": torch.eye(3)} if loss is PrototypeLoss else {}
    for labels in (y.numpy(), y.tolist(), None):
        with pytest.raises(TypeError, match="labels must be a tensor, got"):
            loss()(x, labels, **more)
    with pytest.raises(TypeError, match=r"(embeddings|logits) must be a .*tensor, got ndarray"):
        loss()(x.numpy(), y, **more)
    with pytest.raises(TypeError, match="sample_weight must be a tensor, got list"):
        loss()(x, y, sample_weight=[1.0] * 4, **more)


def test_other_arguments_that_are_no_tensor():
    x, y = torch.randn(4, 3), torch.eye(4, 3)
    for name in ("prototypes", "queue", "queue_labels"):
        with pytest.raises(TypeError, match=f"{name} must be a tensor, got list"):
            MSCLoss()(x, y, **{name: [1.0]})
    with pytest.raises(TypeError, match="labels must be a tensor, got ndarray"):
        MemoryQueue(3, embedding_dim=3, n_labels=3).push(x, y.numpy())


def test_what_fit_has_checked_is_not_looked_at_again():
    with values_checked():
        assert BinaryCrossEntropyLoss()(torch.zeros(1, 2), torch.tensor([[2, -1]])).isfinite()


def test_mixed_labels_lie_between_0_and_1():
    x = torch.zeros(1, 2)
    assert BinaryCrossEntropyLoss()(x, torch.tensor([[0.3, torch.nan]])).isfinite()
    with pytest.raises(ValueError, match=r"got also \[1.5\]"):
        BinaryCrossEntropyLoss()(x, torch.tensor([[0.3, 1.5]]))


def test_queues_and_alignment_take_0_and_1():
    with pytest.raises(ValueError, match="labels must hold 0, 1"):
        MemoryQueue(3, embedding_dim=3, n_labels=3).push(torch.eye(3), -torch.eye(3).long())
    with pytest.raises(ValueError, match="labels must hold 0, 1"):
        alignment(torch.eye(3), 2 * torch.eye(3))


def test_bad_label_indices():
    with pytest.raises(ValueError, match="must hold 0, 1 and NaN"):
        LabelIndices.from_csr(sparse.csr_array([[2, 0]]))
    with pytest.raises(ValueError, match="missing labels"):
        LabelIndices.from_csr(sparse.csr_array([[torch.nan, 0]]))
    for indices, offsets in (([4], [0, 1]), ([-1], [0, 1]), ([0], [0, 2]), ([0, 1], [0, 2, 1])):
        with pytest.raises(ValueError, match="indices must lie in"):
            LabelIndices(torch.tensor(indices), torch.tensor(offsets), 4)
    with pytest.raises(ValueError, match="indices must have shape"):
        LabelIndices(torch.zeros(2, 2), torch.zeros(3), 4)
    with pytest.raises(ValueError, match="has no prototypes"):
        SupConLoss().pair_weights(Y, prototypes=True)
