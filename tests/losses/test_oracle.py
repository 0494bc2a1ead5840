"""Every loss against the loops, on random label matrices with empty, full and duplicate rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses.cases import CASES, DENSE, Batch, evaluate, expect, tile_budget

EXACT = {"rtol": 1e-10, "atol": 1e-10}

batches = st.builds(
    Batch.random,
    seed=st.integers(0, 10**6),
    B=st.integers(1, 9),
    L=st.integers(1, 6),
    Q=st.integers(1, 4),
    missing=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
)


def assert_same(got, expected):
    np.testing.assert_allclose(got["value"], expected["value"], **EXACT)
    np.testing.assert_allclose(got["embeddings"], expected["embeddings"], **EXACT)
    if "prototypes" in got:
        np.testing.assert_allclose(got["prototypes"], expected["prototypes"], **EXACT)


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=25)
@given(
    batch=batches,
    temperature=st.sampled_from([0.1, 0.5]),
    lambda_reg=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    queue=st.booleans(),
    weighted=st.booleans(),
    prototypes=st.booleans(),
    edge=st.sampled_from([None, 1, 2, 5]),
)
def test_value_and_gradients(
    name, batch, temperature, lambda_reg, queue, weighted, prototypes, edge
):
    case = CASES[name]
    budget = DENSE if edge is None else tile_budget(edge)
    how = {"temperature": temperature, "lambda_reg": lambda_reg}
    loss = case.loss(**how, memory_budget=budget)
    prototypes = prototypes or loss.requires_prototypes
    arguments = batch.arguments(loss, prototypes=prototypes, queue=queue, weighted=weighted)
    assert_same(evaluate(loss, arguments), expect(case, arguments, **how))


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None, max_examples=8)
@given(batch=batches, weighted=st.booleans())
def test_rows_of_an_unreduced_loss(name, batch, weighted):
    case = CASES[name]
    loss = case.loss(reduction="none")
    arguments = batch.arguments(loss, weighted=weighted)
    np.testing.assert_allclose(
        evaluate(loss, arguments)["value"], expect(case, arguments)["rows"], **EXACT
    )


@pytest.mark.parametrize("name", CASES)
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


@pytest.mark.parametrize("name", CASES)
def test_boolean_labels_are_complete_float_labels(name):
    batch = Batch.random(0, 8, 4)
    loss = CASES[name].loss()
    arguments = batch.arguments(loss)
    tensors = {key: torch.tensor(array) for key, array in arguments.items()}
    expected = loss(**tensors)
    for dtype in (torch.bool, torch.uint8, torch.int64):
        assert loss(**tensors | {"labels": tensors["labels"].to(dtype)}) == expected


WITHOUT_PROTOTYPES = [name for name, case in CASES.items() if not case.build.uses_prototypes]


@pytest.mark.parametrize("name", WITHOUT_PROTOTYPES)
def test_fully_unknown_labels_can_be_left_out(name):
    batch = Batch.random(3, 8, 4, missing=0.2)
    batch.labels[:, -1] = np.nan
    loss = CASES[name].loss()
    arguments = batch.arguments(loss)
    shorter = arguments | {"labels": batch.labels[:, :-1]}
    assert evaluate(loss, arguments)["value"] == evaluate(loss, shorter)["value"]
