"""The estimators in scikit-learn's pipelines, searches and inspection, and in other packages."""

from __future__ import annotations

import ast
import copy
import inspect
import re
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import StackingClassifier
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import average_precision_score, f1_score, get_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_validate
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_html_repr
from torch.torch_version import TorchVersion

from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
)
from sklearn_mlcl.model_selection import MultilabelStratifiedKFold
from sklearn_mlcl.persistence._onnx import FIRST_TORCH
from tests.small import ENSEMBLES, every_ensemble, small

CONTRASTIVE, MLP, LOGISTIC = (
    ContrastiveMultiLabelClassifier,
    MultiLabelMLPClassifier,
    MultiLabelLogisticRegression,
)
every_classifier = pytest.mark.parametrize("make", [*ENSEMBLES, LOGISTIC])


# ---------------------------------------------------------------------- searches


def test_grid_search_over_temperature_and_lambda_reg(label_data: Any) -> None:
    """Each candidate is trained with its own values: no two score alike, and the best is refit."""
    X, Y = label_data
    pipe = Pipeline([("scale", StandardScaler()), ("clf", small(CONTRASTIVE))])
    grid = {"clf__temperature": [0.05, 0.5], "clf__lambda_reg": [0.0, 1.0]}
    search = GridSearchCV(
        pipe,
        grid,
        cv=MultilabelStratifiedKFold(2),
        scoring="average_precision",
        error_score="raise",
    ).fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert len(np.unique(scores)) == 4
    assert search.best_score_ == scores.max()
    loss = search.best_estimator_[-1].net_.criterion_.loss
    assert loss.temperature == search.best_params_["clf__temperature"]
    assert loss.lambda_reg == search.best_params_["clf__lambda_reg"]
    assert search.predict_proba(X).shape == Y.shape
    assert search.best_estimator_.transform(X).shape == (len(X), 2 * 16)


@every_classifier
def test_cross_val_predict_equals_the_fits_of_the_folds(make: Any, label_data: Any) -> None:
    X, Y = label_data
    cv = MultilabelStratifiedKFold(2)
    fits = [(small(make).fit(X[train], Y[train]), test) for train, test in cv.split(X, Y)]
    for method in ("predict_proba", "decision_function", "predict"):
        predicted = cross_val_predict(small(make), X, Y, cv=cv, method=method)
        assert predicted.shape == Y.shape
        for fit, test in fits:
            assert_allclose(predicted[test], getattr(fit, method)(X[test]), atol=1e-10)


def test_two_processes_answer_as_one(label_data: Any) -> None:
    """Those of loky import the package themselves, as spawned ones do."""
    X, Y = label_data
    options = {"cv": MultilabelStratifiedKFold(2), "scoring": ["f1_micro", "roc_auc"]}
    clf = small(CONTRASTIVE).fit(X, Y)
    with joblib.parallel_config("loky"):
        alone, two = (cross_validate(small(CONTRASTIVE), X, Y, n_jobs=n, **options) for n in (1, 2))
        found = joblib.Parallel(n_jobs=2)([joblib.delayed(clf.predict_proba)(X)] * 2)
    for name in ("test_f1_micro", "test_roc_auc"):
        assert_array_equal(two[name], alone[name])
    for there in found:
        assert_array_equal(there, clf.predict_proba(X))


# ---------------------------------------------------------------------- scorers


@every_classifier
@pytest.mark.filterwarnings("ignore:F-score is ill-defined")
def test_scorers_are_their_metrics(make: Any, label_data_of_two_sizes: Any) -> None:
    """At two labels scikit-learn's scorers fall into binary habits; ours must not be misread."""
    X, Y = label_data_of_two_sizes
    clf = small(make).fit(X, Y)
    logits, labels = clf.decision_function(X), clf.predict(X)
    expected = {
        "roc_auc": roc_auc_score(Y, logits),
        "average_precision": average_precision_score(Y, logits),
        "f1_macro": f1_score(Y, labels, average="macro"),
        "f1_micro": f1_score(Y, labels, average="micro"),
        "f1_samples": f1_score(Y, labels, average="samples", zero_division=0),
        "accuracy": (labels == Y).all(axis=1).mean(),
    }
    measured = {name: get_scorer(name)(clf, X, Y) for name in expected}
    assert measured == pytest.approx(expected)


# ---------------------------------------------------------------------- composition


def frame_with_categories(X: np.ndarray, Y: np.ndarray) -> pd.DataFrame:
    """Ten numeric columns, and two of words: one that tells label 0, one without meaning."""
    frame = pd.DataFrame(X[:, :10], columns=[f"x{i}" for i in range(10)])
    frame["tells"] = np.array(["cold", "warm"])[Y[:, 0]]
    frame["noise"] = np.array(["a", "b", "c"])[np.arange(len(X)) % 3]
    return frame


@every_classifier
@pytest.mark.parametrize("sparse_threshold", [0.0, 1.0])
def test_column_transformer_with_categories(
    make: Any, sparse_threshold: float, label_data: Any
) -> None:
    X, Y = label_data
    frame = frame_with_categories(X, Y)
    columns = make_column_transformer(
        (StandardScaler(), [f"x{i}" for i in range(10)]),
        (OneHotEncoder(handle_unknown="ignore"), ["tells", "noise"]),
        sparse_threshold=sparse_threshold,
    )
    options: dict[str, Any] = {"max_epochs": 40, "feature_noise": 0, "net_params": {"mixup": 0}}
    options = {} if make is LOGISTIC else options
    pipe = make_pipeline(columns, small(make, **options)).fit(frame[:150], Y[:150])
    test = frame[150:]
    warm, cold = (pipe.predict_proba(test.assign(tells=word))[:, 0] for word in ("warm", "cold"))
    assert (warm > cold).mean() > 0.9 and (warm - cold).mean() > 0.2
    shuffled = test[test.columns[::-1]]
    assert_array_equal(pipe.predict_proba(shuffled), pipe.predict_proba(test))
    unseen = test.assign(noise="never seen")
    assert np.isfinite(pipe.decision_function(unseen)).all()


@pytest.mark.parametrize("cv", [KFold(3), MultilabelStratifiedKFold(3)])
def test_stacking(cv: Any, label_data: Any) -> None:
    X, Y = label_data
    stack = StackingClassifier(
        [(make.__name__, small(make)) for make in (*ENSEMBLES, LOGISTIC)],
        final_estimator=MultiLabelLogisticRegression(),
        cv=cv,
    ).fit(X, Y)
    n_labels = Y.shape[1]
    features = stack.transform(X)
    assert features.shape == (len(X), 3 * n_labels)
    first = stack.named_estimators_[CONTRASTIVE.__name__]
    assert_array_equal(features[:, :n_labels], first.predict_proba(X))
    # Of a final estimator's predict_proba scikit-learn expects a list of arrays here, and refuses
    # one array from its own MLPClassifier too; scores and scorers go by decision_function.
    logits = stack.final_estimator_.decision_function(features)
    assert_array_equal(stack.decision_function(X), logits)
    assert_array_equal(stack.predict(X), logits >= 0)
    assert get_scorer("roc_auc")(stack, X, Y) == roc_auc_score(Y, logits)


@every_ensemble
def test_embeddings_feed_another_step(make: Any, label_data: Any) -> None:
    """``transform`` in a pipeline and beside other features, with names all the way."""
    X, Y = label_data
    index = [f"sample {i}" for i in range(len(X))]
    frame = pd.DataFrame(X, index=index, columns=[f"x{i}" for i in range(X.shape[1])])
    union = FeatureUnion([("net", small(make)), ("raw", StandardScaler())])
    pipe = make_pipeline(union, MultiLabelLogisticRegression()).set_output(transform="pandas")
    pipe.fit(frame, Y)
    name = make.__name__.lower()
    expected = [f"net__{name}{i}" for i in range(2 * 16)] + [f"raw__x{i}" for i in range(20)]
    assert list(pipe[-1].feature_names_in_) == expected
    assert list(pipe[:-1].transform(frame).index) == index
    embedding = small(make).fit(X, Y).transform(X)
    features = np.hstack([embedding, StandardScaler().fit_transform(X)])
    by_hand = MultiLabelLogisticRegression().fit(features, Y).predict_proba(features)
    assert_allclose(pipe.predict_proba(frame), by_hand, rtol=1e-6)


# ---------------------------------------------------------------------- cloning and display


@every_classifier
def test_clones_and_nested_parameters(make: Any, label_data: Any) -> None:
    """A clone of a fitted estimator has its parameters, none of its fit, and fits alike."""
    X, Y = label_data
    pipe = make_pipeline(StandardScaler(), small(make, threshold=0.3)).fit(X, Y)
    again = clone(pipe)
    assert again.get_params()[f"{make.__name__.lower()}__threshold"] == 0.3
    assert again[-1].get_params() == pipe[-1].get_params()
    assert not [name for name in vars(again[-1]) if name.endswith("_") and name[0] != "_"]
    assert_array_equal(again.fit(X, Y).predict_proba(X), pipe.predict_proba(X))


@every_classifier
def test_html_view(make: Any, label_data: Any) -> None:
    X, Y = label_data
    pipe = make_pipeline(StandardScaler(), small(make, threshold=0.25))
    for view in (estimator_html_repr(pipe), estimator_html_repr(pipe.fit(X, Y))):
        assert make.__name__ in view and "0.25" in view


def test_html_view_of_a_fit_without_prototypes(label_data: Any) -> None:
    """An attribute that this fit does not have is left out of the view."""
    clf = small(CONTRASTIVE, loss="any").fit(*label_data)
    assert not hasattr(clf, "prototypes_")
    assert "ContrastiveMultiLabelClassifier" in estimator_html_repr(clf)


# ---------------------------------------------------------------------- inspection


@every_classifier
def test_permutation_importance_finds_the_feature_that_matters(make: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 6))
    Y = (X[:, [3, 3]] * [1, -1] > 0.3).astype(int)
    options = {} if make is LOGISTIC else {"max_epochs": 20}
    clf = small(make, **options).fit(X, Y)
    importance = permutation_importance(
        clf, X, Y, scoring="roc_auc", n_repeats=3, random_state=0
    ).importances_mean
    others = np.delete(importance, 3)
    assert importance[3] > 0.2
    assert others.max() < importance[3] / 4


@every_classifier
def test_partial_dependence_of_every_label(make: Any, label_data: Any) -> None:
    """By hand: set the feature to a value in all rows, and average the probabilities."""
    X, Y = label_data
    clf = small(make).fit(X, Y)
    result = partial_dependence(
        clf, X, [0], response_method="predict_proba", grid_resolution=4, kind="average"
    )
    assert result["average"].shape == (Y.shape[1], 4)
    for column, value in enumerate(result["grid_values"][0]):
        fixed = X.copy()
        fixed[:, 0] = value
        by_hand = clf.predict_proba(fixed).mean(axis=0)
        assert_allclose(result["average"][:, column], by_hand, rtol=1e-10)


# ---------------------------------------------------------------------- tools of other packages

PAGE = Path(__file__).parents[1] / "doc" / "ecosystem.rst"
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)
TOOL = re.compile(r"^(\w.*)\n~{3,}\n", re.MULTILINE)
#: Sections of the page, and the packages that each needs.
TOOLS = {
    "skrub": ["skrub"],
    "Optuna": ["optuna"],
    "Halving searches of scikit-learn": [],
    "SHAP": ["shap"],
    "LIME": ["lime"],
    "cleanlab": ["cleanlab"],
    "MLflow": ["mlflow"],
    "TensorBoard": ["tensorboard"],
    "FastAPI": ["fastapi", "httpx2"],
    "Dask through joblib": ["dask", "distributed"],
    "ONNX Runtime": ["onnx", "onnxscript", "onnxruntime"],
    "polars": ["polars"],
}


def sections() -> dict[str, str]:
    """Return the only block of code of each tool, by title, and as "" the lines before them."""
    first, *rest = TOOL.split(PAGE.read_text())
    texts = {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}
    blocks = {title: BLOCK.findall(text + "\n") for title, text in texts.items()}
    return {title: inspect.cleandoc(block) for title, (block,) in blocks.items()}


def value_of(code: str, names: dict[str, Any]) -> Any:
    """Run code as it stands, and return the value of its last line if that is an expression."""
    *body, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        return exec(code, names)
    exec(compile(ast.Module(body, []), PAGE.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), PAGE.name, "eval"), names)


@pytest.fixture(scope="module")
def lines_before_the_tools() -> dict[str, Any]:
    names: dict[str, Any] = {}
    value_of(sections()[""], names)
    return names


def check_answer(tool: str, answer: Any, names: dict[str, Any]) -> None:
    """Compare what a snippet ends with to what the classifier says itself."""
    X, Y = names["X"], names["Y"]
    proba = names["classifier"].predict_proba(X)
    if tool == "skrub":
        assert answer.shape == Y.shape and (answer == Y.to_numpy()).mean() > 0.7
    elif tool == "Optuna":
        assert len(names["study"].trials) == 3 and names["study"].best_value > 0.6
    elif tool.startswith("Halving"):
        assert list(names["search"].cv_results_["n_resources"]) == [6] * 6 + [18] * 2
    elif tool == "SHAP":
        assert answer.index.equals(X.columns) and answer.columns.equals(Y.columns)
        # The attributions of a sample sum to its distance from the mean, about.
        distance = proba[:50] - proba.mean(axis=0)
        assert np.abs(names["values"].sum(axis=1) - distance).mean() < 0.05
    elif tool == "LIME":
        assert len(answer) == 3 and all("sensor" in condition for condition, _ in answer)
    elif tool == "cleanlab":
        assert 0 < len(answer) < len(X) and answer["quality"].mean() < names["quality"].mean()
    elif tool == "MLflow":
        assert_array_equal(answer.predict_proba(X), proba)
    elif tool == "TensorBoard":
        written = b"".join(file.read_bytes() for file in Path("runs").glob("events*"))
        assert b"Loss/train_loss" in written
        assert len(next(Path("runs").rglob("metadata.tsv")).read_text().splitlines()) == len(X)
    elif tool == "FastAPI":
        assert_allclose(pd.DataFrame(answer)[list(Y)], proba[:2], rtol=1e-12)
    elif tool == "Dask through joblib":
        here = clone(names["search"]).fit(X, Y)
        assert here.best_score_ == names["search"].best_score_
    elif tool == "ONNX Runtime":
        assert list(answer) == list(Y)
        proba = names["classifier"].predict_proba(X.astype("float32"))
        assert_allclose(answer, proba, atol=1e-5)
    elif tool == "polars":
        assert answer.columns == list(Y) and 0 < len(answer) < len(X)
        assert (answer["leak"] > 0.5).all()


def test_the_page_has_all_tools_in_short_snippets() -> None:
    snippets = sections()
    assert list(snippets) == ["", *TOOLS]
    assert {title: len(code.splitlines()) for title, code in snippets.items() if title} == {
        title: pytest.approx(8, abs=7) for title in TOOLS
    }


# Tools warn about one another: MLflow of SQLAlchemy, SHAP of matplotlib.
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::PendingDeprecationWarning", "ignore::FutureWarning"
)
@pytest.mark.parametrize("tool", TOOLS)
def test_snippets_of_tools(
    tool: str,
    lines_before_the_tools: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in TOOLS[tool]:
        pytest.importorskip(package, reason=f'"{tool}" needs {package}: make test-ecosystem')
    if tool == "ONNX Runtime" and TorchVersion(torch.__version__) < FIRST_TORCH:
        pytest.skip(f"to_onnx needs torch >= {FIRST_TORCH}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    names = dict(lines_before_the_tools)
    names["classifier"] = copy.deepcopy(names["classifier"])
    check_answer(tool, value_of(sections()[tool], names), names)
