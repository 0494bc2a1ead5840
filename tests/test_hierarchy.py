"""Hierarchies of labels, against the definition: all closed sets are tried."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_mlcl.hierarchy import consistent_decision, with_ancestors

NAMES = ["animal", "cat", "lion", "plant"]
TREE = {"cat": "animal", "lion": "cat"}


def is_closed(labels: Any, parents: dict[int, list[int]]) -> bool:
    return all(labels[p] for child, above in parents.items() if labels[child] for p in above)


@st.composite
def hierarchies(draw: Any, most_parents: int) -> dict[int, list[int]]:
    """Draw parents among smaller numbers, then call the labels by others: no circle."""
    n_labels = draw(st.integers(1, 6))
    call = draw(st.permutations(range(n_labels)))
    above = [
        draw(st.lists(st.integers(0, k - 1), max_size=most_parents, unique=True)) if k else []
        for k in range(n_labels)
    ]
    return {call[k]: [call[p] for p in parents] for k, parents in enumerate(above)}


@settings(max_examples=60, deadline=None)
@given(st.one_of(hierarchies(1), hierarchies(3)), st.integers(0, 2**32 - 1))
def test_the_best_of_all_closed_sets(parents: dict[int, list[int]], seed: int) -> None:
    rng, n_labels = np.random.default_rng(seed), len(parents)
    P, t = rng.uniform(0.05, 0.95, (5, n_labels)), rng.uniform(0.2, 0.8, n_labels)
    found = consistent_decision(P, parents, threshold=t)
    gains = np.log(P / (1 - P)) - np.log(t / (1 - t))
    sets = [s for s in product([0, 1], repeat=n_labels) if is_closed(s, parents)]
    for gain, labels in zip(gains, found, strict=True):
        best = max(sets, key=lambda s: float(gain @ np.array(s)))
        assert_array_equal(labels, best)


@settings(max_examples=60, deadline=None)
@given(hierarchies(3), st.integers(0, 2**32 - 1))
def test_the_smallest_closed_set_above(parents: dict[int, list[int]], seed: int) -> None:
    rng, n_labels = np.random.default_rng(seed), len(parents)
    Y = rng.integers(0, 2, (5, n_labels))
    sets = [s for s in product([0, 1], repeat=n_labels) if is_closed(s, parents)]
    closed = with_ancestors(Y, parents)
    for row, labels in zip(Y, closed, strict=True):
        assert_array_equal(labels, min((s for s in sets if all(row <= s)), key=sum))
    assert_array_equal(with_ancestors(closed, parents), closed)
    assert_array_equal(with_ancestors(sp.csr_array(Y), parents).toarray(), closed)


def test_what_is_missing_follows_where_it_can() -> None:
    nan = np.nan
    Y = np.array([[nan, 1, nan], [0, nan, nan], [nan, 0, nan], [nan, nan, nan]])
    expected = [[1, 1, nan], [0, 0, 0], [nan, 0, 0], [nan, nan, nan]]
    chain = {1: 0, 2: 1}
    assert_array_equal(with_ancestors(Y, chain), expected)
    coded = np.where(np.isnan(Y), -1, Y)
    assert_array_equal(with_ancestors(coded, chain, missing_label=-1), expected)
    assert_array_equal(with_ancestors(sp.csr_matrix(Y), chain).toarray(), expected)


def test_kinds_stay() -> None:
    Y = np.array([[0, 0, 1, 0], [0, 0, 0, 1]])
    closed = [[1, 1, 1, 0], [0, 0, 0, 1]]
    by_number = {1: 0, 2: [1]}
    frame = pd.DataFrame(Y, columns=NAMES, index=["a", "b"])
    found = with_ancestors(frame, TREE)
    pd.testing.assert_frame_equal(found, pd.DataFrame(closed, columns=NAMES, index=["a", "b"]))
    assert with_ancestors(pl.DataFrame(Y, schema=NAMES), TREE).equals(
        pl.DataFrame(np.array(closed), schema=NAMES)
    )
    for container in (sp.csr_array, sp.csr_matrix):
        sparse = with_ancestors(container(Y.astype(np.float32)), by_number)
        assert type(sparse) is container and sparse.dtype == np.float32
        assert_array_equal(sparse.toarray(), closed)
    boolean = with_ancestors(Y.astype(bool), by_number)
    assert boolean.dtype == bool
    assert_array_equal(boolean, closed)
    probabilities = frame * 0.98 + 0.01
    assert_array_equal(consistent_decision(probabilities, TREE), [[0, 0, 0, 0], [0, 0, 0, 1]])
    worth_it = consistent_decision(probabilities, TREE, threshold=[0.01, 0.02, 0.5, 0.5])
    assert list(worth_it.columns) == NAMES and list(worth_it.index) == ["a", "b"]
    assert_array_equal(worth_it, closed)


@pytest.mark.parametrize(
    ("hierarchy", "error", "message"),
    [
        ([("a", "b")], TypeError, "must be a dict .* got list"),
        ({"cat": "dog"}, ValueError, "hierarchy: there is no label 'dog'"),
        ({9: 0}, ValueError, "hierarchy: there is no label 9"),
        ({"cat": "animal", "animal": "cat"}, ValueError, "have no cycle, got .*'cat'"),
        ({"cat": "cat"}, ValueError, r"have no cycle, got \['cat', 'cat'\]"),
    ],
)
def test_wrong_hierarchies(hierarchy: Any, error: type[Exception], message: str) -> None:
    frame = pd.DataFrame(np.eye(4, dtype=int), columns=NAMES)
    for function in (with_ancestors, consistent_decision):
        with pytest.raises(error, match=message):
            function(frame, hierarchy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probabilities": np.array([[0.5, 2.0]])}, r"must lie in \[0, 1\]"),
        ({"probabilities": np.array([0.5, 0.2])}, "must have shape"),
        ({"probabilities": np.array([[0.5, np.nan]])}, "probabilities holds NaN"),
        ({"probabilities": "x"}, "probabilities must hold real numbers"),
        ({"threshold": 0.0}, r"inside \(0, 1\), got 0.0"),
        ({"threshold": [0.5] * 3}, "threshold"),
    ],
)
def test_wrong_numbers(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        consistent_decision(**{"probabilities": np.full((1, 2), 0.5), "hierarchy": {}} | arguments)
