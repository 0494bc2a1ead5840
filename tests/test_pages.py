"""README, pages and examples run, on a small set and for an epoch in place of their own."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import runpy
from collections.abc import Iterator
from functools import partial, partialmethod, wraps
from pathlib import Path
from typing import Any

import joblib
import matplotlib as mpl
import pandas as pd
import pytest
import sklearn
import torch
from matplotlib import pyplot as plt
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version
from threadpoolctl import threadpool_limits
from torch.torch_version import TorchVersion

import sklearn_mlcl
from sklearn_mlcl import (
    ContrastiveMultiLabelClassifier,
    MultiLabelMLPClassifier,
    datasets,
    recipes,
)
from sklearn_mlcl.persistence._onnx import FIRST_TORCH

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.rst"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCED = re.compile(r"```python\n(.*?)```", re.DOTALL)
DIRECTIVE = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)
SHORT: dict[str, Any] = {"max_epochs": 1, "n_estimators": 1, "hidden_layer_sizes": (16,)}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks_of(page: Path) -> list[str]:
    pattern = FENCED if page.suffix == ".md" else DIRECTIVE
    return [inspect.cleandoc(block) for block in pattern.findall(page.read_text() + "\n")]


def imported(code: ast.Module) -> set[str]:
    """Return the packages that code imports."""
    lines = [line for line in ast.walk(code) if isinstance(line, ast.Import | ast.ImportFrom)]
    names = [alias.name for line in lines if isinstance(line, ast.Import) for alias in line.names]
    names += [line.module or "" for line in lines if isinstance(line, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def with_few_trees(fit: Any) -> Any:
    """Return the ``fit`` of a forest that grows five trees at most."""

    @wraps(fit)
    def fitted(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.n_estimators = min(5, self.n_estimators)
        return fit(self, *args, **kwargs)

    return fitted


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few digits and trees, one epoch of a narrow net, threads for processes, no windows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["script"])
    small = partial(datasets.make_multilabel_digits, (6, 1), (2, 1))
    monkeypatch.setattr(datasets, "make_multilabel_digits", small)
    for recipe in (recipes.FAST, recipes.PLAIN, recipes.PAL_COLLAPSE):
        monkeypatch.setitem(recipe, "max_epochs", 1)
    for name in sklearn_mlcl.__all__:
        defaults = getattr(getattr(sklearn_mlcl, name).__init__, "__kwdefaults__", None) or {}
        for parameter in defaults.keys() & SHORT.keys():
            monkeypatch.setitem(defaults, parameter, SHORT[parameter])
    for forest in (ExtraTreesClassifier, RandomForestClassifier):
        monkeypatch.setattr(forest, "fit", with_few_trees(forest.fit))
    threads = joblib.parallel_config("threading")
    with threads, threadpool_limits(1), mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the pages take for granted: data and a fitted classifier."""
    X, Y = datasets.make_multilabel_digits((6, 1), (1,), return_X_y=True)
    X = X[:, 100:110]
    classifier = MultiLabelMLPClassifier(**SHORT, random_state=0).fit(X, Y)
    return {
        "X": X, "X_train": X, "X_test": X[:9], "X_new": X[:3], "Y": Y, "Y_train": Y,
        "Y_test": Y[:9], "classifier": classifier, "pipeline": make_pipeline(classifier),
        "search": GridSearchCV(classifier, {"dropout": [0.0, 0.1]}, cv=2),
    }  # fmt: skip


# The snippets of ecosystem.rst need packages of their own: tests/test_ecosystem.py runs them.
WITH_CODE = [page for page in PAGES if blocks_of(page) and page.name != "ecosystem.rst"]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_code_of_pages_runs(page: Path, names: dict[str, Any], quick: None) -> None:
    code = "\n\n".join(blocks_of(page))
    if "callbacks(" in code and parse_version(sklearn.__version__) < parse_version("1.9"):
        pytest.skip("scikit-learn has callbacks from 1.9 on")
    exec(compile(code, page.name, "exec"), dict(names))


@each_page
def test_code_is_no_wider_than_its_column(page: Path) -> None:
    lines = [line for block in blocks_of(page) for line in block.split("\n")]
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_code_of_examples_is_no_wider_either(example: Path) -> None:
    text = ast.parse(example.read_text()).body[0].end_lineno or 0
    code = [line for line in example.read_text().split("\n")[text:] if not line.startswith("#")]
    assert [line for line in code if len(line) > 80] == []


@each_page
def test_interactive_examples_of_pages_run(page: Path) -> None:
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_the_table_of_the_readme_has_the_means_of_the_benchmark() -> None:
    ours = {"MLP": MultiLabelMLPClassifier, "contrastive": ContrastiveMultiLabelClassifier}
    names = {name: f"`{estimator.__name__}()`" for name, estimator in ours.items()}
    path = ROOT / "doc" / "_data" / "accuracy_means_present.csv"
    means = pd.read_csv(path, index_col="estimator", na_values="missing").rename(index=names)
    for name, row in means.dropna().iterrows():
        cells = [name, *(f"{value:.3f}" for value in row[:-1]), f"{row.iloc[-1]:.1f}"]
        assert f"| {' | '.join(cells)} |" in PAGES[0].read_text()


# SHAP warns of matplotlib. Few samples and one epoch have warnings of their own.
@pytest.mark.filterwarnings(
    "ignore:Mean of empty slice",
    "ignore:invalid value",
    "ignore:.*needs held-out samples",
    "ignore:.*have a single value",
    "ignore::PendingDeprecationWarning",
)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_examples_run(example: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    code = ast.parse(example.read_text())
    title = ast.get_docstring(code) or ""
    assert re.match(r".+\n={4,}\n\n\w", title), "the gallery needs a title and a text"
    packages = {
        name: pytest.importorskip(name, reason=f"the example needs {name}: extra ecosystem")
        for name in imported(code)
    }
    if "shap" in packages:
        explainer = packages["shap"].GradientExplainer
        monkeypatch.setattr(
            explainer, "shap_values", partialmethod(explainer.shap_values, nsamples=5)
        )
    if ".to_onnx(" in example.read_text() and TorchVersion(torch.__version__) < FIRST_TORCH:
        pytest.skip(f"to_onnx needs torch >= {FIRST_TORCH}")
    runpy.run_path(str(example), run_name="__main__")


def test_the_gallery_stops_at_errors() -> None:
    assert '"abort_on_example_error": True' in (ROOT / "doc" / "conf.py").read_text()
