"""Finite everywhere, and clear errors (property 9 of the specification)."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from sklearn_mlcl.losses import (
    CONTRASTIVE_LOSSES,
    JaccardSupConLoss,
    LabelIndices,
    MSCLoss,
    MulSupConLoss,
    MultiSupConLoss,
    PrototypeLoss,
    RegularizedContrastiveLoss,
    SupConLoss,
)
from tests.losses.cases import CASES, DENSE, Batch, as_tensors, tile_budget

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
    "nothing known": _batch(6, 4, fill=np.nan),
    "one row": _batch(1, 4, fill=1.0),
    "one label": _batch(6, 1),
    "one row one label": _batch(1, 1, fill=1.0),
    "absent labels": _batch(3, 12),
    "exact duplicates": _batch(6, 4, same=True),
    "zero embedding": _batch(6, 4, fill=1.0, zero=True),
}


@every_loss
@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize(
    ("dtype", "budget"),
    [
        (torch.float64, tile_budget(3)),
        (torch.float32, DENSE),
        (torch.float32, tile_budget(3, itemsize=4)),
        (torch.float16, DENSE),
        (torch.bfloat16, DENSE),
    ],
)
def test_9_finite(name, hard, dtype, budget):
    for lambda_reg, reduction in ((0.0, "mean"), (1.0, "mean"), (1.0, "none")):
        loss = CASES[name].loss(
            temperature=0.005,
            lambda_reg=lambda_reg,
            reduction=reduction,
            memory_budget=budget,
        )
        tensors = as_tensors(HARD[hard].arguments(loss, queue=True), dtype)
        value = loss(**tensors)
        assert value.isfinite().all()
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        value.sum().backward()
        for key in ("embeddings", "prototypes"):
            if key in tensors:
                assert tensors[key].grad.isfinite().all()
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
    tensors = as_tensors(batch.arguments(loss, queue=True, weighted=True))
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
    for option in loss.options:
        assert hasattr(loss, option)


def test_registry_names_both_supcons():
    assert CONTRASTIVE_LOSSES["any"]().positives == "any"
    assert CONTRASTIVE_LOSSES["all"]().positives == "all"


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: SupConLoss("some"), ValueError, "positives must be one of"),
        (lambda: SupConLoss(temperature=0.0), ValueError, "temperature must be finite and > 0"),
        (lambda: SupConLoss(temperature="warm"), TypeError, "temperature must be a number"),
        (lambda: SupConLoss(lambda_reg=-1.0), ValueError, "lambda_reg must be finite and >= 0"),
        (lambda: SupConLoss(reduction="sum"), ValueError, "reduction must be one of"),
        (lambda: SupConLoss(memory_budget=0), ValueError, "memory_budget must be >= 1"),
        (lambda: SupConLoss(memory_budget=1.5), TypeError, "memory_budget must be an integer"),
        (lambda: MultiSupConLoss(1.5), ValueError, "overlap_threshold must be at most 1"),
        (lambda: MultiSupConLoss(0.0), ValueError, "overlap_threshold must be finite and > 0"),
        (lambda: MulSupConLoss("row"), ValueError, "anchor_weighting must be one of"),
        (lambda: MSCLoss(0.0), ValueError, "beta must be finite and > 0"),
        (lambda: MSCLoss(n_negatives=-1), ValueError, "n_negatives must be >= 0"),
        (lambda: RegularizedContrastiveLoss(float("nan")), ValueError, "alpha must be finite"),
    ],
)
def test_bad_parameters(build, error, match):
    with pytest.raises(error, match=match):
        build()


Z, Y, P = torch.randn(4, 3), torch.ones(4, 2), torch.randn(2, 3)


@pytest.mark.parametrize(
    ("loss", "arguments", "match"),
    [
        (SupConLoss(), (Z[0], Y), r"embeddings must be a floating tensor of shape \(n, d\)"),
        (SupConLoss(), (Z.int(), Y), "embeddings must be a floating tensor"),
        (SupConLoss(), (Z, Y[:, 0]), r"labels must have shape \(n, L\)"),
        (SupConLoss(), (Z, Y[:3]), "embeddings has 4 rows but labels has 3"),
        (SupConLoss(), (Z, Y, P), "SupConLoss has no prototypes"),
        (PrototypeLoss(), (Z, Y), "PrototypeLoss needs prototypes"),
        (MSCLoss(), (Z, Y, P[:1]), "prototypes has 1 labels but labels has 2"),
        (MSCLoss(), (Z, Y, P[:, :2]), r"prototypes must have shape \(n, 3\)"),
        (RegularizedContrastiveLoss(), (Z, Y, P, Z, Y), "takes no queue"),
        (JaccardSupConLoss(), (Z, Y, None, Z), "must be given together"),
        (JaccardSupConLoss(), (Z, Y, None, Z, Y[:2]), "queue has 4 rows but queue_labels has 2"),
        (JaccardSupConLoss(), (Z, Y, None, Z, Y[:, :1]), "queue_labels has 1 labels"),
        (JaccardSupConLoss(), (Z, Y, None, None, None, Z), r"sample_weight must have shape \(4,\)"),
    ],
)
def test_bad_batches(loss, arguments, match):
    with pytest.raises(ValueError, match=match):
        loss(*arguments)


def test_bad_label_indices():
    with pytest.raises(ValueError, match="indices must have shape"):
        LabelIndices(torch.zeros(2, 2), torch.zeros(3), 4)
    with pytest.raises(ValueError, match="has no prototypes"):
        SupConLoss().pair_weights(Y, prototypes=True)
