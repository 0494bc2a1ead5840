"""What is loaded is what was saved: its answers, its parameters, the way it goes on."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone

import sklearn_mlcl
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelMLPClassifier
from sklearn_mlcl.persistence import ModelFileError
from sklearn_mlcl.persistence._skops import decode_torch, encode_torch
from tests.persistence._cases import CASES, FRAMES, PARTLY, X, Y, contrastive, fitted, mlp, rows

#: What an installation without extras lacks.
EXTRAS = ["matplotlib", "onnx", "onnxruntime", "onnxscript", "pandas", "rich", "skops"]


def again(estimator: Any, folder: Path, **options: Any) -> Any:
    estimator.save(folder / "model", **options)
    return sklearn_mlcl.load(folder / "model")


def assert_same_answers(one: Any, other: Any) -> None:
    for X_new in rows(one):
        for method in ("predict_proba", "decision_function", "predict", "transform"):
            if hasattr(one, method):
                assert_same(getattr(other, method)(X_new), getattr(one, method)(X_new))


def assert_same(one: Any, other: Any) -> None:
    """Of the same types all the way down, with the same values."""
    assert type(one) is type(other)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    elif sp.issparse(one):
        assert one.dtype == other.dtype
        assert_array_equal(one.toarray(), other.toarray())
    elif isinstance(one, np.ndarray):
        assert_array_equal(one, other, strict=True)
        assert one.flags.c_contiguous == other.flags.c_contiguous
    elif isinstance(one, torch.Tensor):
        assert_array_equal(one.detach().numpy(), other.detach().numpy(), strict=True)
        assert one.stride() == other.stride()
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        assert_same(list(one.values()), list(other.values()))
    elif hasattr(one, "saved_state"):
        assert_same(one.saved_state(), other.saved_state())
    elif isinstance(one, np.random.RandomState):
        assert_same(one.get_state(legacy=False), other.get_state(legacy=False))
    elif isinstance(one, torch.nn.Module):
        assert repr(one) == repr(other)
        assert one.training == other.training
        assert_same(one.state_dict(), other.state_dict())
        assert [p.requires_grad for p in one.parameters()] == [
            p.requires_grad for p in other.parameters()
        ]
    elif type(one).__module__.startswith("sklearn"):
        left_out = getattr(one, "not_in_files", set())
        assert all(vars(other)[name] is None for name in left_out & vars(one).keys())
        kept = ({k: v for k, v in vars(x).items() if k not in left_out} for x in (one, other))
        assert_same(*kept)
    else:
        assert one == other or one != one


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_estimator_is_the_one_that_was_saved(name: str, tmp_path: Path) -> None:
    estimator = fitted(name)
    loaded = again(estimator, tmp_path)
    assert_same_answers(estimator, loaded)
    assert_same(estimator, loaded)
    assert_same(estimator.get_params(), loaded.get_params())


@pytest.mark.parametrize("name", ["contrastive", "names", "MLP", "C-GMVAE", "optimizer"])
def test_training_goes_on_as_if_nothing_had_been(name: str, tmp_path: Path) -> None:
    one = copy.deepcopy(fitted(name))
    other = again(one, tmp_path, optimizer=True)
    assert_same(*(e.net_.saved_state(optimizer=True) for e in (one, other)))
    data = FRAMES if name == "names" else (X, Y)
    before = one.predict_proba(data[0])
    for estimator in (one, other):
        estimator.partial_fit(*data)
        estimator.set_params(warm_start=True).fit(*data)
        assert estimator.n_iter_ == 5
    assert_same_answers(one, other)
    assert np.abs(one.predict_proba(data[0]) - before).max() > 1e-4


@pytest.mark.parametrize("name", ["contrastive", "C-GMVAE", "optimizer", "CSR"])
def test_no_optimizer_leaves_unless_it_is_asked_for(name: str, tmp_path: Path) -> None:
    """A pickle and a file go on alike, with a new optimizer, and weigh about the weights."""
    one = copy.deepcopy(fitted(name))
    pickled, loaded = pickle.loads(pickle.dumps(one)), again(one, tmp_path)
    size = (tmp_path / "model").stat().st_size
    moments = [m for state in one.net_.optimizer_.state.values() for m in state.items()]
    again(one, tmp_path, optimizer=True)
    left_out = sum(tensor.nbytes for _, tensor in moments)
    assert (tmp_path / "model").stat().st_size >= size + left_out > size
    names = {key for key, _ in moments} - {"step"}
    assert names and not any(key.encode() in pickle.dumps(one) for key in names)
    for twin in (pickled, loaded):
        assert not twin.net_.optimizer_.state
        assert all(p.grad is None for _, p in twin.net_.get_all_learnable_params())
    pickled.partial_fit(X, Y)
    loaded.partial_fit(X, Y)
    assert_same_answers(pickled, loaded)
    one.net_.initialize_optimizer()
    assert_same_answers(one.partial_fit(X, Y), loaded)


def test_a_queue_and_missing_labels_go_on(tmp_path: Path) -> None:
    one = copy.deepcopy(fitted("missing labels"))
    other = again(one, tmp_path, optimizer=True)
    assert len(other.net_.criterion_.queue) == len(one.net_.criterion_.queue) == 16
    for estimator in (one, other):
        estimator.partial_fit(X, PARTLY)
    assert_same_answers(one, other)


def test_fit_starts_anew(tmp_path: Path) -> None:
    loaded = again(fitted("contrastive"), tmp_path)
    assert_same_answers(fitted("contrastive"), loaded.fit(X, Y))


def test_a_fresh_process_with_the_runtime_requirements_alone(tmp_path: Path) -> None:
    names = ["contrastive", "CSR", "tuned", "pick all labels", "C-GMVAE, draws", "calibrated"]
    np.save(tmp_path / "X.npy", X)
    for i, name in enumerate(names):
        fitted(name).save(tmp_path / f"{i}.safetensors")
    script = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *args):
        extra = name.partition(".")[0] in {EXTRAS}
        return None if extra else self.finder.find_spec(name, *args)
sys.meta_path[:] = map(Without, sys.meta_path)
import numpy as np, sklearn_mlcl
X = np.load("X.npy")
for i in range({len(names)}):
    np.save(f"{{i}}.npy", sklearn_mlcl.load(f"{{i}}.safetensors").predict_proba(X))
"""
    root = str(Path(sklearn_mlcl.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        check=True,
    )
    for i, name in enumerate(names):
        expected = fitted(name).predict_proba(X)
        assert_array_equal(np.load(tmp_path / f"{i}.npy"), expected, strict=True)


@pytest.mark.parametrize("name", ["contrastive", "C-GMVAE", "fixed frame", "optimizer"])
def test_nothing_of_the_process_decides_what_loads(name: str, tmp_path: Path) -> None:
    """Neither torch's default dtype and device nor a GPU that is named but not there."""
    estimator = copy.copy(fitted(name)).set_params(device="cuda:7")
    estimator.save(tmp_path / "model")
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            loaded = sklearn_mlcl.load(tmp_path / "model").set_params(device="cpu")
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(state, torch.get_rng_state())
    assert_same_answers(fitted(name), loaded)


def test_the_class_is_checked(tmp_path: Path) -> None:
    fitted("MLP").save(tmp_path / "model")
    assert_same_answers(fitted("MLP"), MultiLabelMLPClassifier.load(tmp_path / "model"))
    expected = "model'.*holds a MultiLabelMLPClassifier, expected a Contrastive"
    with pytest.raises(ModelFileError, match=expected):
        ContrastiveMultiLabelClassifier.load(tmp_path / "model")


def test_a_prefitted_base_is_stored_once(tmp_path: Path) -> None:
    from sklearn_mlcl import MultiLabelThresholdClassifierCV

    base = fitted("contrastive")
    tuned = MultiLabelThresholdClassifierCV(base, cv="prefit").fit(X, Y)
    assert_same_answers(tuned, again(tuned, tmp_path))
    alone = tmp_path / "alone"
    base.save(alone)
    assert (tmp_path / "model").stat().st_size < 1.5 * alone.stat().st_size


def test_the_net_and_a_predictor_share_their_encoder(tmp_path: Path) -> None:
    """In a file and in what skops stores; weights that training moves are those that predict."""
    estimator = fitted("MLP")
    state = decode_torch(encode_torch(vars(estimator)))
    loaded = again(estimator, tmp_path)
    for predictor, net in ((state["predictor_"], state["net_"]), (loaded.predictor_, loaded.net_)):
        assert predictor.encoder is net.module_
        (trained,) = net.optimizer_.param_groups[0]["params"][:1]
        assert any(trained is parameter for parameter in predictor.parameters())


def test_requests_of_metadata_routing_are_kept(tmp_path: Path) -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        one = clone(fitted("logistic")).set_fit_request(sample_weight=True)
        one.set_score_request(sample_weight="weights_of_scores").fit(X, Y)
        other = again(one, tmp_path)
        requests = other.get_metadata_routing()
        assert requests.fit.requests == {"sample_weight": True}
        assert requests.score.requests == {"sample_weight": "weights_of_scores"}
        assert str(requests) == str(one.get_metadata_routing())
    assert other._metadata_request.owner is other


# ---------------------------------------------------------------------- pickle


@pytest.mark.parametrize("name", ["contrastive", "C-GMVAE", "monitors", "optimizer"])
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_pickles_and_copies_hold_all_of_a_net(name: str, protocol: int) -> None:
    estimator = fitted(name)
    for twin in (
        pickle.loads(pickle.dumps(estimator, protocol=protocol)),
        copy.deepcopy(estimator),
    ):
        assert_same_answers(estimator, twin)
        twin.partial_fit(X, Y)
        assert twin.n_iter_ == estimator.n_iter_ + 1


class Counting(ContrastiveMultiLabelClassifier):
    """A user's estimator with a say in its pickles."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "n_pickles_": getattr(self, "n_pickles_", 0) + 1}


def test_a_subclass_has_its_say_in_its_pickles() -> None:
    twin = pickle.loads(pickle.dumps(Counting(max_epochs=1).fit(X, Y)))
    assert pickle.loads(pickle.dumps(twin)).n_pickles_ == 2


def test_a_shallow_copy_of_a_net_shares_its_weights() -> None:
    net = fitted("contrastive").net_
    twin = copy.copy(net)
    assert twin is not net
    assert twin.module_ is net.module_


def tensors_in(value: Any, met: set[int]) -> list[torch.Tensor]:
    """Return all tensors that can be reached from a value."""
    if id(value) in met:
        return []
    met.add(id(value))
    if isinstance(value, torch.Tensor):
        gradient = [] if value.grad is None else [value.grad]
        return [value, *gradient]
    inside: list[Any] = []
    if isinstance(value, dict):
        inside = list(value.values())
    elif isinstance(value, list | tuple | set):
        inside = list(value)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        inside = list(vars(value).values())
    return [tensor for part in inside for tensor in tensors_in(part, met)]


@pytest.mark.parametrize("name", ["contrastive", "missing labels", "C-GMVAE", "pick all labels"])
def test_what_a_pickle_holds_was_brought_to_the_cpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU here: the fit's own device stands in for one, and is asked to hand everything back."""
    from sklearn_mlcl.training import IndexBatchNet

    moved: list[torch.device] = []
    to = IndexBatchNet.to
    monkeypatch.setattr(IndexBatchNet, "to", lambda net, d: (moved.append(d), to(net, d))[1])
    estimator = CASES[name]()
    assert moved[-1] == torch.device("cpu")
    assert estimator.net_.device == "cpu"
    tensors = tensors_in(estimator, set())
    assert len(tensors) > 10
    assert {tensor.device.type for tensor in tensors} == {"cpu"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("estimator", [contrastive(device="cuda"), mlp(device="cuda")])
def test_from_gpu_to_cpu(estimator: Any, tmp_path: Path) -> None:
    estimator.fit(X, Y)
    assert {t.device.type for t in tensors_in(estimator, set())} == {"cpu"}
    for twin in (pickle.loads(pickle.dumps(estimator)), again(estimator, tmp_path)):
        twin.set_params(device="cpu")
        np.testing.assert_allclose(twin.predict_proba(X), estimator.predict_proba(X), atol=1e-5)
