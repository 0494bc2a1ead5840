"""The contract that every classifier of the package keeps (design, section 2)."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)

SMALL: dict[str, Any] = {"hidden_layer_sizes": (32,), "max_epochs": 3, "random_state": 0}
ENCODERS = [
    ContrastiveMultiLabelClassifier(n_estimators=2, **SMALL),
    MultiLabelMLPClassifier(n_estimators=2, **SMALL),
]
NETS = [*ENCODERS, CGMVAEClassifier(learning_rate=5e-3, **SMALL, net_params={"embedding_dim": 64})]
ALL = [*NETS, MultiLabelLogisticRegression()]


def by_name(estimator: Any) -> str:
    return type(estimator).__name__


every_classifier = pytest.mark.parametrize("estimator", ALL, ids=by_name)
every_net = pytest.mark.parametrize("estimator", NETS, ids=by_name)
#: Of these the embedding is what the encoder returns; C-GMVAE decodes its own from a latent code.
every_encoder = pytest.mark.parametrize("estimator", ENCODERS, ids=by_name)


@every_classifier
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_shapes_dtypes_and_open_interval(estimator: Any, label_data: Any, dtype: Any) -> None:
    X, Y = label_data
    X = X.astype(dtype)
    clf = clone(estimator).fit(X, Y)
    P, logits = clf.predict_proba(1000 * X), clf.decision_function(X)
    assert P.shape == logits.shape == Y.shape
    assert P.dtype == logits.dtype == dtype
    assert (P > 0).all() and (P < 1).all()
    assert_array_equal(clf.classes_, np.arange(Y.shape[1]))
    assert clf.predict(X).dtype == Y.dtype
    assert clf.score(X, Y) == (clf.predict(X) == Y).all(axis=1).mean()


@every_classifier
@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-7), (np.float32, 1e-5)])
def test_answers_do_not_depend_on_the_batch(
    estimator: Any, label_data: Any, dtype: Any, atol: float
) -> None:
    X, Y = label_data
    X = X.astype(dtype)
    clf = clone(estimator).fit(X, Y)
    one_by_one = np.vstack([clf.predict_proba(row[None]) for row in X])
    assert_allclose(clf.predict_proba(X), one_by_one, rtol=0, atol=atol)


@every_classifier
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool, np.float64])
def test_predictions_have_the_dtype_of_y(estimator: Any, label_data: Any, dtype: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).fit(X, Y.astype(dtype))
    assert clf.predict(X).dtype == dtype


@every_classifier
def test_csr_labels_give_csr_predictions(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    dense = clone(estimator).fit(X, Y)
    sparse = clone(estimator).fit(X, sp.csr_matrix(Y))
    predicted = sparse.predict(X)
    assert sp.issparse(predicted) and predicted.format == "csr"
    assert_array_equal(predicted.toarray(), dense.predict(X))


@every_classifier
def test_csr_features(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    X = np.where(X > 0.5, X, 0)
    clf = clone(estimator).fit(sp.csr_matrix(X), Y)
    assert_allclose(clf.predict_proba(sp.csr_matrix(X)), clf.predict_proba(X), atol=1e-10)


@every_classifier
def test_memory_mapped_features(estimator: Any, label_data: Any, tmp_path: Any) -> None:
    X, Y = label_data
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_array_equal(
        clone(estimator).fit(mapped, Y).predict_proba(mapped),
        clone(estimator).fit(X, Y).predict_proba(X),
    )


@every_classifier
def test_names_of_features_and_labels(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(X.shape[1])])
    labels = pd.DataFrame(Y, columns=list("abcde"))
    clf = clone(estimator).fit(frame, labels)
    assert list(clf.label_names_) == list("abcde")
    assert list(clf.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame.rename(columns={"f0": "other"}))
    assert not hasattr(clf.fit(X, Y), "label_names_")


@every_classifier
def test_unknown_labels_are_masked(estimator: Any, label_data: Any) -> None:
    """What stands in an unknown cell cannot matter; predictions become integers."""
    X, Y = label_data
    hidden = np.random.default_rng(0).random(Y.shape) < 0.3
    clf = clone(estimator).fit(X, np.where(hidden, np.nan, Y))
    assert np.issubdtype(clf.predict(X).dtype, np.integer)
    assert np.isfinite(clf.decision_function(X)).all()


def test_unknown_labels_leave_their_cell_out(label_data: Any) -> None:
    X, Y = label_data
    hidden = np.random.default_rng(0).random(Y.shape) < 0.3
    together = MultiLabelLogisticRegression().fit(X, np.where(hidden, np.nan, Y))
    for label in range(Y.shape[1]):
        seen = ~hidden[:, label]
        alone = MultiLabelLogisticRegression().fit(X[seen], Y[seen, label])
        assert_allclose(together.coef_[label], alone.coef_[0], atol=1e-7)


@every_classifier
def test_odd_targets_work(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    Y = np.hstack([Y[:, :2], np.zeros((len(Y), 1), int), np.ones((len(Y), 1), int)])
    Y[:20] = [0, 0, 0, 1]
    with pytest.warns(UserWarning, match="2 of 4 labels have a single value.*: 2, 3"):
        clf = clone(estimator).fit(X, Y)
    P = clf.predict_proba(X)
    n = len(X)
    assert_allclose(P[:, 2], 0.5 / (n + 1), rtol=1e-6)
    assert_allclose(P[:, 3], (n + 0.5) / (n + 1), rtol=1e-6)


@every_classifier
def test_duplicate_rows_and_one_label(estimator: Any, label_data: Any) -> None:
    X, Y = (np.repeat(a[:5], 8, axis=0) for a in label_data)
    one_label = np.where(np.arange(len(Y)) == 7, np.nan, Y[:, 0])[:, None]
    assert clone(estimator).fit(X, Y).predict(X).shape == Y.shape
    assert clone(estimator).fit(X, one_label).predict(X).shape == (len(X), 1)


@every_classifier
def test_single_label_targets(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    words = np.array(["no", "yes"])[Y[:, 0]]
    clf = clone(estimator).fit(X, words)
    assert set(clf.predict(X)) <= {"no", "yes"}
    assert clf.decision_function(X).shape == (len(X),)
    assert_allclose(clf.predict_proba(X).sum(axis=1), 1)
    many = clone(estimator).fit(X, Y[:, 0] + Y[:, 1])
    assert_allclose(many.predict_proba(X).sum(axis=1), 1)


@every_net
def test_random_state_fixes_everything_and_touches_nothing(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    torch.manual_seed(7)
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    first = clone(estimator).fit(X, Y).predict_proba(X)
    assert_array_equal(torch.rand(3), expected)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert_array_equal(first, clone(estimator).fit(X, Y).predict_proba(X))
    other = clone(estimator).set_params(random_state=1).fit(X, Y).predict_proba(X)
    assert np.abs(first - other).max() > 1e-4


@every_net
def test_transform_and_its_names(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    blended = {"neighbor_weight", "linear_weight", "prior_count"} & estimator.get_params().keys()
    heads_alone = {"hidden_layer_sizes": (16, 8), **dict.fromkeys(blended, 0)}
    clf = clone(estimator).set_params(**heads_alone).fit(X, Y)
    embedding = clf.transform(X)
    width = 64 if isinstance(clf, CGMVAEClassifier) else 2 * 8
    assert embedding.shape == (len(X), width) and embedding.dtype == X.dtype
    logits = embedding @ clf.coef_.T + clf.intercept_
    assert_allclose(logits, clf.decision_function(X), atol=1e-10)
    frame = clf.set_output(transform="pandas").transform(X)
    assert list(frame.columns) == list(clf.get_feature_names_out())


@every_net
def test_warm_start_goes_on(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).set_params(warm_start=True).fit(X, Y)
    loss = clf.history_["train_loss"][-1]
    clf.fit(X, Y)
    assert clf.n_iter_ == 6 and len(clf.history_["train_loss"]) == 6
    assert clf.history_["train_loss"][-1] < loss
    before = clf.transform(X)
    clf.set_params(learning_rate=1e-9).fit(X, Y)
    assert_allclose(clf.transform(X), before, atol=1e-5)


@every_net
def test_partial_fit_learns_from_chunks(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator)
    for _ in range(4):
        for chunk in (slice(0, 100), slice(100, 200)):
            clf.partial_fit(X[chunk], Y[chunk])
    assert clf.n_iter_ == 8
    assert (clf.predict(X) == Y).mean() > 0.7
    with pytest.raises(ValueError, match="has 3 labels"):
        clf.partial_fit(X, Y[:, :3])


@every_net
def test_early_stopping_puts_the_best_weights_back(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).set_params(
        early_stopping=3,
        max_epochs=100,
        validation=0.25,
        learning_rate=0.01,
        net_params__schedule="constant",
    )
    clf.fit(X, Y)
    losses = clf.history_["valid_loss"]
    assert clf.n_iter_ == len(losses) < 100
    assert losses[-1] > losses.min()
    clf.set_params(early_stopping=False, max_epochs=2).fit(X, Y)
    assert "valid_loss" not in clf.history_


@every_classifier
def test_pickles_and_clones(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).fit(X, Y)
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert not hasattr(clone(clf), "coef_")


@every_encoder
def test_a_module_of_the_user(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = clone(estimator).set_params(module=LinearEncoder, n_estimators=1).fit(X, Y)
    assert clf.transform(X).shape == (len(X), 6)
    assert isinstance(clf.net_.module_.encoder, LinearEncoder)


class LinearEncoder(torch.nn.Linear):
    """The smallest module that a user could bring."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 6)
