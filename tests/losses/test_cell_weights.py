"""Weights of cells in every loss: what they are in a loop, and what weights 0 and k mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_mlcl.losses import (
    CONTRASTIVE_LOSSES,
    LOGIT_LOSSES,
    AsymmetricLoss,
    FocalLoss,
    LabelIndices,
    PickAllLabelLoss,
)
from tests.losses.cases import CASES, Batch, evaluate, expect, tile_budget

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
ELEMENTWISE = {"bce": LOGIT_LOSSES["bce"](), "asl": AsymmetricLoss(), "focal": FocalLoss(1.5)}
ON_LOGITS = ELEMENTWISE | {
    "zlpr": LOGIT_LOSSES["zlpr"](),
    "two_way": LOGIT_LOSSES["two_way"](),
    "pal": PickAllLabelLoss(),
    "pal-sum": PickAllLabelLoss("sum", "uniform", 0.1),
}
every_logit_loss = pytest.mark.parametrize("name", ON_LOGITS)


def weighted_batch(seed: int, case: Any, **settings: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """A loss and its arguments, with weights of cells of which a fifth is 0."""
    batch = Batch.random(seed, 7, 4, missing=0.15)
    loss = case.loss(temperature=0.3, **settings)
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.2, 3.0, batch.labels.shape) * (rng.random(batch.labels.shape) < 0.8)
    arguments = batch.arguments(loss, queue=seed % 2 == 1)
    return loss, {**arguments, "sample_weight": weight}


# ---------------------------------------------------------------------- on embeddings


@pytest.mark.parametrize("edge", [None, 3])
@pytest.mark.parametrize("seed", range(3))
@every_case
def test_contrastive_losses_against_loops(case: Any, seed: int, edge: int | None) -> None:
    budget = {} if edge is None else {"memory_budget": tile_budget(edge)}
    loss, arguments = weighted_batch(seed, case, lambda_reg=0.5, **budget)
    expected = expect(case, arguments, temperature=0.3, lambda_reg=0.5)
    for name, value in evaluate(loss, arguments).items():
        assert_allclose(value, expected[name], rtol=1e-9, atol=1e-11)


@every_case
def test_rows_of_contrastive_losses_hold_their_weights(case: Any) -> None:
    loss, arguments = weighted_batch(0, case, reduction="none")
    rows = evaluate(loss, arguments)["value"]
    assert_allclose(rows, expect(case, arguments, temperature=0.3)["rows"], atol=1e-11)


@every_case
def test_alike_weights_in_a_row_are_a_weight_of_the_row(case: Any) -> None:
    loss, arguments = weighted_batch(1, case)
    of_rows = np.random.default_rng(5).uniform(0.2, 2.0, 7)
    by_row = evaluate(loss, {**arguments, "sample_weight": of_rows})
    by_cell = evaluate(loss, {**arguments, "sample_weight": np.repeat(of_rows[:, None], 4, 1)})
    for name, value in by_cell.items():
        assert_allclose(value, by_row[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CONTRASTIVE_LOSSES)
def test_weights_with_label_lists_and_drawn_negatives(name: str) -> None:
    """Label lists stand for their matrix; all negatives drawn are all prototypes."""
    rng = np.random.default_rng(0)
    labels = torch.tensor(rng.random((6, 5)) < [0.4, 0.4, 0.4, 0.0, 0.4])
    lists = LabelIndices.from_lists([row.nonzero().ravel().tolist() for row in labels], 5)
    loss = CONTRASTIVE_LOSSES[name]()
    terms = {"sample_weight": torch.tensor(rng.uniform(0.0, 2.0, (6, 5)))}
    terms["sample_weight"][0] = 0
    if loss.uses_prototypes:
        terms["prototypes"] = torch.tensor(rng.normal(size=(5, 3)))
    embeddings = torch.tensor(rng.normal(size=(6, 3)))
    value = loss(embeddings, labels, **terms)
    assert_allclose(loss(embeddings, lists, **terms), value, rtol=1e-12)
    if "n_negatives" in type(loss).options:
        drawn = CONTRASTIVE_LOSSES[name](n_negatives=5)
        assert_allclose(drawn(embeddings, labels, **terms), value, rtol=1e-12)


# ---------------------------------------------------------------------- on logits


def logit_batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((8, 5)) < 0.4).astype(float)
    labels[rng.random((8, 5)) < 0.2] = np.nan
    labels[0], labels[1] = 0.0, np.nan
    return torch.tensor(rng.normal(size=(8, 5))), torch.tensor(labels)


def value_and_gradient(loss: Any, logits: torch.Tensor, *rest: Any) -> tuple[float, np.ndarray]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, *rest)
    value.backward()
    return value.item(), logits.grad.numpy()


@every_logit_loss
def test_a_cell_of_weight_zero_is_unknown(name: str) -> None:
    logits, labels = logit_batch()
    weight = torch.ones(8, 5, dtype=torch.float64)
    weight[torch.rand(8, 5, generator=torch.Generator().manual_seed(0)) < 0.3] = 0
    hidden = labels.masked_fill(weight == 0, torch.nan)
    expected = value_and_gradient(ON_LOGITS[name], logits, hidden)
    for one, other in zip(
        value_and_gradient(ON_LOGITS[name], logits, labels, weight), expected, strict=True
    ):
        assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@every_logit_loss
def test_alike_weights_in_a_row_of_logits_are_a_weight_of_the_row(name: str) -> None:
    logits, labels = logit_batch()
    weight = torch.linspace(0.0, 2.0, 8, dtype=torch.float64)
    expected = value_and_gradient(ON_LOGITS[name], logits, labels, weight)
    by_cell = weight[:, None].expand(8, 5).contiguous()
    for one, other in zip(
        value_and_gradient(ON_LOGITS[name], logits, labels, by_cell), expected, strict=True
    ):
        assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_weight_of_k_is_k_copies_of_the_cell(name: str) -> None:
    logits, labels = logit_batch()
    weight = np.random.default_rng(1).integers(0, 4, (8, 5))
    copies = [labels.masked_fill(torch.tensor(weight <= c), torch.nan) for c in range(3)]
    repeated = ELEMENTWISE[name](logits.repeat(3, 1), torch.cat(copies))
    weighted = ELEMENTWISE[name](logits, labels, torch.tensor(weight, dtype=torch.float64))
    assert_allclose(weighted, repeated, rtol=1e-12)


def test_pick_all_label_weighs_the_terms_of_labels() -> None:
    logits, labels = logit_batch()
    weight = torch.rand(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    top = bottom = 0.0
    for z, y, w in zip(logits.numpy(), labels.numpy(), weight.numpy(), strict=True):
        S, known = np.flatnonzero(y == 1), ~np.isnan(y)
        if len(S):
            log_p = z - np.log(np.exp(z[known]).sum())
            top += sum(-w[k] * log_p[k] for k in S) / len(S)
            bottom += w[S].mean()
    assert_allclose(PickAllLabelLoss()(logits, labels, weight), top / bottom, rtol=1e-12)


def test_excess_is_zero_at_the_weighted_optimum() -> None:
    """The softmax that fits a row best is proportional to the weights of its labels."""
    labels = torch.tensor([[1.0, 1.0, 0.0]])
    weight = torch.tensor([[3.0, 1.0, 5.0]])
    best = torch.tensor([[3.0, 1.0, 1e-12]]).log()
    loss = PickAllLabelLoss()
    assert_allclose(loss.excess(best, labels, weight), 0.0, atol=1e-6)
    assert loss.excess(best.flip(1), labels, weight) > 0.5


def test_two_way_counts_a_weight_as_copies_within_a_label() -> None:
    """With one label a row is a cell; its own contrast, of one side only, is 0."""
    rng = np.random.default_rng(3)
    logits = torch.tensor(rng.normal(size=(6, 1)))
    labels = torch.tensor([[1.0], [0.0], [1.0], [0.0], [0.0], [1.0]])
    weight = torch.tensor([[1.0], [2.0], [3.0], [1.0], [2.0], [1.0]], dtype=torch.float64)
    repeats = weight[:, 0].long()
    rows = torch.arange(6).repeat_interleave(repeats)
    loss = ON_LOGITS["two_way"]
    assert_allclose(loss(logits, labels, weight), loss(logits[rows], labels[rows]), rtol=1e-12)


@pytest.mark.parametrize("loss", [*ON_LOGITS.values(), CONTRASTIVE_LOSSES["jaccard"]()])
def test_weights_of_a_wrong_shape(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(3,\) or \(3, 2\)"):
        loss(torch.zeros(3, 2), torch.ones(3, 2), sample_weight=torch.ones(3, 1))
