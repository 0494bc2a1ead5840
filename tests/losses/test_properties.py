"""The properties of section 11 of the specification, numbered as there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_mlcl.losses import (
    JaccardSupConLoss,
    MulSupConLoss,
    PrototypeLoss,
    RegularizedContrastiveLoss,
    SupConLoss,
)
from sklearn_mlcl.losses._pairs import LabelPairs, PairKernel
from tests.losses.cases import CASES, DENSE, LEAVES, Batch, as_tensors, evaluate, tile_budget

EXACT = {"rtol": 1e-10, "atol": 1e-10}
every_loss = pytest.mark.parametrize("name", CASES)
seeds = st.integers(0, 10**6)


def one_hot(classes, L):
    return torch.eye(L, dtype=torch.float64)[torch.as_tensor(classes)]


@settings(deadline=None, max_examples=20)
@given(seed=seeds, classes=st.lists(st.integers(0, 3), min_size=2, max_size=8))
def test_1_one_hot_labels_are_supcon(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(len(classes), 3, dtype=torch.float64, generator=generator)
    p = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    Y = one_hot(classes, 4)
    supcon = SupConLoss()(z, Y)
    for loss in (SupConLoss("all"), JaccardSupConLoss(), MulSupConLoss("sample")):
        torch.testing.assert_close(loss(z, Y), supcon, **EXACT)
    stacked = SupConLoss()(torch.cat([z, p]), torch.cat([Y, one_hot(range(4), 4)]))
    torch.testing.assert_close(RegularizedContrastiveLoss()(z, Y, p), stacked, **EXACT)


@every_loss
@settings(deadline=None, max_examples=8)
@given(seed=seeds)
def test_2_order_does_not_matter(name, seed):
    loss, batch = CASES[name].loss(), Batch.random(seed, 7, 4, missing=0.1)
    arguments = batch.arguments(loss)
    rng = np.random.default_rng(seed)
    rows, labels = rng.permutation(7), rng.permutation(4)
    shuffled = {
        "embeddings": arguments["embeddings"][rows],
        "labels": arguments["labels"][rows][:, labels],
    }
    if loss.uses_prototypes:
        shuffled["prototypes"] = arguments["prototypes"][labels]
    expected = evaluate(loss, arguments)["value"]
    np.testing.assert_allclose(evaluate(loss, shuffled)["value"], expected, **EXACT)


def logit_gradient(loss, batch):
    """G and W of every anchor, the factor in both, and sigma."""
    tensors = as_tensors(batch.arguments(loss))
    points = torch.cat([tensors[key] for key in LEAVES if key in tensors])
    pairs = LabelPairs.of(tensors["labels"], None, torch.float64)
    with torch.no_grad():
        weights = loss._weights(pairs, len(points) - len(batch.labels), None)
        points = torch.nn.functional.normalize(points)
        kernel = PairKernel(weights, loss.temperature, loss.lambda_reg, points)
        ((rows, columns),) = weights.tiles()
        s, W = kernel.logits(rows, columns), weights.tile(rows, columns)
        pull = kernel.pull(W, s.softmax(1), rows, torch.empty_like(s))
    factor = weights.factor[:, None]
    return -pull * factor, W * factor, s.softmax(1)


@every_loss
@settings(deadline=None, max_examples=8)
@given(seed=seeds)
def test_3_rows_of_the_gradient_sum_to_zero(name, seed):
    batch = Batch.random(seed, 7, 4)
    G, _, _ = logit_gradient(CASES[name].loss(lambda_reg=0.0), batch)
    torch.testing.assert_close(G.sum(1), torch.zeros(len(G), dtype=G.dtype), **EXACT)
    G, _, _ = logit_gradient(CASES[name].loss(lambda_reg=1.0), batch)
    assert (G.sum(1) <= 1e-12).all()


@every_loss
@settings(deadline=None, max_examples=8)
@given(seed=seeds, missing=st.sampled_from([0.0, 0.3]))
def test_4_row_sums_of_the_weights(name, seed, missing):
    labels = torch.tensor(Batch.random(seed, 8, 4, missing=missing).labels)
    sums = CASES[name].loss().pair_weights(labels).sum(1)
    size = labels.nan_to_num().sum(1)
    if CASES[name].name == "msc":
        torch.testing.assert_close(sums, size, **EXACT)
    elif CASES[name].name == "mulsupcon":
        torch.testing.assert_close(sums, sums.round(), **EXACT)
        assert (sums.round() <= size).all()
    elif CASES[name].name in ("multisupcon", "simdis"):
        assert (sums <= 1 + 1e-12).all()
    else:
        assert torch.isclose(sums, sums.round()).all()
        assert (sums.round() <= 1).all()


@pytest.mark.parametrize("name", ["reg-0", "reg-1", "reg-hard"])
@settings(deadline=None, max_examples=10)
@given(seed=seeds)
def test_5_clamped_gradient(name, seed):
    batch = Batch.random(seed, 7, 4)
    G, W, sigma = logit_gradient(CASES[name].loss(lambda_reg=1.0), batch)
    anchors = W.sum(1) > 0
    expected = torch.where(W > 0, (sigma - W).clamp_max(0.0), sigma)[anchors]
    torch.testing.assert_close(G[anchors], expected, **EXACT)


def test_5_without_overshoot_the_clamp_does_nothing():
    """Positives far apart on the sphere, everything below its target."""
    z = np.array([[1.0, 0.0], [-1.0, 0.0], [0.9, 0.1], [-0.9, 0.1]])
    arguments = {
        "embeddings": z,
        "labels": np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]]),
        "prototypes": np.array([[0.0, 1.0], [0.0, -1.0]]),
    }
    clamped = evaluate(RegularizedContrastiveLoss(temperature=0.5), arguments)
    plain = evaluate(RegularizedContrastiveLoss(temperature=0.5, lambda_reg=0.0), arguments)
    for key in plain:
        np.testing.assert_array_equal(clamped[key], plain[key])


@every_loss
@pytest.mark.parametrize(
    ("reduction", "budget", "n_members"),
    [("mean", DENSE, 2), ("mean", tile_budget(3), None), ("none", DENSE, None),
     ("none", 2 * tile_budget(3), 2)],
)  # fmt: skip
def test_6_gradcheck_without_clamp(name, reduction, budget, n_members):
    """Also of members, where the loss of one has no slope in the vectors of another."""
    loss = CASES[name].loss(
        temperature=0.5, lambda_reg=0.0, reduction=reduction, memory_budget=budget
    )
    how = {"queue": True, "weights": "sample", "n_members": n_members}
    tensors = as_tensors(Batch.random(1, 5, 3).arguments(loss, **how))
    leaves = [key for key in LEAVES if key in tensors]

    def call(*values):
        return loss(**tensors | dict(zip(leaves, values, strict=True)))

    assert torch.autograd.gradcheck(call, [tensors[key] for key in leaves])


@every_loss
@settings(deadline=None, max_examples=12)
@given(
    seed=seeds,
    B=st.integers(1, 40),
    L=st.integers(1, 20),
    edge=st.integers(1, 45),
    reduction=st.sampled_from(["mean", "none"]),
    queue=st.booleans(),
)
def test_7_tiled_is_dense(name, seed, B, L, edge, reduction, queue):
    how = {"lambda_reg": 1.0, "reduction": reduction}
    dense = CASES[name].loss(**how, memory_budget=DENSE)
    tiled = CASES[name].loss(**how, memory_budget=tile_budget(edge))
    arguments = Batch.random(seed, B, L, d=8, Q=5, missing=0.1).arguments(dense, queue=queue)
    expected, got = evaluate(dense, arguments), evaluate(tiled, arguments)
    for key in expected:
        np.testing.assert_allclose(got[key], expected[key], **EXACT)


@every_loss
def test_8_ranks_that_share_the_anchors_make_the_whole(name):
    """Each rank gathers all points, keeps its own anchors, and W ranks average the gradients."""
    W, batch = 2, Batch.random(5, 8, 4)
    whole = CASES[name].loss()
    arguments = batch.arguments(whole)
    expected = evaluate(whole, arguments)
    rows_of = CASES[name].loss(reduction="none")
    pairs = whole.pair_weights(torch.tensor(batch.labels))
    if CASES[name].options.get("anchor_weighting") == "label":
        mass = batch.labels.sum()
    else:
        mass = float((pairs.sum(1) > 0).sum())
    total = dict.fromkeys(expected, 0.0)
    for rank in range(W):
        tensors = as_tensors(arguments)
        rows = rows_of(**tensors)
        own = rows[rank * 4 : (rank + 1) * 4].sum() + rows[8:].sum() / W
        (W * own / mass).backward()
        total["value"] += own.item() / mass
        for key in expected:
            if key != "value":
                total[key] = total[key] + tensors[key].grad.numpy() / W
    for key in expected:
        np.testing.assert_allclose(total[key], expected[key], **EXACT)


@every_loss
@settings(deadline=None, max_examples=8)
@given(seed=seeds)
def test_10_length_does_not_matter(name, seed):
    loss, batch = CASES[name].loss(), Batch.random(seed, 7, 4)
    arguments = batch.arguments(loss)
    rng = np.random.default_rng(seed)
    scaled = arguments | {"embeddings": batch.embeddings * rng.uniform(1e-3, 1e3, size=(7, 1))}
    got = evaluate(loss, arguments)
    np.testing.assert_allclose(evaluate(loss, scaled)["value"], got["value"], **EXACT)
    np.testing.assert_allclose((got["embeddings"] * batch.embeddings).sum(1), 0, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0, -1.0])
@settings(deadline=None, max_examples=10)
@given(seed=seeds)
def test_11_blocks_are_the_stacked_formula(alpha, seed):
    """L_REG weights from the stacked labels [Y; I] and their three-way tensor."""
    Y = torch.tensor(Batch.random(seed, 7, 4).labels)
    A = torch.cat([Y, torch.eye(4, dtype=Y.dtype)])
    shared = A[:, None, :] * A[None, :, :]
    r = shared.sum(2) / A.sum(1).clamp_min(1)
    f = ((r == 1).double() if alpha < 0 else r**alpha) * (1 - torch.eye(11, dtype=Y.dtype))
    on_label = shared * f[:, :, None]
    W = (on_label / on_label.sum(1, keepdim=True).clamp_min(1e-300)).sum(2)
    W = W / A.sum(1, keepdim=True).clamp_min(1)
    got = RegularizedContrastiveLoss(alpha).pair_weights(Y)
    torch.testing.assert_close(got, W, **EXACT)


def test_prototype_loss_of_a_row_ignores_the_others():
    batch = Batch.random(2, 6, 4)
    loss = PrototypeLoss(reduction="none")
    tensors = {key: torch.tensor(x) for key, x in batch.arguments(loss).items()}
    rows = loss(**tensors)
    alone = tensors | {key: tensors[key][3:4] for key in ("embeddings", "labels")}
    torch.testing.assert_close(loss(**alone)[0], rows[3], **EXACT)


@every_loss
def test_equal_weights_within_a_sample_are_a_weight_of_the_sample(name):
    loss, batch = CASES[name].loss(), Batch.random(1, 7, 4, missing=0.15)
    arguments = batch.arguments(loss, queue=True, weights="sample")
    by_entry = np.repeat(arguments["sample_weight"][:, None], 4, axis=1)
    expected = evaluate(loss, arguments)
    for part, value in evaluate(loss, arguments | {"sample_weight": by_entry}).items():
        np.testing.assert_allclose(value, expected[part], **EXACT)
