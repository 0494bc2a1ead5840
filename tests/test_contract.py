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

from sklearn_mlcl import CGMVAEClassifier, MultiLabelLogisticRegression, MultiLabelMLPClassifier
from tests.small import CLASSIFIERS, every_classifier, every_net, plain, small

DRAWS = small(CGMVAEClassifier, net_params__n_predict_samples=3)
#: Draws of latent codes too: their noise must be the same for every sample.
every_predictor = pytest.mark.parametrize("estimator", [*map(small, CLASSIFIERS), DRAWS])


@every_predictor
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


@every_predictor
@pytest.mark.parametrize(("dtype", "atol"), [(np.float64, 1e-7), (np.float32, 1e-5)])
def test_answers_do_not_depend_on_the_batch(
    estimator: Any, label_data: Any, dtype: Any, atol: float
) -> None:
    X, Y = label_data
    X = X.astype(dtype)
    clf = clone(estimator).fit(X, Y)
    one_by_one = np.vstack([clf.predict_proba(row[None]) for row in X[::5]])
    assert_allclose(clf.predict_proba(X)[::5], one_by_one, rtol=0, atol=atol)


@every_classifier
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool, np.float64])
def test_predictions_have_the_dtype_of_y(make: Any, label_data: Any, dtype: Any) -> None:
    X, Y = label_data
    clf = small(make).fit(X, Y.astype(dtype))
    assert clf.predict(X).dtype == dtype


@every_classifier
def test_csr_labels_give_csr_predictions(make: Any, label_data: Any) -> None:
    X, Y = label_data
    dense = small(make).fit(X, Y)
    sparse = small(make).fit(X, sp.csr_matrix(Y))
    predicted = sparse.predict(X)
    assert sp.issparse(predicted) and predicted.format == "csr"
    assert_array_equal(predicted.toarray(), dense.predict(X))


@every_classifier
def test_csr_features(make: Any, label_data: Any) -> None:
    X, Y = label_data
    X = np.where(X > 0.5, X, 0)
    clf = small(make).fit(sp.csr_matrix(X), Y)
    assert_allclose(clf.predict_proba(sp.csr_matrix(X)), clf.predict_proba(X), atol=1e-10)


@every_classifier
def test_memory_mapped_features(make: Any, label_data: Any, tmp_path: Any) -> None:
    X, Y = label_data
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_array_equal(
        small(make).fit(mapped, Y).predict_proba(mapped), small(make).fit(X, Y).predict_proba(X)
    )


@every_classifier
def test_names_of_features_and_labels(make: Any, label_data: Any) -> None:
    X, Y = label_data
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(X.shape[1])])
    labels = pd.DataFrame(Y, columns=list("abcde"))
    clf = small(make).fit(frame, labels)
    assert list(clf.label_names_) == list("abcde")
    assert list(clf.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame.rename(columns={"f0": "other"}))
    assert not hasattr(clf.fit(X, Y), "label_names_")


def test_missing_labels_leave_their_entry_out(label_data: Any) -> None:
    X, Y = label_data
    hidden = np.random.default_rng(0).random(Y.shape) < 0.3
    together = MultiLabelLogisticRegression().fit(X, np.where(hidden, np.nan, Y))
    for label in range(Y.shape[1]):
        seen = ~hidden[:, label]
        alone = MultiLabelLogisticRegression().fit(X[seen], Y[seen, label])
        assert_allclose(together.coef_[label], alone.coef_[0], atol=1e-7)


@every_classifier
def test_odd_targets_work(make: Any, label_data: Any) -> None:
    X, Y = label_data
    Y = np.hstack([Y[:, :2], np.zeros((len(Y), 1), int), np.ones((len(Y), 1), int)])
    Y[:20] = [0, 0, 0, 1]
    with pytest.warns(UserWarning, match="2 of 4 labels have a single value.*: 2, 3"):
        clf = small(make).fit(X, Y)
    P = clf.predict_proba(X)
    n = len(X) if make is MultiLabelLogisticRegression else clf.label_counts_[:, 0].sum()
    assert_allclose(P[:, 2], 0.5 / (n + 1), rtol=1e-6)
    assert_allclose(P[:, 3], (n + 0.5) / (n + 1), rtol=1e-6)


@every_net
def test_batches_without_a_known_label(make: Any, label_data: Any) -> None:
    """They teach nothing, whatever the weights of the terms."""
    X, Y = label_data[0][:40], label_data[1][:40].astype(float)
    Y[8:] = np.nan
    decay = {"loss_params__feature_decay": 0.1} if make is MultiLabelMLPClassifier else {}
    for changes in ({}, {"lambda_contrastive": 100.0, "lambda_joint": 100.0}, decay):
        known = make().get_params()
        clf = small(
            make, max_epochs=1, batch_size=4, **{k: v for k, v in changes.items() if k in known}
        )
        assert np.isfinite(clf.fit(X, Y).predict_proba(X)).all()
    assert np.isfinite(clf.partial_fit(X, np.full(Y.shape, np.nan)).predict_proba(X)).all()


@every_classifier
def test_duplicate_samples_and_one_label(make: Any, label_data: Any) -> None:
    X, Y = (np.repeat(a[:5], 8, axis=0) for a in label_data)
    one_label = np.where(np.arange(len(Y)) == 7, np.nan, Y[:, 0])[:, None]
    assert small(make).fit(X, Y).predict(X).shape == Y.shape
    assert small(make).fit(X, one_label).predict(X).shape == (len(X), 1)


@every_classifier
def test_single_label_targets(make: Any, label_data: Any) -> None:
    X, Y = label_data
    words = np.array(["no", "yes"])[Y[:, 0]]
    clf = small(make).fit(X, words)
    assert set(clf.predict(X)) <= {"no", "yes"}
    assert clf.decision_function(X).shape == (len(X),)
    assert_allclose(clf.predict_proba(X).sum(axis=1), 1)
    many = small(make).fit(X, Y[:, 0] + Y[:, 1])
    assert_allclose(many.predict_proba(X).sum(axis=1), 1)


@every_net
def test_random_state_fixes_everything_and_touches_nothing(make: Any, label_data: Any) -> None:
    X, Y = label_data
    torch.manual_seed(7)
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    first = small(make).fit(X, Y).predict_proba(X)
    assert_array_equal(torch.rand(3), expected)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert_array_equal(first, small(make).fit(X, Y).predict_proba(X))
    other = small(make, random_state=1).fit(X, Y).predict_proba(X)
    assert np.abs(first - other).max() > 1e-4


@every_net
def test_transform_and_its_names(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = plain(make, hidden_layer_sizes=(16, 8)).fit(X, Y)
    embedding = clf.transform(X)
    width = 64 if make is CGMVAEClassifier else 8
    assert embedding.shape == (len(X), width) and embedding.dtype == X.dtype
    head = clf.predictor_.head
    logits = embedding @ head.weight.numpy().T + head.bias.numpy()
    assert_allclose(logits, clf.decision_function(X), atol=1e-10)
    frame = clf.set_output(transform="pandas").transform(X)
    names = [f"{make.__name__.lower()}{i}" for i in range(width)]
    assert list(frame.columns) == list(clf.get_feature_names_out()) == names


@every_net
def test_warm_start_goes_on(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = small(make, warm_start=True).fit(X, Y).fit(X, Y)
    assert clf.n_iter_ == len(clf.history_["train_loss"]) == 6
    before = clf.transform(X)
    clf.set_params(learning_rate=1e-9).fit(X, Y)
    assert_allclose(clf.transform(X), before, atol=1e-5)


@every_net
def test_partial_fit_learns_from_chunks(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = small(make, learning_rate=0.02)
    for _ in range(4):
        for chunk in (slice(0, 100), slice(100, 200)):
            clf.partial_fit(X[chunk], Y[chunk])
    assert clf.n_iter_ == 8
    assert_array_equal(clf.label_counts_, 4 * np.stack([Y.sum(axis=0), (1 - Y).sum(axis=0)]))
    assert (clf.predict(X) == Y).mean() > 0.7
    with pytest.raises(ValueError, match="has 3 labels"):
        clf.partial_fit(X, Y[:, :3])


@every_net
def test_neighbors_of_a_part_without_a_label_know_its_share(make: Any, label_data: Any) -> None:
    """The vote of neighbours that do not know a label is its prior over all calls, not a half."""
    X, Y = label_data[0], label_data[1].astype(float)
    part = Y.copy()
    part[:, 0] = np.nan
    clf = small(make, neighbor_weight=1.0).partial_fit(X, Y).partial_fit(X, part)
    share = (Y[:, 0].sum() + 0.5) / (len(Y) + 1)
    votes = clf.predictor_.neighbors(torch.from_numpy(clf.transform(X[:3].astype(np.float32))))
    assert_allclose(votes[:, 0], share, rtol=1e-6)


@every_net
def test_early_stopping_puts_the_best_weights_back(make: Any, label_data: Any) -> None:
    """The weights are those of a training that ends with the best epoch."""
    X, Y = label_data
    changes = {"learning_rate": 0.02, "validation": 0.25}
    clf = small(make, early_stopping=3, max_epochs=100, **changes).fit(X, Y)
    assert clf.n_iter_ == len(clf.history_["valid_loss"]) - 3 < 97
    short = small(make, early_stopping=False, max_epochs=clf.n_iter_, **changes).fit(X, Y)
    assert_array_equal(clf.transform(X), short.transform(X))
    assert_array_equal(clf.predict_proba(X), short.predict_proba(X))
    clf.set_params(validation=None, max_epochs=2).fit(X, Y)
    assert clf.n_iter_ == 2 and "valid_loss" not in clf.history_


def test_numbers_of_numpy_are_numbers(label_data: Any) -> None:
    """As a grid of NumPy arrays holds them; NumPy's True is no patience of one epoch."""
    changes = {"learning_rate": 0.02, "max_epochs": 16}
    one, other = (
        small(MultiLabelMLPClassifier, early_stopping=stop, validation=share, **changes)
        for stop, share in ((True, 0.25), (np.True_, np.float32(0.25)))
    )
    assert one.fit(*label_data).n_iter_ == other.fit(*label_data).n_iter_ in (2, 4, 8, 16)
    assert_array_equal(one.oof_proba_, other.oof_proba_)


@every_classifier
def test_pickles_and_clones(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = small(make).fit(X, Y)
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert not hasattr(clone(clf), "classes_")


@every_net
def test_a_module_of_the_user(make: Any, label_data: Any) -> None:
    X, Y = label_data
    clf = plain(make, module=LinearEncoder).fit(X, Y)
    assert isinstance(clf.net_.module_.encoder, LinearEncoder)
    assert clf.transform(X).shape == (len(X), 64 if make is CGMVAEClassifier else 6)


class LinearEncoder(torch.nn.Linear):
    """The smallest module that a user could bring."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 6)
