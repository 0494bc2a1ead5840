"""Every contrastive loss against the loops, on random label matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses.cases import CASES, DENSE, Batch, evaluate, expect, of_member, tile_budget

EXACT = {"rtol": 1e-10, "atol": 1e-10}

batches = st.builds(
    Batch.random,
    seed=st.integers(0, 10**6),
    B=st.integers(1, 9),
    L=st.integers(1, 6),
    Q=st.integers(1, 4),
    missing=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
)
every_loss = pytest.mark.parametrize("name", CASES)


@every_loss
@settings(deadline=None, max_examples=40)
@given(
    batch=batches,
    temperature=st.sampled_from([0.1, 0.5]),
    lambda_reg=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    reduction=st.sampled_from(["mean", "mean", "none"]),
    queue=st.booleans(),
    prototypes=st.booleans(),
    weights=st.sampled_from([None, "sample", "entry"]),
    n_members=st.sampled_from([None, 2]),
    own_labels=st.booleans(),
    edge=st.sampled_from([None, 1, 2, 5]),
)
def test_value_and_gradients(
    name, batch, temperature, lambda_reg, reduction, queue, prototypes, weights, n_members,
    own_labels, edge
):  # fmt: skip
    case, members = CASES[name], n_members or 1
    own_labels = own_labels and n_members is not None
    budget = DENSE if edge is None else members * tile_budget(edge)
    how = {"temperature": temperature, "lambda_reg": lambda_reg, "reduction": reduction}
    loss = case.loss(**how, memory_budget=budget)
    given = {"prototypes": prototypes or loss.requires_prototypes, "queue": queue}
    given |= {"weights": weights, "n_members": n_members, "own_labels": own_labels}
    arguments = batch.arguments(loss, **given)
    found = evaluate(loss, arguments)
    for m in range(members):
        alone = of_member(arguments, m, own_labels) if n_members else arguments
        expected = expect(case, alone, **how)
        for part, array in found.items():
            got = array[m] if n_members else array
            np.testing.assert_allclose(got, expected[part], **EXACT, err_msg=part)


@every_loss
@settings(deadline=None, max_examples=8)
@given(batch=batches, queue=st.booleans(), prototypes=st.booleans())
def test_pair_weights(name, batch, queue, prototypes):
    case = CASES[name]
    loss = case.loss()
    prototypes = prototypes or loss.requires_prototypes
    arguments = batch.arguments(loss, prototypes=prototypes, queue=queue)
    past = torch.tensor(batch.queue_labels) if "queue" in arguments else None
    W = loss.pair_weights(
        torch.tensor(batch.labels), past, prototypes=prototypes and loss.uses_prototypes
    )
    np.testing.assert_allclose(W.numpy(), expect(case, arguments)["W"], **EXACT)


@every_loss
def test_boolean_labels_are_complete_float_labels(name):
    loss = CASES[name].loss()
    arguments = Batch.random(0, 8, 4).arguments(loss)
    tensors = {key: torch.tensor(array) for key, array in arguments.items()}
    expected = loss(**tensors)
    for dtype in (torch.bool, torch.uint8, torch.int64):
        assert loss(**tensors | {"labels": tensors["labels"].to(dtype)}) == expected


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if not case.build.uses_prototypes])
def test_labels_missing_everywhere_can_be_left_out(name):
    batch = Batch.random(3, 8, 4, missing=0.2)
    batch.labels[:, -1] = np.nan
    loss = CASES[name].loss()
    arguments = batch.arguments(loss)
    shorter = arguments | {"labels": batch.labels[:, :-1]}
    assert evaluate(loss, arguments)["value"] == evaluate(loss, shorter)["value"]
