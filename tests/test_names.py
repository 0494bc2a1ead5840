"""Names of labels and features: into predictions, pipelines, and tools of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_mlcl import MultiLabelLogisticRegression, MultiLabelThresholdClassifierCV
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.metrics import SCORERS
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold, MultiLabelVotingClassifierCV
from tests.small import NAMES, small
from tests.small import NETS as NET_CLASSES

HEADS = MultiLabelLogisticRegression()
NETS = [small(make, max_epochs=2) for make in NET_CLASSES]
META = [
    MultiLabelThresholdClassifierCV(HEADS, cv=2),
    MultiLabelCalibratedClassifierCV(HEADS, cv=2),
    MultiLabelVotingClassifierCV([("estimator", HEADS)], cv=2),
]
METHODS = ("predict", "predict_proba", "decision_function")
FOLDS = MultilabelStratifiedKFold(2)

every_classifier = pytest.mark.parametrize(
    "estimator", [HEADS, *NETS, *META], ids=lambda estimator: type(estimator).__name__
)
every_net = pytest.mark.parametrize("estimator", NETS, ids=lambda net: type(net).__name__)


@pytest.fixture(scope="module")
def frames(label_data: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The shared data as frames, rows and labels with names, six of the features."""
    X, Y = (part[:, :6] for part in label_data)
    rows = [f"row {k}" for k in range(len(X))]
    features = pd.DataFrame(X, index=rows, columns=[f"x{k}" for k in range(X.shape[1])])
    return features, pd.DataFrame(Y, index=rows, columns=NAMES)


# ---------------------------------------------------------------------- predictions


@every_classifier
def test_predictions_are_frames_where_asked_for(estimator: Any, frames: Any) -> None:
    X, Y = frames
    clf = clone(estimator).fit(X, Y)
    arrays = {method: getattr(clf, method)(X) for method in METHODS}
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert clf.set_output(predict="pandas") is clf
    for method, array in arrays.items():
        frame = getattr(clf, method)(X)
        pd.testing.assert_frame_equal(frame, pd.DataFrame(array, index=X.index, columns=NAMES))
    assert clf.score(X, Y) == (arrays["predict"] == Y.to_numpy()).all(axis=1).mean()
    assert_array_equal(clf.set_output(predict="default").predict(X), arrays["predict"])


@every_classifier
def test_polars_goes_in_and_comes_out(estimator: Any, frames: Any) -> None:
    X, Y = (pl.from_pandas(frame) for frame in frames)
    clf = clone(estimator).set_output(predict="polars").fit(X, Y)
    assert list(clf.feature_names_in_) == X.columns
    expected = clone(estimator).fit(*frames)
    for method in METHODS:
        frame = getattr(clf, method)(X)
        assert isinstance(frame, pl.DataFrame) and frame.columns == NAMES
        assert_allclose(frame.to_numpy(), getattr(expected, method)(frames[0]), atol=1e-7)
    unnamed = clone(estimator).set_output(predict="polars").fit(X, Y.to_numpy())
    assert unnamed.predict(X).columns == list("01234")


def test_nulls_of_polars_are_missing_labels(frames: Any) -> None:
    X, Y = frames
    hidden = Y.astype("float64").mask(np.random.default_rng(0).random(Y.shape) < 0.2)
    by_nan = clone(HEADS).fit(X, hidden)
    nulls = pl.DataFrame(hidden.to_numpy(), schema=NAMES, nan_to_null=True).cast(pl.Int8)
    by_null = clone(HEADS).fit(X, nulls)
    assert_array_equal(by_null.coef_, by_nan.coef_)
    assert by_null.predict(X).dtype == np.int64


@every_classifier
def test_labels_without_names_are_numbered(estimator: Any, label_data: Any) -> None:
    X, Y = label_data
    frame = clone(estimator).set_output(predict="pandas").fit(X, Y).predict_proba(X)
    assert list(frame.columns) == list(range(5)) and list(frame.index) == list(range(len(X)))


def test_containers_that_cannot_be(label_data: Any) -> None:
    X, Y = label_data
    clf = clone(HEADS).fit(X, sp.csr_array(Y)).set_output(predict="pandas")
    with pytest.raises(
        ValueError, match=r"predict returns CSR, because y was CSR.*predict=\"default\""
    ):
        clf.predict(X)
    assert isinstance(clf.predict_proba(X), pd.DataFrame)
    with pytest.raises(ValueError, match=r"predict must be one of \['default', 'pandas', 'polars'"):
        clf.set_output(predict="arrow")


@every_net
def test_embeddings_and_predictions_have_a_choice_each(estimator: Any, frames: Any) -> None:
    X, Y = frames
    clf = clone(estimator).set_output(transform="pandas").fit(X, Y)
    assert list(clf.transform(X).columns) == list(clf.get_feature_names_out())
    assert isinstance(clf.predict_proba(X), np.ndarray)
    clf.set_output(transform="default", predict="pandas")
    assert isinstance(clf.transform(X), np.ndarray)
    assert isinstance(clf.predict_proba(X), pd.DataFrame)
    clf.set_output()
    assert isinstance(clf.predict_proba(X), pd.DataFrame)


@every_classifier
def test_what_is_said_about_features_leaves_predictions_alone(estimator: Any, frames: Any) -> None:
    """A pipeline hands ``transform="pandas"`` to its last step too; tools would get frames."""
    X, Y = frames
    pipe = make_pipeline(StandardScaler(), clone(estimator)).set_output(transform="pandas")
    assert list(pipe.fit(X, Y)[-1].feature_names_in_) == list(X.columns)
    by_default = [getattr(pipe, method)(X) for method in METHODS]
    with config_context(transform_output="pandas"):
        configured = [getattr(pipe, method)(X) for method in METHODS]
    for here, there in zip(by_default, configured, strict=True):
        assert isinstance(here, np.ndarray) and isinstance(there, np.ndarray)
        assert_array_equal(here, there)


# ---------------------------------------------------------------------- scikit-learn's tools


@every_classifier
def test_a_search_of_frames_scores_like_one_of_arrays(estimator: Any, frames: Any) -> None:
    """Clones keep the choice, scorers take frames, and the search answers with a frame."""
    X, Y = frames
    scoring = {name: get_scorer(name) for name in ("roc_auc", "f1_macro", "accuracy")}
    # A scorer asks every classifier for the same answers: one classifier shows them all.
    ours = SCORERS if estimator is HEADS else ("f1_micro", "neg_log_loss", "precision_at_1")
    scoring |= {f"our_{name}": SCORERS[name] for name in ours}
    options: dict[str, Any] = {"cv": FOLDS, "scoring": scoring, "refit": "roc_auc"}
    searches = [
        GridSearchCV(clone(estimator).set_output(predict=choice), {}, **options).fit(X, Y)
        for choice in ("default", "pandas")
    ]
    for name in scoring:
        scores = [search.cv_results_[f"mean_test_{name}"] for search in searches]
        assert_array_equal(*scores)
        assert np.isfinite(scores[0]).all()
    arrays, named = (search.predict_proba(X) for search in searches)
    pd.testing.assert_frame_equal(named, pd.DataFrame(arrays, index=X.index, columns=NAMES))


@every_classifier
def test_cross_val_predict_joins_frames(estimator: Any, frames: Any) -> None:
    X, Y = frames
    named = clone(estimator).set_output(predict="pandas")
    for method in METHODS:
        options: dict[str, Any] = {"cv": FOLDS, "method": method}
        joined = cross_val_predict(named, X, Y, **options)
        assert_array_equal(joined, cross_val_predict(clone(estimator), X, Y, **options))


def answers_of_tools(estimator: Any, X: pd.DataFrame, Y: pd.DataFrame) -> dict[str, Any]:
    """What scikit-learn's tools make of a classifier, for labels and for 1-D targets."""
    y = Y["sunset"]
    labels = Y.to_numpy()  # for stacking, which takes a frame of labels by its column names
    pipe = make_pipeline(StandardScaler(), clone(estimator))
    stack = StackingClassifier([("a", pipe), ("b", HEADS)], final_estimator=HEADS, cv=FOLDS)
    vote = VotingClassifier([("a", clone(estimator)), ("b", HEADS)], voting="soft")
    binary_stack = StackingClassifier([("a", clone(estimator)), ("b", HEADS)], cv=2)
    importance = permutation_importance(
        pipe.fit(X, Y), X, Y, scoring="roc_auc", n_repeats=1, random_state=0
    )
    scores = cross_validate(pipe, X, Y, cv=FOLDS, scoring=["f1_micro", "average_precision"])
    return {
        "stack": stack.fit(X, labels).decision_function(X),
        "vote": vote.fit(X, y).predict_proba(X),
        "calibrated": CalibratedClassifierCV(clone(estimator), cv=2).fit(X, y).predict_proba(X),
        "binary stack": binary_stack.fit(X, y).predict_proba(X),
        "importance": importance.importances_mean,
        "scores": np.concatenate([scores["test_f1_micro"], scores["test_average_precision"]]),
    }


@pytest.mark.parametrize("estimator", [HEADS, NETS[1]], ids=lambda e: type(e).__name__)
# scikit-learn's stack fits its last estimator on arrays, and under this configuration hands it
# frames to predict.
@pytest.mark.filterwarnings(
    "ignore:X has feature names, but .*LogisticRegression was fitted without"
)
def test_tools_work_the_same_with_frames_about(estimator: Any, frames: Any) -> None:
    expected = answers_of_tools(estimator, *frames)
    with config_context(transform_output="pandas"):
        configured = answers_of_tools(estimator, *frames)
    asked_for = answers_of_tools(clone(estimator).set_output(predict="pandas"), *frames)
    for name, answer in expected.items():
        for answers in (configured, asked_for):
            assert_allclose(np.asarray(answers[name]), answer, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("meta", META, ids=lambda meta: type(meta).__name__)
def test_meta_estimators_take_classifiers_that_answer_in_frames(meta: Any, frames: Any) -> None:
    X, Y = frames
    named = clone(HEADS).set_output(predict="pandas")
    by_frames = clone(meta).set_params(estimator=named).fit(X, Y)
    by_arrays = clone(meta).fit(X, Y)
    for method in METHODS:
        answer = getattr(by_frames, method)(X)
        assert isinstance(answer, np.ndarray)
        assert_array_equal(answer, getattr(by_arrays, method)(X))


# ---------------------------------------------------------------------- features


@every_net
def test_feature_names_from_columns_to_embedding(estimator: Any, frames: Any) -> None:
    """``get_feature_names_out`` of a pipeline with mixed columns, asked for at every step."""
    X, Y = frames
    X = X.iloc[:, :3].assign(colour=np.where(Y["beach"] == 1, "blue", "green"))
    columns = make_column_transformer(
        (StandardScaler(), ["x0", "x1", "x2"]), (OneHotEncoder(sparse_output=False), ["colour"])
    )
    pipe = make_pipeline(columns, clone(estimator)).set_output(transform="pandas").fit(X, Y)
    seen = [f"standardscaler__x{k}" for k in range(3)]
    seen += ["onehotencoder__colour_blue", "onehotencoder__colour_green"]
    assert list(pipe[:-1].get_feature_names_out()) == list(pipe[-1].feature_names_in_) == seen
    width = pipe.transform(X).shape[1]
    name = type(estimator).__name__.lower()
    assert list(pipe.transform(X).columns) == [f"{name}{k}" for k in range(width)]
    assert list(pipe.get_feature_names_out()) == list(pipe.transform(X).columns)
