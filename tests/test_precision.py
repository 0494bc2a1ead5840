"""bfloat16 and compiled encoders: what runs in which precision, and what is left behind."""

from __future__ import annotations

import pickle
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sklearn_mlcl.training import net as encoding
from sklearn_mlcl.training import variational
from tests.small import every_ensemble, every_net, small


class Watched(nn.Linear):
    """Notes the dtype that it returns."""

    dtypes: ClassVar[set[torch.dtype]] = set()

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        out = super().forward(X)
        if self.training:
            Watched.dtypes.add(out.dtype)
        return out


@every_net
@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_is_that_of_the_encoder_in_training(
    make: Any, precision: str, dtype: torch.dtype, label_data: Any
) -> None:
    X, Y = label_data
    Watched.dtypes = set()
    losses = []
    clf = small(make, module=lambda d: Watched(d, 8), net_params__precision=precision)
    forward = encoding.encoded

    def watched(*args: Any) -> torch.Tensor:
        losses.append(forward(*args).dtype)
        return forward(*args)

    with pytest.MonkeyPatch.context() as patch:
        for room in (encoding, variational):
            patch.setattr(room, "encoded", watched)
        clf.fit(X, Y)
    assert Watched.dtypes == {dtype}
    assert set(losses) == {torch.float32}, "the objective sees float32"
    assert all(p.dtype == torch.float32 for p in clf.net_.module_.parameters())
    for dtype_of_X in (np.float32, np.float64):
        assert clf.predict_proba(X.astype(dtype_of_X)).dtype == dtype_of_X


@every_net
def test_bf16_learns_nearly_the_same(make: Any, label_data: Any) -> None:
    X, Y = label_data
    full, half = (
        small(make, learning_rate=0.01, net_params__precision=p).fit(X, Y)
        for p in ("float32", "bf16")
    )
    assert_allclose(half.history_["train_loss"], full.history_["train_loss"], rtol=0.02)
    assert np.abs(half.predict_proba(X) - full.predict_proba(X)).max() < 0.1
    assert not np.array_equal(half.predict_proba(X), full.predict_proba(X))


@every_ensemble
@pytest.mark.parametrize("n_estimators", [1, 2])
def test_predictions_in_half_precision(make: Any, n_estimators: int, label_data: Any) -> None:
    """The encoder alone, of float32 samples, from the moment that it is asked for."""
    X, Y = label_data
    rows = X.astype(np.float32)
    clf = small(make, module=lambda d: Watched(d, 8), n_estimators=n_estimators).fit(X, Y)
    full = [clf.predict_proba(rows), clf.transform(rows)]
    exact = clf.predict_proba(X.astype(np.float64))
    clf.set_params(net_params__predict_precision="bf16")
    half = [clf.predict_proba(rows), clf.transform(rows)]
    for one, other in zip(half, full, strict=True):
        assert one.dtype == np.float32 and not np.array_equal(one, other)
        assert_allclose(one, other, atol=0.05)
    # Embeddings of bfloat16, and log-odds of more digits than it has.
    bits = half[1].view(np.uint32)
    assert not (bits & 0xFFFF).any() and (half[0].view(np.uint32) & 0xFFFF).any()
    assert_array_equal(clf.predict_proba(X.astype(np.float64)), exact)
    assert all(p.dtype == torch.float32 for p in clf.predictor_.parameters())


@every_net
def test_compile_is_for_training_only(
    make: Any, label_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch.compile returns is called for every batch, and nothing of it stays."""
    X, Y = label_data
    calls: list[nn.Module] = []

    def compile_(module: nn.Module) -> Any:
        def run(rows: torch.Tensor) -> torch.Tensor:
            calls.append(module)
            return module(rows)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    plain = small(make).fit(X, Y)
    assert not calls
    clf = small(make, net_params__compile=True).fit(X, Y)
    n_batches = -(-len(X) // clf.net_.batch_size)
    assert len(calls) == 3 * n_batches and {id(m) for m in calls} == {id(clf.net_.encoder_)}
    assert not encoding._COMPILED
    assert clf.net_.module_.state_dict().keys() == plain.net_.module_.state_dict().keys()
    again = pickle.loads(pickle.dumps(clf))
    assert_allclose(again.predict_proba(X), plain.predict_proba(X), rtol=1e-6)
    assert len(calls) == 3 * n_batches


def test_a_compiled_module_is_given_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module: module)
    module = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), encoding.compiled(module, True):
        assert module in encoding._COMPILED
        raise ZeroDivisionError
    assert module not in encoding._COMPILED
