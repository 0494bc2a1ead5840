"""Searches with one fit a fold: what they find is what a fit for each point would find."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.feature_selection import SelectKBest
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.metrics import get_scorer
from sklearn_mlcl.model_selection import (
    MultilabelStratifiedKFold,
    MultiLabelVotingClassifierCV,
    PosthocSearchCV,
)
from tests.small import small, with_sklearn_callbacks

SCORING = {name: get_scorer(name) for name in ("f1_micro", "neg_log_loss")}
LOGISTIC = MultiLabelLogisticRegression(tol=1e-4)
FOREST = RandomForestClassifier(5, random_state=0)
#: Weights given and chosen, a part that other points lack, and each kind of threshold: a number,
#: chosen by default, by name, and one a label.
GRID: list[dict[str, list[Any]]] = [
    {"neighbor_weight": [0.3], "threshold": [0.4, "auto", "f1_macro"]},
    {"neighbor_weight": [0.0, 1.0, "auto"], "threshold": [[0.2, 0.3, 0.4, 0.5, 0.6]]},
    {"net_params__pseudo_count": [3.0]},
]
LINEAR: dict[str, list[Any]] = {"linear_weight": [0.0, 0.6, "auto"]}


def assert_same_results(found: Any, expected: Any) -> None:
    """Compare all but the times."""
    assert found.cv_results_.keys() == expected.cv_results_.keys()
    assert found.cv_results_["params"] == expected.cv_results_["params"]
    for name, values in expected.cv_results_.items():
        if "_test_" in name or "_train_" in name:
            assert_allclose(found.cv_results_[name], values, atol=1e-6, err_msg=name)


def searched(estimator: Any, grid: Any, *data: Any, **options: Any) -> tuple[Any, Any]:
    """Return the search without refits, and that with a fit for each point."""
    options.setdefault("scoring", SCORING)
    options.setdefault("refit", False)
    params = options.pop("params", {})
    search = PosthocSearchCV(estimator, grid, cv=MultilabelStratifiedKFold(2), **options)
    slow = GridSearchCV(estimator, grid, cv=MultilabelStratifiedKFold(2), **options)
    return search.fit(*data, **params), slow.fit(*data, **params)


@pytest.fixture
def few(label_data: Any) -> Any:
    """100 samples."""
    return tuple(part[:100] for part in label_data)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The estimators whose ``fit`` ran."""
    seen: list[Any] = []
    for make in (ContrastiveMultiLabelClassifier, CGMVAEClassifier, MultiLabelMLPClassifier):

        def counted(self: Any, *data: Any, _fit: Any = make.fit, **params: Any) -> Any:
            seen.append(self)
            return _fit(self, *data, **params)

        monkeypatch.setattr(make, "fit", counted)
    return seen


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (small(ContrastiveMultiLabelClassifier), GRID),
        (small(ContrastiveMultiLabelClassifier, head="logistic", lambda_joint=0.0), GRID[1:]),
        (small(MultiLabelMLPClassifier, n_estimators=4), [*GRID, LINEAR]),
        (small(MultiLabelMLPClassifier, decision="auto", loss="pal"), GRID[:2]),
        (small(MultiLabelMLPClassifier, validation=None, neighbor_weight=0.0), GRID[1:]),
        (small(CGMVAEClassifier), [*GRID, {"net_params__n_predict_samples": [0, 5]}]),
    ],
    ids=["contrastive", "logistic head", "folds", "decoder", "nothing held out", "cgmvae"],
)
def test_one_fit_a_fold_scores_as_a_fit_a_point(
    estimator: Any, grid: Any, few: Any, fits: list[Any]
) -> None:
    estimator = clone(estimator).set_params(max_epochs=1)
    search = PosthocSearchCV(
        estimator, grid, scoring=SCORING, cv=MultilabelStratifiedKFold(2), refit=False
    ).fit(*few)
    assert len(fits) == 2
    slow = GridSearchCV(
        estimator, grid, scoring=SCORING, cv=MultilabelStratifiedKFold(2), refit=False
    ).fit(*few)
    assert_same_results(search, slow)
    scores = search.cv_results_["mean_test_neg_log_loss"]
    assert len(np.unique(scores)) > 1, "the grid makes a difference"


def test_twelve_points_and_three_folds_take_three_fits_and_one(few: Any, fits: list[Any]) -> None:
    X, Y = few
    clf = small(ContrastiveMultiLabelClassifier)
    grid = {"neighbor_weight": [0.0, 0.1, 0.5, "auto"], "threshold": [0.4, "auto", "f1_macro"]}
    options: dict[str, Any] = {"scoring": "f1_micro", "return_train_score": True, "cv": 3}
    search = PosthocSearchCV(clf, grid, **options).fit(X, Y)
    assert len(search.cv_results_["params"]) == 12 and len(fits) == 4
    assert search.best_index_ == search.cv_results_["mean_test_score"].argmax()
    assert search.estimator is clf and search.param_grid is grid and not hasattr(clf, "net_")
    best = {name: [value] for name, value in search.best_params_.items()}
    slow = GridSearchCV(clf, best, **options).fit(X, Y)
    assert search.cv_results_.keys() == slow.cv_results_.keys()
    assert search.best_score_ == pytest.approx(slow.best_score_, abs=1e-6)
    assert_allclose(search.predict_proba(X), slow.predict_proba(X), atol=1e-6)
    # What was kept for the search is in no pickle and in no clone.
    assert vars(search).keys() == vars(slow).keys()
    assert vars(search.best_estimator_).keys() == vars(slow.best_estimator_).keys()
    assert type(pickle.loads(pickle.dumps(search))) is PosthocSearchCV
    assert vars(clone(search)).keys() == vars(clone(slow)).keys()


def test_steps_of_a_pipeline_and_a_search_around(few: Any, fits: list[Any]) -> None:
    step = "multilabelmlpclassifier__"
    pipe = make_pipeline(StandardScaler(), make_pipeline(small(MultiLabelMLPClassifier)))
    grid = {f"pipeline__{step}neighbor_weight": [0.0, 0.5], f"pipeline__{step}threshold": [0.3]}
    search, slow = searched(pipe, grid, *few)
    assert_same_results(search, slow)
    del fits[:]
    inner = PosthocSearchCV(small(MultiLabelMLPClassifier), {"threshold": [0.3, 0.6]}, cv=2)
    outer = GridSearchCV(
        make_pipeline(StandardScaler(), inner),
        {"posthocsearchcv__estimator__dropout": [0, 0.4]},
        cv=2,
    )
    assert outer.fit(*few).predict(few[0]).shape == few[1].shape
    assert len(fits) == (2 * 2 + 1) * (2 + 1)


@pytest.mark.parametrize(
    ("estimator", "grid"),
    [
        (LOGISTIC, {"threshold": [0.2, [0.1, 0.2, 0.3, 0.4, 0.5]]}),
        (
            MultiLabelThresholdClassifierCV(FOREST, cv=2),
            [{"objective": ["f1_macro"], "shrinkage": [9]}, {"per_label": [False]}],
        ),
        (
            MultiLabelVotingClassifierCV([("a", LOGISTIC), ("b", FOREST)], cv=2),
            [
                {"threshold": [0.2, "f1_macro"], "weights": [None]},
                {"calibrate": [False], "shrinkage": [99]},
            ],
        ),
        (MultiLabelCalibratedClassifierCV(FOREST, cv=2), {"method": ["platt", "temperature"]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_classifiers(estimator: Any, grid: Any, few: Any) -> None:
    assert_same_results(*searched(estimator, grid, *few))


@pytest.mark.parametrize("routing", [False, True])
def test_weights_and_groups_go_where_they_are_asked_for(few: Any, routing: bool) -> None:
    X, Y = few
    metadata = {
        "sample_weight": np.random.default_rng(0).integers(0, 3, len(X)).astype(float),
        "groups": np.arange(len(X)) // 4,
    }
    clf, scorer = small(MultiLabelMLPClassifier), get_scorer("neg_log_loss")
    with config_context(enable_metadata_routing=routing):
        if routing:
            clf.set_fit_request(sample_weight=True, groups=True)
            scorer = scorer.set_score_request(sample_weight=True)
        options: dict[str, Any] = {"scoring": scorer, "cv": GroupKFold(2), "refit": False}
        grid = {"neighbor_weight": [0.2, "auto"]}
        search = PosthocSearchCV(clf, grid, **options).fit(X, Y, **metadata)
        assert_same_results(search, GridSearchCV(clf, grid, **options).fit(X, Y, **metadata))
        plain = GridSearchCV(clf, grid, **options).fit(X, Y, groups=metadata["groups"])
    assert np.abs(
        plain.cv_results_["mean_test_score"] - search.cv_results_["mean_test_score"]
    ).min()


def several(estimator: Any, X: Any, Y: Any) -> dict[str, float]:
    """Score like a callable of the user's, with several metrics."""
    return {"micro": f1_score(Y, estimator.predict(X), average="micro"), "one": 1.0}


def test_scorers_of_all_kinds(few: Any) -> None:
    clf, grid = LOGISTIC, {"threshold": [0.1, 0.5, 0.9]}
    samples = make_scorer(f1_score, average="samples", zero_division=0)
    names = ["accuracy", "f1_micro"]
    cases = (None, True), (samples, True), (several, "micro"), (names, "f1_micro"), (names, False)
    for scoring, refit in cases:
        search, slow = searched(clf, grid, *few, scoring=scoring, refit=refit)
        assert_same_results(search, slow)
        assert vars(search).keys() == vars(slow).keys()
        assert search.multimetric_ == slow.multimetric_
        assert type(search.scorer_) is type(slow.scorer_)
        if refit:
            assert search.best_params_ == slow.best_params_
            assert search.score(*few) == slow.score(*few)


def test_one_dimensional_targets_jobs_and_threads(few: Any) -> None:
    X, Y = few
    y = np.array(["a", "b", "c"])[Y[:, :2].sum(axis=1)]
    grid = {"neighbor_weight": [0.6], "linear_weight": [0.0, 0.5]}
    options: dict[str, Any] = {"scoring": "neg_log_loss", "cv": 2, "n_jobs": 2}
    clf = small(MultiLabelMLPClassifier)
    with joblib.parallel_config("threading"):
        search = PosthocSearchCV(clf, grid, **options).fit(X, y)
    assert_same_results(search, GridSearchCV(clf, grid, scoring="neg_log_loss", cv=2).fit(X, y))
    assert list(search.classes_) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"dropout": [0.1]}, "'dropout', which needs a fit for each value.*'linear_weight'"),
        ({"net_params": [None]}, "'net_params', which needs a fit"),
        ([{"threshold": [0.5]}, {"temprature": [1.0]}], "temprature"),
        ({"net_params__pseudo_cout": [1.0]}, "Did you mean 'pseudo_count'"),
    ],
)
def test_parameters_that_need_a_fit(grid: Any, message: str, few: Any) -> None:
    with pytest.raises(ValueError, match=message):
        PosthocSearchCV(small(MultiLabelMLPClassifier), grid).fit(*few)


@pytest.mark.parametrize(
    ("estimator", "grid", "message"),
    [
        (small(CGMVAEClassifier), {"linear_weight": [0.1]}, "linear_weight"),
        (FOREST, {"max_depth": [1]}, "got RandomForestClassifier.*GridSearchCV"),
        (make_pipeline(StandardScaler(), "passthrough"), {}, "got Pipeline"),
        (
            make_pipeline(SelectKBest(k=3), small(MultiLabelMLPClassifier)),
            {"selectkbest__k": [2]},
            "'selectkbest__k', which needs a fit.*'multilabelmlpclassifier__threshold'",
        ),
        (
            MultiLabelThresholdClassifierCV(small(MultiLabelMLPClassifier)),
            {"estimator__neighbor_weight": [0.1]},
            "needs a fit",
        ),
    ],
    ids=["no such part", "forest", "passthrough", "another step", "inside"],
)
def test_estimators_that_cannot_be_searched(
    estimator: Any, grid: Any, message: str, few: Any
) -> None:
    with pytest.raises(ValueError, match=message):
        PosthocSearchCV(estimator, grid).fit(*few)


def test_a_point_that_fails_has_the_error_score(few: Any) -> None:
    clf, grid = small(MultiLabelMLPClassifier), {"threshold": [0.5, 7.0], "neighbor_weight": [0.5]}
    search = PosthocSearchCV(clf, grid, scoring="f1_micro", cv=2, error_score=-1.0)
    with pytest.warns(FitFailedWarning, match=r"'threshold': 7.0"):
        search.fit(*few)
    assert search.cv_results_["mean_test_score"][1] == -1 and search.best_index_ == 0
    with pytest.raises(ValueError, match="threshold"):
        search.set_params(error_score="raise").fit(*few)
    assert search.best_index_ == 0, "an earlier search stays as it was"
    with pytest.raises(ValueError, match="No point"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FitFailedWarning)
        clone(search).set_params(param_grid={"threshold": [7.0]}, error_score=0.0).fit(*few)


@with_sklearn_callbacks
def test_callbacks_see_the_fits_that_run(few: Any) -> None:
    from sklearn.callback import ProgressBar, ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    clf = small(MultiLabelMLPClassifier, device="cpu").set_callbacks(monitor)
    search = PosthocSearchCV(clf, {"threshold": [0.2, 0.5]}, scoring="f1_micro", cv=2)
    search.set_callbacks(ProgressBar()).fit(*few)
    slow = GridSearchCV(clone(clf).set_callbacks(), {"threshold": [0.2, 0.5]}, cv=2)
    assert_same_results(search, slow.set_params(scoring="f1_micro").fit(*few))
