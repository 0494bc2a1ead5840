"""Files of strangers: what is in them is checked against models that are built anew."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

import sklearn_mlcl
from sklearn_mlcl import CGMVAEClassifier, MultiLabelLogisticRegression
from sklearn_mlcl.persistence import ModelFileError
from tests.persistence import _forge
from tests.persistence._cases import X, Y, fitted
from tests.processes import in_process

Forgery = Callable[[Any, dict[str, np.ndarray]], Any]


def nodes(tree: Any) -> list[dict[str, Any]]:
    return [c[k] for c, k in _forge._places([tree]) if isinstance(c[k], dict)]


def field(tree: Any, *path: str) -> Any:
    """Return what stands at a path of attributes and keys."""
    for name in path:
        if tree["$"] == "reference":
            raise AssertionError(f"{name} is stored elsewhere")
        if tree["$"] == "dict":
            tree = next(value for key, value in tree["items"] if key == name)
        else:
            tree = tree["fields"][name]
    return tree


def refused(name: str, forgery: Forgery, folder: Path) -> str:
    """Forge the file of a case and return why it is refused."""
    path = folder / "forged"
    fitted(name).save(path, optimizer=True)
    header, tree, arrays = _forge.read(path)
    changed = forgery(tree, arrays)
    _forge.write(path, header, tree if changed is None else changed, arrays)
    with pytest.raises(ModelFileError, match="forged' cannot be loaded") as error:
        sklearn_mlcl.load(path)
    return str(error.value)


def other_looks(array: np.ndarray) -> list[np.ndarray]:
    """Return an array in other shapes and another dtype."""
    dtype = np.float32 if array.dtype == np.float64 else np.float64
    longer = np.concatenate([array.reshape(-1), array.reshape(-1)[:1]])
    return [array[None], longer, array.astype(dtype)]


def test_no_file_starts_a_compiler(tmp_path: Path) -> None:
    clf = clone(fitted("MLP")).set_params(net_params__compile=True)
    vars(clf).update({k: v for k, v in vars(fitted("MLP")).items() if k not in clf.get_params()})
    clf.save(tmp_path / "honest")
    loaded = sklearn_mlcl.load(tmp_path / "honest")
    assert loaded.get_params()["net_params__compile"] is False
    assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))

    def compiled(tree: Any, arrays: Any) -> None:
        tree["fields"]["net_params"] = {"$": "dict", "items": [["compile", True]]}

    assert "compile=True" in refused("MLP", compiled, tmp_path)


#: What is no state of the net nor of the predictor: records, and the counts of the labels.
RECORDS = ("history_", "classes_", "_format", "counts", "unit")


@pytest.mark.parametrize("name", ["contrastive", "missing labels", "C-GMVAE", "fixed frame"])
def test_every_tensor_has_its_shape_and_dtype(name: str, tmp_path: Path) -> None:
    path = tmp_path / "forged"
    fitted(name).save(path, optimizer=True)
    header, tree, arrays = _forge.read(path)
    kept = {
        node["name"]
        for record in RECORDS
        for owner in nodes(tree)
        if record in owner.get("fields", {})
        for node in nodes(owner["fields"][record])
        if node.get("$") == "array"
    }
    assert len(arrays) - len(kept) > 20
    for i, at in enumerate(sorted(arrays.keys() - kept)):
        changed = other_looks(arrays[at])[i % 3]
        twin = json.loads(json.dumps(tree))
        for node in nodes(twin):
            if node.get("name") == at:
                node["axes"] = list(range(changed.ndim))
        _forge.write(path, header, twin, {**arrays, at: changed})
        with pytest.raises(ModelFileError, match="forged"):
            sklearn_mlcl.load(path)


def state_of_optimizer(tree: Any, arrays: Any) -> None:
    moments = field(tree, "net_", "optimizer", "state")["items"][0][1]
    node = field(moments, "exp_avg", "data")
    arrays[node["name"]] = arrays[node["name"]].reshape(-1)[:2]
    node["axes"] = [0]


def option_of_optimizer(tree: Any, arrays: Any) -> None:
    group = field(tree, "net_", "optimizer", "param_groups")[0]
    next(pair for pair in group["items"] if pair[0] == "fused")[1] = False


def position_of_generator(tree: Any, arrays: Any) -> None:
    state = field(tree, "random_state", "state")
    next(pair for pair in state["items"] if pair[0] == "pos")[1] = 10**6


def wide_dtype(tree: Any, arrays: Any) -> None:
    field(tree, "_format", "dtype")["text"] = "<U250000000"


def wide_items(tree: Any, arrays: Any) -> None:
    field(tree, "_format", "classes").update(dtype="<U250000000")


def deep(tree: Any, arrays: Any) -> str:
    return "[" * 100_000 + "]" * 100_000


def many_lists(tree: Any, arrays: Any) -> str:
    return "[" + "[]," * 5_000_000 + "0]"


def laughs(tree: Any, arrays: Any) -> None:
    """Ten lines of references that stand for 2^50 modules."""
    node: dict[str, Any] = {"$": "module", "class": "Identity", "id": 1000, "fields": {}}
    node |= {"training": True, "parameters": [], "buffers": {}, "modules": []}
    for i in range(50):
        inside = {"0": node, "1": {"$": "reference", "id": node["id"]}}
        node = {**node, "class": "Sequential", "id": 1001 + i, "fields": inside}
        node["modules"] = ["0", "1"]
    tree["fields"]["extra_"] = node


def vote_out_of_bounds(tree: Any, arrays: Any) -> None:
    node = field(tree, "predictor_", "neighbors", "voter", "data")
    arrays[node["name"]] = arrays[node["name"]].copy()
    arrays[node["name"]][-1] = 2**30


def sums_out_of_bounds(tree: Any, arrays: Any) -> None:
    node = field(tree, "predictor_", "neighbors", "first_vote", "data")
    arrays[node["name"]] = arrays[node["name"]].copy()
    # In int32 the differences of these are positive.
    arrays[node["name"]][0, 1:4] = 2**31 - 1, -(2**31), -1


def blocks_of_nothing(tree: Any, arrays: Any) -> None:
    field(tree, "predictor_", "neighbors")["fields"]["block_size"] = 0


def label_out_of_bounds(tree: Any, arrays: Any) -> None:
    node = field(tree, "decoder_", "labels")
    arrays[node["name"]] = arrays[node["name"]] + 10**6


def many_labels(tree: Any, arrays: Any) -> None:
    tree["fields"]["decoder_"]["fields"]["n_labels"] = 10**9
    field(tree, "decoder_", "own_sets")["shape"][1] = 10**9


def many_features(tree: Any, arrays: Any) -> None:
    tree["fields"]["n_features_in_"] = 10**9


def many_draws(tree: Any, arrays: Any) -> None:
    for pair in field(tree, "net_params")["items"]:
        if pair[0] == "n_predict_samples":
            pair[1] = 10**9


def many_samples(tree: Any, arrays: Any) -> None:
    field(tree, "net_", "criterion")["fields"]["n_latent_samples"] = 10**9


def wide_layer(tree: Any, arrays: Any) -> None:
    layer = field(tree, "predictor_", "encoder", "encoder", "0")
    layer["fields"].update(n_in=10**9, n_out=10**9)


def empty_but_wide(tree: Any, arrays: Any) -> None:
    node = field(tree, "coef_")
    arrays[node["name"]] = np.zeros((0, 10**12))


def twice(tree: Any, arrays: Any) -> None:
    tree["fields"]["C_"] = {**field(tree, "coef_"), "id": 999}


def shadow(tree: Any, arrays: Any) -> None:
    tree["fields"]["predict"] = "nothing"


def method(tree: Any, arrays: Any) -> None:
    tree["fields"]["_method"] = "save"


def parameter(tree: Any, arrays: Any) -> None:
    tree["fields"]["max_iter"] = "many"


FORGERIES: list[tuple[str, Forgery, str]] = [
    ("contrastive", state_of_optimizer, "an optimizer keeps exp_avg"),
    ("contrastive", option_of_optimizer, "has the option fused=False"),
    ("random state", position_of_generator, "stands at 1000000"),
    ("logistic", wide_dtype, "names the dtype '<U250000000'"),
    ("classes in words", wide_items, "names the dtype '<U250000000'"),
    ("logistic", deep, "nest 100,000 levels deep"),
    ("logistic", many_lists, "bytes of values"),
    ("logistic", laughs, "references stand for"),
    ("CSR array of labels", vote_out_of_bounds, "no such sample"),
    ("CSR array of labels", sums_out_of_bounds, "no such label"),
    ("CSR array of labels", blocks_of_nothing, "blocks of 0"),
    ("nearest prototype", label_out_of_bounds, "labels of the decoder"),
    ("nearest prototype", many_labels, "width 1000000000"),
    ("contrastive", many_features, "width 1000000000"),
    ("C-GMVAE, draws", many_draws, "n_predict_samples"),
    ("C-GMVAE", many_samples, "n_latent_samples"),
    ("contrastive", wide_layer, "StackedLinear.weight is"),
    ("logistic", empty_but_wide, "is empty, but has the shape"),
    ("logistic", twice, "uses it twice"),
    ("logistic", shadow, "sets 'predict'"),
    ("calibrated", method, "from the method 'save'"),
    ("logistic", parameter, "'max_iter' parameter"),
]


@pytest.mark.parametrize(("name", "forgery", "message"), FORGERIES)
def test_forgeries_are_refused_and_cost_little(
    name: str, forgery: Forgery, message: str, tmp_path: Path
) -> None:
    fitted(name)
    tracemalloc.start()
    try:
        assert message in refused(name, forgery, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_a_class_at_the_root_that_is_not_the_one_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "forged"
    fitted("logistic").save(path)
    header, tree, arrays = _forge.read(path)
    _forge.write(path, {**header, "class": "CGMVAEClassifier"}, tree, arrays)
    for load in (sklearn_mlcl.load, CGMVAEClassifier.load):
        with pytest.raises(ModelFileError, match="holds a MultiLabelLogisticRegression, not a CGM"):
            load(path)
    with pytest.raises(ModelFileError, match="holds a CGMVAEClassifier, expected a MultiLabelLog"):
        MultiLabelLogisticRegression.load(path)


def test_what_is_rewritten_without_a_change_loads(tmp_path: Path) -> None:
    path = tmp_path / "same"
    fitted("contrastive").save(path)
    _forge.write(path, *_forge.read(path))
    loaded = sklearn_mlcl.load(path)
    assert_array_equal(loaded.predict_proba(X), fitted("contrastive").predict_proba(X))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path, random = tmp_path / "damaged", Random(0)
    fitted("C-GMVAE").save(path)
    content = path.read_bytes()
    for _ in range(300):
        path.write_bytes(_forge.mutated(content, random))
        try:
            assert isinstance(sklearn_mlcl.load(path), CGMVAEClassifier)
        except ModelFileError as error:
            assert str(path) in str(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_short_run_of_the_fuzzer(tmp_path: Path) -> None:
    """In a process of its own: its children are forked from one that never fitted."""
    from tests import fuzz_files  # there is no fork on Windows, nor what it imports

    names = ["contrastive", "C-GMVAE", "nearest label set", "logistic"]
    for name in names:
        fitted(name).save(tmp_path / name)
    np.savez(tmp_path / "samples.npz", X=X, Y=Y)
    counts = in_process(fuzz_files.run, tmp_path, names, 3.0, 0)
    assert counts["forged files"] and counts["damaged files"] and counts["kills"]
    assert [key for key in counts if key.startswith("HARM")] == []


def test_partial_fit_after_load_moves_all_weights(tmp_path: Path) -> None:
    """The checks left the net and its optimizer as they were."""
    path = tmp_path / "model"
    fitted("contrastive").save(path)
    loaded = sklearn_mlcl.load(path)
    before = [p.detach().clone() for p in loaded.net_.module_.parameters()]
    loaded.partial_fit(X, Y)
    after = loaded.net_.module_.parameters()
    assert all((a != b).any() for a, b in zip(before, after, strict=True))
