"""The nearest label-set prototype as a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_mlcl import collapse
from sklearn_mlcl.collapse import VARIANTS, NearestLabelSetClassifier, fit_onn_decoder
from sklearn_mlcl.heads.held_out import tune_onn_prior
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit

every_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    return make_multilabel_classification(200, 10, n_classes=5, n_labels=2, random_state=0)


@parametrize_with_checks([NearestLabelSetClassifier()])
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_collapse_names_the_estimator_of_a_folder_above() -> None:
    assert NearestLabelSetClassifier.__module__ == "sklearn_mlcl.estimators.nearest_label_set"
    assert set(collapse.__all__) <= set(dir(collapse))
    with pytest.raises(AttributeError, match=r"'sklearn_mlcl.collapse' has no attribute 'ONN'"):
        _ = collapse.ONN


@every_variant
def test_answers_are_those_of_the_decoder(variant: str, data: Any) -> None:
    X, Y = data
    clf = NearestLabelSetClassifier(variant=variant, max_labels=4, prior=0.5).fit(X, Y)
    decoder = fit_onn_decoder(X, Y, variant=variant, max_labels=4, prior=0.5)
    assert_array_equal(clf.predict(X), decoder.decode(X).toarray())
    assert clf.predict(X).dtype == Y.dtype
    proba = clf.predict_proba(X)
    assert_allclose(proba, decoder.marginals(X), atol=1e-15)
    assert (proba > 0).all() and (proba < 1).all()
    assert_allclose(1 / (1 + np.exp(-clf.decision_function(X))), proba, rtol=1e-12)
    single = clone(clf).fit(X.astype(np.float32), Y).predict_proba(X.astype(np.float32))
    assert single.dtype == np.float32
    assert_allclose(single, proba, atol=1e-3)


def test_forms_of_y(data: Any) -> None:
    X, Y = data
    clf = NearestLabelSetClassifier().fit(X, Y)
    expected = clf.predict(X)
    sparse = clone(clf).fit(X, sp.csr_matrix(Y)).predict(X)
    assert type(sparse) is sp.csr_matrix
    assert_array_equal(sparse.toarray(), expected)
    X_more, codes = np.vstack([X, X[:3]]), np.vstack([Y, np.full((3, 5), -1)])
    for missing, holes in ((np.nan, np.where(codes < 0, np.nan, codes)), (-1, codes)):
        other = clone(clf).set_params(missing_label=missing).fit(X_more, holes)
        assert_array_equal(other.predict(X), expected)
        assert other.predict(X).dtype == np.int64
    names = [f"label {i}" for i in range(5)]
    named = clone(clf).set_output(predict="pandas").fit(X, pd.DataFrame(Y, columns=names))
    pd.testing.assert_frame_equal(named.predict(X), pd.DataFrame(expected, columns=names))


@every_variant
def test_classes_are_sets_of_one_label(variant: str, data: Any) -> None:
    X, Y = data
    for y in (np.array(["no", "yes"])[Y[:, 0]], Y.sum(axis=1).clip(1, 3)):
        clf = NearestLabelSetClassifier(variant=variant).fit(X, y)
        one_hot = (y[:, None] == clf.classes_).astype(int)
        decoder = fit_onn_decoder(X, one_hot, variant=variant)
        assert_array_equal(clf.predict(X), clf.classes_[decoder.decode(X).indices])
        assert_allclose(clf.predict_proba(X), decoder.marginals(X), atol=1e-14)


def test_weights_of_entries(data: Any) -> None:
    """A weight is the mean over the sample; without an entry a sample has no known set."""
    X, Y = data
    by_sample = np.random.default_rng(0).uniform(0.5, 2, len(X))
    by_entry = by_sample[:, None] * [0.5, 1, 1, 1, 1.5]
    by_entry[:20, 0] = 0
    clf = NearestLabelSetClassifier().fit(X, Y, by_entry)
    same = NearestLabelSetClassifier().fit(X[20:], Y[20:], by_sample[20:])
    assert_allclose(clf.predict_proba(X), same.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array], ids=["dense", "CSR"])
def test_tuned_prior(form: Any, data: Any) -> None:
    X, Y = data
    weight = np.linspace(0.5, 2, len(X))
    clf = NearestLabelSetClassifier(prior="tuned", random_state=3).fit(X, form(Y), weight)
    splitter = MultilabelStratifiedShuffleSplit(1, test_size=0.1, random_state=3)
    train, test = next(splitter.split(X, Y))
    held_out = (X[test], Y[test])
    on_train = fit_onn_decoder(X[train], Y[train], sample_weight=weight[train], validation=held_out)
    assert clf.decoder_.prior == tune_onn_prior(on_train, *held_out).prior > 0
    assert clf.decoder_.variance == on_train.variance
    on_all = NearestLabelSetClassifier(prior=clf.decoder_.prior).fit(X, Y, weight).decoder_
    assert_array_equal(clf.decoder_.tags, on_all.tags)
    assert clf.decoder_.variance != on_all.variance


@every_variant
@pytest.mark.parametrize(
    "columns", [[0], [0, 0], [0, 1]], ids=["one label", "duplicates", "two labels"]
)
def test_few_labels(variant: str, columns: list[int], data: Any) -> None:
    X, Y = data[0], sp.csr_array(data[1][:, columns])  # a dense column would be 1-D classes
    clf = NearestLabelSetClassifier(variant=variant).fit(X, Y)
    assert clf.predict(X).shape == Y.shape and np.isfinite(clf.predict_proba(X)).all()


@every_variant
def test_constant_labels(variant: str, data: Any) -> None:
    X, Y = data
    Y = np.column_stack([Y, np.zeros(len(Y), int), np.ones(len(Y), int)])
    with pytest.warns(UserWarning, match="2 of 7 labels have a single value .*: 5, 6"):
        clf = NearestLabelSetClassifier(variant=variant).fit(X, Y)
    assert not clf.predict(X)[:, 5].any()
    with pytest.warns(UserWarning, match="3 of 3 labels"):
        every = NearestLabelSetClassifier(variant=variant).fit(X, np.ones((len(Y), 3), int))
    assert every.predict(X).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"variant": "nearest"}, "variant"), ({"prior": 2.0}, "prior"), ({"max_labels": 0}, "max_")],
)
def test_parameters_out_of_range(parameters: dict[str, Any], message: str, data: Any) -> None:
    with pytest.raises(ValueError, match=f"The '{message}"):
        NearestLabelSetClassifier(**parameters).fit(*data)


@pytest.mark.filterwarnings("ignore:.* labels have a single value")
def test_no_set_to_learn(data: Any) -> None:
    X, Y = data
    with pytest.raises(ValueError, match="all its labels observed"):
        NearestLabelSetClassifier().fit(X, np.full(Y.shape, np.nan))
    with pytest.raises(ValueError, match="at most max_labels=1"):
        fit_onn_decoder(X, np.tile([1, 1, 0, 0], (len(X), 1)), max_labels=1)
