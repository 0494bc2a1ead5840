"""The walk from values to trees and arrays, and back, value by value."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal

from sklearn_mlcl.modules import Dropout
from sklearn_mlcl.persistence._objects import CODECS, decode, encode
from sklearn_mlcl.persistence._registry import _NAMES, is_registered, registered_classes
from sklearn_mlcl.persistence._state import Writer

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def round_trip(value: Any) -> Any:
    tree, stored = encode(value, "value")
    return decode(json.loads(json.dumps(tree, allow_nan=False)), stored)


@settings(deadline=None, max_examples=25)
@given(PLAIN)
def test_plain_values(value: Any) -> None:
    assert repr(round_trip(value)) == repr(value)


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        st.sampled_from(["?", "i1", "<u8", ">i4", "<f4", "<f8", ">f8", "f2"]),
        arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    ),
    st.randoms(use_true_random=False),
)
def test_arrays_keep_values_and_order_in_memory(array: np.ndarray, random: Any) -> None:
    axes = random.sample(range(array.ndim), array.ndim)
    turned = array.transpose(axes)
    result = round_trip(turned)
    assert_array_equal(result, turned.astype(array.dtype.newbyteorder("=")), strict=True)
    if min(turned.shape, default=2) > 1:
        assert result.strides == turned.strides


@pytest.mark.parametrize(
    "value",
    [
        np.float32(0.1), np.int8(3), np.bool_(True), np.str_("x"), np.float64("nan"),
        np.dtype("<U7"), np.dtype(object), np.dtype(np.float32), torch.device("cuda", 1),
        torch.optim.SGD, sp.csr_array,
    ],
    ids=repr,
)  # fmt: skip
def test_values_that_keep_their_type(value: Any) -> None:
    result = round_trip(value)
    assert type(result) is type(value)
    assert result == value or (result != result and value != value)


@pytest.mark.parametrize(
    "value", [np.array(["a", "bcd"]), np.array([["x", 1], [None, 2.5]], object), np.array([], "U3")]
)
def test_arrays_of_words_and_objects(value: np.ndarray) -> None:
    assert_array_equal(round_trip(value), value, strict=True)


def test_object_arrays_of_tuples_stay_flat() -> None:
    names = np.empty(2, object)
    names[:] = [("a", 1), ("b", 2)]
    result = round_trip(names)
    assert result.shape == (2,)
    assert result[1] == ("b", 2)


@pytest.mark.parametrize("container", [sp.csr_array, sp.csr_matrix])
def test_csr(container: type) -> None:
    value = container(np.array([[0, 2.0, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32))
    result = round_trip(value)
    assert type(result) is container
    assert result.dtype == value.dtype
    assert_array_equal(result.toarray(), value.toarray())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.int64])
def test_tensors(dtype: torch.dtype) -> None:
    value = (torch.arange(6).reshape(2, 3).T % 4).to(dtype)
    result = round_trip(value)
    assert result.dtype == dtype
    assert torch.equal(result, value)
    assert result.stride() == value.stride() or not value.is_contiguous()


def test_parameters() -> None:
    value = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    result = round_trip(value)
    assert isinstance(result, torch.nn.Parameter)
    assert not result.requires_grad


def test_modules_with_all_they_have() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3), Dropout(0.1))
    module[1].eval()
    result = round_trip(module)
    assert repr(result) == repr(module)
    assert [part.training for part in result] == [True, False, True]
    assert result.state_dict().keys() == module.state_dict().keys()
    X = torch.randn(4, 2)
    assert torch.equal(result.eval()(X), module.eval()(X))


def test_what_is_met_twice_is_stored_once_and_stays_one_object() -> None:
    array, tensor, matrix = np.arange(5.0), torch.ones(3), sp.csr_array(np.eye(2))
    encoder = torch.nn.Sequential(torch.nn.Linear(2, 3), Dropout(0.1))
    values = [array, tensor, matrix, encoder]
    tree, stored = encode([values, {"again": list(values)}, array.copy()], "value")
    assert len(stored) == 1 + 1 + 3 + 2 + 1
    first, second, alike = decode(json.loads(json.dumps(tree)), stored)
    assert all(one is other for one, other in zip(first, second["again"], strict=True))
    assert alike is not first[0]


def test_a_module_shares_what_it_shared() -> None:
    """Tied weights, a module under two names, and one inside two others."""
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    module = torch.nn.ModuleList([torch.nn.Sequential(first, second, first), first])
    result = round_trip(module)
    assert result[0][0] is result[0][2] is result[1]
    assert result[0][0].weight is result[0][1].weight
    assert result[0][1].bias is None
    assert [name for name, _ in result.named_parameters()] == [
        name for name, _ in module.named_parameters()
    ]


def test_generators_go_on() -> None:
    generator = np.random.RandomState(0)
    generator.normal()
    assert round_trip(generator).normal() == generator.normal()


@pytest.mark.parametrize(
    "value",
    [
        {1, 2}, lambda: 0, object(), open, 1j, np.complex64(1), np.array([1j]),
        np.datetime64("2020"), np.dtype([("a", int)]), sp.csc_array(np.eye(2)),
        np.ma.masked_array([1.0]), range(3), b"bytes", torch.nn.Conv1d(1, 1, 1),
        torch.ones(1) * 1j, np.random.default_rng(0),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_other_values_are_refused_with_their_place(value: Any) -> None:
    with pytest.raises(TypeError, match=r"value\[0\]\['key'\].*cannot be saved"):
        encode([{"key": value}], "value")


def test_a_class_that_only_has_the_name_of_an_allowed_one_is_refused() -> None:
    class NeighborVote:
        pass

    with pytest.raises(TypeError, match="cannot be saved"):
        encode(NeighborVote(), "value")


@pytest.mark.parametrize("kind", _NAMES)
def test_every_allowed_name_is_found(kind: str) -> None:
    classes = registered_classes(kind)
    assert classes
    assert all(is_registered(kind, cls) for cls in classes)


def test_a_value_that_died_leaves_its_place_to_no_other() -> None:
    writer = Writer(CODECS)
    nodes = [writer.node(np.array([i]), "value") for i in range(50)]
    assert {node["$"] for node in nodes} == {"array"}
