"""A ``module`` with inputs of its own: token ids and masks, images, rows of floats."""

from __future__ import annotations

import copy
import pickle
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import Tensor, nn

import sklearn_mlcl
from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.metrics import get_scorer
from sklearn_mlcl.modules import pack_inputs
from tests.small import every_net, small

N_WORDS, LENGTH = 12, 6


class Words(nn.Module):
    """A small transformer on token ids; 0 is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(N_WORDS, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        assert not ids.is_floating_point()
        mask = ids > 0 if mask is None else mask
        hidden = self.layers(self.words(ids), src_key_padding_mask=~mask)
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class Packed(Words):
    def forward(self, inputs: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(inputs["ids"], inputs["mask"])


class Images(nn.Module):
    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, X: Tensor) -> Tensor:
        pixels = X if X.is_floating_point() else X.float() / 255
        return self.layers(pixels).flatten(1)


class Rows(nn.Linear):
    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 8)


def token_ids() -> tuple[np.ndarray, np.ndarray]:
    """Texts of up to six words; a label says whether a word is in the text."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, N_WORDS, (200, LENGTH))
    ids[np.arange(LENGTH) >= rng.integers(3, LENGTH + 1, 200)[:, None]] = 0
    return ids, np.stack([(ids == word).any(1) for word in (1, 2, 3)], axis=1).astype(int)


def packed() -> tuple[np.ndarray, np.ndarray]:
    ids, Y = token_ids()
    return pack_inputs(ids=ids, mask=ids > 0), Y


def images(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 100, (200, 2, 5, 5))
    Y = rng.integers(0, 2, (200, 2))
    X += 100 * Y[:, :, None, None]
    return (X / 255).astype(dtype) if dtype is not np.uint8 else X.astype(dtype), Y


CASES: dict[str, tuple[Any, Any]] = {
    "ids": (Words, token_ids),
    "ids and mask": (Packed, packed),
    "images": (Images, lambda: images(np.float32)),
    "bytes": (Images, lambda: images(np.uint8)),
    "float64": (Images, lambda: images(np.float64)),
    "rows": (Rows, lambda: (lambda X, Y: (X.reshape(200, -1), Y))(*images(np.float32))),
}
SOME_CASES = ["ids and mask", "bytes", "float64"]
every_case = pytest.mark.parametrize("case", CASES)


def classifier(make: Any, module: Any, **changes: Any) -> Any:
    changes = {"max_epochs": 25, "learning_rate": 0.02, "n_estimators": 1} | changes
    known = make().get_params()
    if "n_estimators" not in known:
        del changes["n_estimators"]
    return small(make, module=module, scale_input=False, **changes)


# Samples reach every net in one way: the MLP shows all kinds.
@pytest.mark.parametrize(
    ("make", "case"),
    [
        *product([MultiLabelMLPClassifier], CASES),
        *product([ContrastiveMultiLabelClassifier, CGMVAEClassifier], SOME_CASES),
    ],
)
def test_it_learns_and_answers_as_any_other(make: Any, case: str, tmp_path: Path) -> None:
    module, data = CASES[case]
    X, X_test, Y, Y_test = train_test_split(*data(), random_state=0)
    clf = classifier(make, module).fit(X, Y)
    answer = clf.predict_proba(X_test)
    assert roc_auc_score(Y_test, answer, average="macro") > 0.85
    assert answer.dtype == (np.float64 if X.dtype == np.float64 else np.float32)
    one_by_one = np.vstack([clf.predict_proba(X_test[i : i + 1]) for i in range(5)])
    assert_allclose(one_by_one, answer[:5], atol=1e-5)
    n_embedding = 64 if make is CGMVAEClassifier else 8
    assert clf.transform(X_test).shape == (len(X_test), n_embedding)
    assert clf.oof_proba_.shape == Y.shape and set(clf.validation_scores_) >= {"f1_micro"}
    assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(X_test), answer)
    clf.save(tmp_path / "model")
    loaded = sklearn_mlcl.load(tmp_path / "model", module=module)
    assert_array_equal(loaded.predict_proba(X_test), answer)
    assert loaded.partial_fit(X, Y).n_iter_ == clf.n_iter_ + 1
    with torch.no_grad():
        inputs = {n: torch.from_numpy(X_test[n].copy(order="C")) for n in X.dtype.names or ()}
        out = clf.to_module()(inputs or torch.from_numpy(X_test).to(_float32_of(X_test)))
    assert_allclose(out, answer, atol=1e-5)


def _float32_of(X: np.ndarray) -> torch.dtype | None:
    return torch.float32 if X.dtype.kind == "f" else None


@every_case
def test_members_share_their_samples(case: str) -> None:
    module, data = CASES[case]
    X, Y = data()
    clf = classifier(MultiLabelMLPClassifier, module, n_estimators=4, max_epochs=3).fit(X, Y)
    assert clf.transform(X).shape == (len(X), 4 * 8)
    assert clf.uncertainty(X[:3]).shape == (3, Y.shape[1])
    assert_array_equal(clone(clf).fit(X, Y).predict_proba(X), clf.predict_proba(X))
    assert np.isfinite(clf.oof_proba_).all(axis=1).sum() < 0.2 * len(X)


class Tokenizer(TransformerMixin, BaseEstimator):
    """Texts to packed ids and masks."""

    def fit(self, X: Any, y: Any = None) -> Tokenizer:
        words = sorted({word for text in X for word in text.split()})
        self.ids_ = {word: k for k, word in enumerate(words[: N_WORDS - 1], start=1)}
        return self

    def transform(self, X: Any) -> np.ndarray:
        ids = np.zeros((len(X), LENGTH), dtype=np.int64)
        for row, text in zip(ids, X, strict=True):
            known = [self.ids_.get(word, 0) for word in text.split()][:LENGTH]
            row[: len(known)] = known
        return pack_inputs(ids=ids, mask=ids > 0)


def test_texts_through_a_pipeline_and_a_search() -> None:
    ids, Y = token_ids()
    texts = [" ".join(f"w{word:02}" for word in row if word) for row in ids]
    pipe = make_pipeline(Tokenizer(), classifier(MultiLabelMLPClassifier, Packed, max_epochs=10))
    grid = {"multilabelmlpclassifier__learning_rate": [1e-6, 0.02]}
    search = GridSearchCV(pipe, grid, cv=2, scoring="roc_auc").fit(texts, Y)
    assert search.best_params_ == {"multilabelmlpclassifier__learning_rate": 0.02}
    assert search.predict(texts[:3]).shape == (3, 3)


def test_a_memory_map_of_images(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("sklearn_mlcl.utils.samples.READ_AT_ONCE", 100)
    for X, Y in (images(np.float32), images(np.uint8), packed()):
        np.save(tmp_path / "X.npy", X)
        module = Packed if X.dtype.names else Images
        clf = classifier(MultiLabelMLPClassifier, module, max_epochs=3)
        mapped = clone(clf).fit(np.load(tmp_path / "X.npy", mmap_mode="r"), Y)
        assert_array_equal(mapped.predict_proba(X), clf.fit(X, Y).predict_proba(X))


def test_weights_groups_and_validation_samples() -> None:
    X, Y = packed()
    clf = classifier(MultiLabelMLPClassifier, Packed, max_epochs=3)
    weight = np.r_[np.zeros(50), np.ones(150)]
    dropped = clone(clf).fit(X, Y, weight, groups=np.arange(200) // 2)
    assert np.isnan(dropped.oof_proba_[:50]).all()
    given = clone(clf).fit(X[50:], Y[50:], X_val=X[:50], y_val=Y[:50])
    assert given.validation_scores_["f1_micro"] >= 0


def test_a_step_costs_what_the_module_costs() -> None:
    """Nothing is added to what the module is given, and nothing is stored beside it."""
    seen: list[Tensor] = []

    class Sees(nn.Module):
        def __init__(self, n_features: int) -> None:
            super().__init__()
            self.linear = nn.Linear(n_features, 4)

        def forward(self, X: Tensor) -> Tensor:
            seen.append(X)
            return self.linear(X)

    X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    Y = (X[:, :2] > 0).astype(int)
    clf = classifier(MultiLabelMLPClassifier, Sees, max_epochs=1).fit(X, Y)
    rows = {row.tobytes() for row in X}
    assert all(row.numpy().tobytes() in rows for batch in seen for row in batch)
    assert type(clf.predictor_.encoder) is Sees and clf.predictor_.linear is None


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.array([["a"], ["b"]] * 10), TypeError, r"module needs numbers.*<U1.*token ids"),
        (np.zeros((20, 2), dtype=object), TypeError, "module needs numbers"),
        (np.zeros(20, dtype=int), ValueError, r"X must have shape \(n_samples, ...\), got \(20,\)"),
        (np.full((20, 1, 2), np.nan), ValueError, "X contains NaN or infinity"),
        (pack_inputs(a=np.full((20, 2), np.inf)), ValueError, r"X\['a'\] contains NaN"),
        (np.zeros((0, 3), dtype=int), ValueError, "X has no samples"),
    ],
)
def test_samples_that_are_refused(X: Any, error: type[Exception], message: str) -> None:
    clf = classifier(MultiLabelMLPClassifier, Words)
    with pytest.raises(error, match=message):
        clf.fit(X, np.ones((len(X), 2), dtype=int))


def test_a_long_epoch_says_how_far_it_is(monkeypatch: Any, capsys: Any) -> None:
    """Four batches of nine seconds: a line after the second and the third."""
    ids, Y = token_ids()
    calls = iter(range(1000))
    monkeypatch.setattr("sklearn_mlcl.training.progress.time.monotonic", lambda: 9.0 * next(calls))
    clf = classifier(MultiLabelMLPClassifier, Words, max_epochs=2, validation=None, verbose=1)
    clf.set_params(batch_size=50).fit(ids, Y)
    lines = [line for line in capsys.readouterr().out.splitlines() if "batches" in line]
    assert lines[:2] == [
        "Epoch 1: 2 of 4 batches, 18 s, about 18 s left, of all epochs 81 s.",
        "Epoch 1: 3 of 4 batches, 27 s, about 9 s left, of all epochs 60 s.",
    ]
    assert [line[:8] for line in lines[2:]] == ["Epoch 2:"] * 2


@pytest.mark.parametrize("times", [1, 4])
def test_chunks_of_predictions_know_the_length(times: int, monkeypatch: Any) -> None:
    ids, Y = token_ids()
    ids = np.tile(ids, (1, times))
    seen: list[int] = []

    class Sees(Words):
        def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
            if not self.training:
                seen.append(len(ids))
            return super().forward(ids, mask)

    clf = classifier(MultiLabelMLPClassifier, Sees, max_epochs=1, neighbor_weight=0.0).fit(ids, Y)
    expected = clf.predict_proba(ids)
    monkeypatch.setattr("sklearn_mlcl.utils.samples.CHUNK_ENTRIES", 20_000)
    seen.clear()
    assert_allclose(clf.predict_proba(ids), expected, atol=1e-6)
    # A token takes an id, and attention has queries, keys, values and the answer, 8 numbers each.
    # The rest is twice the embedding and four times the labels.
    assert seen[0] == 1
    assert max(seen) == 20_000 // (LENGTH * times * (1 + 4 * 8) + 2 * 8 + 4 * 3)


@pytest.mark.parametrize("case", ["ids", "bytes", "rows"])
def test_a_search_over_the_temperature(case: str, tmp_path: Path) -> None:
    module, data = CASES[case]
    X, Y = data()
    clf = classifier(ContrastiveMultiLabelClassifier, module, max_epochs=2, learning_rate=0.002)
    pipe = Pipeline([("as they are", FunctionTransformer()), ("net", clf)])
    grid = {"net__temperature": [0.1, 0.5], "net__net_params__chunk_size": [10]}
    if case == "bytes":
        grid.pop("net__net_params__chunk_size")  # it has batch normalisation
    search = GridSearchCV(pipe, grid, cv=2, scoring=get_scorer("neg_log_loss")).fit(X, Y)
    assert np.ptp(search.cv_results_["mean_test_score"]) > 0
    answer = search.predict_proba(X)
    assert_array_equal(pickle.loads(pickle.dumps(search)).predict_proba(X), answer)
    search.best_estimator_["net"].save(tmp_path / "model")
    loaded = sklearn_mlcl.load(tmp_path / "model", module=module)
    assert_array_equal(loaded.predict_proba(X), answer)


def test_other_samples_than_those_of_the_fit() -> None:
    ids, Y = token_ids()
    clf = classifier(MultiLabelMLPClassifier, Words, max_epochs=1).fit(ids, Y)
    for other in (ids.astype(float), ids[:, None], packed()[0]):
        with pytest.raises(ValueError, match="expected those of the fit"):
            clf.predict(other)
    # Texts may be longer.
    assert clf.predict(np.hstack([ids, ids])).shape == Y.shape
    assert_allclose(clf.predict_proba(ids.astype(np.int32)), clf.predict_proba(ids), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net_params__mixup": 0.5}, "net_params__mixup=0.5 needs floats of shape"),
        ({"linear_weight": 0.5}, "linear_weight=0.5 needs floats of .* got X of dtype int64"),
    ],
)
def test_what_needs_rows_of_floats(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(MultiLabelMLPClassifier, Words, max_epochs=1, **changes).fit(*token_ids())


def test_a_module_in_the_place_of_its_class() -> None:
    ids, Y = token_ids()
    with pytest.raises(TypeError, match=r"module must be a class or a function.*class Words"):
        classifier(MultiLabelMLPClassifier, Words()).fit(ids, Y)
    shared = Words()
    clf = classifier(MultiLabelMLPClassifier, lambda: copy.deepcopy(shared), max_epochs=1)
    before = copy.deepcopy(shared.state_dict())
    clf.fit(ids, Y)
    assert all(torch.equal(before[name], tensor) for name, tensor in shared.state_dict().items())


def test_a_module_that_is_made_without_storage_first() -> None:
    ids, Y = token_ids()
    pretrained = Words()

    def on_meta() -> Words:
        with torch.device("meta"):
            module = Words()
            torch.nn.init.normal_(module.words.weight)
        module.to_empty(device="cpu").load_state_dict(pretrained.state_dict())
        return module

    found = [
        classifier(MultiLabelMLPClassifier, module, max_epochs=1).fit(ids, Y).predict_proba(ids)
        for module in (on_meta, lambda: copy.deepcopy(pretrained))
    ]
    assert_array_equal(*found)


def test_cgmvae_decodes_rows_of_floats_alone() -> None:
    X, Y = images(np.float32)
    clf = classifier(CGMVAEClassifier, Images, net_params__concat_input=True)
    with pytest.raises(ValueError, match=r"concat_input=True needs floats of shape"):
        clf.fit(X, Y)
    clf.set_params(module=Rows).fit(X.reshape(200, -1), Y)
    assert clf.net_.module_.decoder.from_features.in_features == X[0].size


class Without(Words):
    """Embeddings that no training can use."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.change = change

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.change(super().forward(ids))


@every_net
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Tensor.double, r"embeddings of torch\.float32, got torch\.float64: .* \.float\(\)"),
        (Tensor.bfloat16, r"embeddings of torch\.float32, got torch\.bfloat16"),
        (Tensor.detach, r"parameters to train, but its embeddings have no gradient"),
        (lambda embedding: (embedding,), r"for 2 samples it returned tuple"),
    ],
)
def test_embeddings_that_no_head_can_use(make: Any, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(make, lambda: Without(change)).fit(*token_ids())


def test_a_module_that_casts_its_samples_itself() -> None:
    X, Y = images(np.float64)
    clf = classifier(MultiLabelMLPClassifier, Casts, max_epochs=1).fit(X, Y)
    answer = clf.predict_proba(X)
    assert answer.dtype == np.float64
    assert_allclose(clf.predict_proba(X.astype(np.float32)), answer, atol=1e-6)


class Casts(Images):
    def forward(self, X: Tensor) -> Tensor:
        return super().forward(X.float())


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64, np.int32])
def test_ids_of_any_width(dtype: type) -> None:
    ids, Y = token_ids()
    clf = classifier(MultiLabelMLPClassifier, Words, max_epochs=1)
    answers = [clf.fit(X, Y).predict_proba(X) for X in (ids, ids.astype(dtype))]
    assert_array_equal(*answers)


def test_ids_of_a_frame_stay_integers_and_keep_their_names() -> None:
    ids, Y = token_ids()
    frame = pd.DataFrame(ids, columns=[*"abcdef"])
    clf = classifier(MultiLabelMLPClassifier, Words, max_epochs=1).fit(frame, Y)
    assert [*clf.feature_names_in_] == [*"abcdef"]
    assert_array_equal(clf.predict_proba(frame), clf.fit(ids, Y).predict_proba(ids))
    with pytest.raises(ValueError, match="feature names should match"):
        clf.fit(frame, Y).predict_proba(frame[[*"fedcba"]])


def test_samples_of_different_lengths() -> None:
    ids, Y = token_ids()
    with pytest.raises(ValueError, match=r"X cannot be read as one array.* Pad samples"):
        classifier(MultiLabelMLPClassifier, Words).fit([ids[0][:3], *ids[1:]], Y)


def test_packing() -> None:
    a, b = np.arange(6).reshape(3, 2), np.array([True, False, True])
    X = pack_inputs(a=a, b=b)
    assert X.dtype.names == ("a", "b") and X.shape == (3,)
    assert_array_equal(X["a"], a)
    assert_array_equal(X[[2, 0]]["b"], b[[2, 0]])
    for wrong in ({}, {"a": a, "b": b[:2]}, {"a": 3}):
        with pytest.raises(ValueError, match="needs arrays of the same samples"):
            pack_inputs(**wrong)


@pytest.mark.parametrize("case", ["ids", "ids and mask", "images", "bytes"])
def test_labels_of_csr_targets_are_drawn_as_those_of_arrays(case: str) -> None:
    module, data = CASES[case]
    X, Y = data()
    clf = classifier(
        ContrastiveMultiLabelClassifier, module, max_epochs=2, loss_params__n_negatives=1
    )
    of_array = clf.fit(X, Y).predict_proba(X)
    assert_allclose(clf.fit(X, sp.csr_matrix(Y)).predict_proba(X), of_array, atol=1e-5)
