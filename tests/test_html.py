"""The HTML view of estimators: parameters with their documentation, links to our pages."""

from __future__ import annotations

import html
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import sklearn
from numpydoc.docscrape import NumpyDocString
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.fixes import parse_version

import sklearn_mlcl
from sklearn_mlcl import ContrastiveMultiLabelClassifier, MultiLabelLogisticRegression
from sklearn_mlcl.utils import doc_links

PAGES = [f"sklearn_mlcl.{name}" for name in sklearn_mlcl.__all__ if name[0].isupper()]
PAGES += [
    "sklearn_mlcl.calibration.MultiLabelCalibratedClassifierCV",
    "sklearn_mlcl.collapse.NearestLabelSetClassifier",
    "sklearn_mlcl.model_selection.MultiLabelVotingClassifierCV",
]
URL = "https://pages.invalid/mlcl"


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the pages had an address."""
    monkeypatch.setenv(doc_links.URL_VARIABLE, URL + "/")


@pytest.mark.parametrize("page", PAGES)
def test_each_estimator_links_to_its_page(page: str) -> None:
    estimator, view = view_of(page)
    assert estimator._get_doc_link() == f"{URL}/generated/{page}.html"
    assert f'href="{URL}/generated/{page}.html"' in view


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="scikit-learn documents parameters in its view from 1.9 on",
)
@pytest.mark.parametrize("page", PAGES)
def test_every_parameter_shows_its_documentation(page: str) -> None:
    """A click leads to the parameter's line of the page, hovering shows what stands there.

    scikit-learn reads the section "Parameters" alone, not that of the advanced ones.
    """
    estimator, view = view_of(page)
    rows = re.findall(
        r'class="param-doc-link".*?href="(.*?)".*?class="param-doc-description".*?>\s*(.*?)</span>',
        view,
        re.DOTALL,
    )
    documented = {(html.unescape(text).split(":")[0], unquote(link)) for link, text in rows}
    page_of_class = NumpyDocString(inspect.getdoc(type(estimator)))
    for name in (entry.name for entry in page_of_class["Parameters"]):
        line = f"{URL}/generated/{page}.html#:~:text={name},-"
        assert any(n == name and link.startswith(line) for n, link in documented), name


def view_of(page: str) -> tuple[Any, str]:
    module, _, name = page.rpartition(".")
    cls = getattr(import_module(module), name)
    inner: Any = MultiLabelLogisticRegression()
    if "Voting" in name:
        inner = [("heads", inner)]
    estimator = cls(inner) if name.endswith("CV") else cls()
    return estimator, estimator_html_repr(estimator)


def test_parts_of_a_search_have_links_of_their_own() -> None:
    pipe = make_pipeline(StandardScaler(), ContrastiveMultiLabelClassifier())
    view = estimator_html_repr(GridSearchCV(pipe, {}))
    assert f"{URL}/generated/sklearn_mlcl.ContrastiveMultiLabelClassifier.html" in view
    assert re.search(r"https://scikit-learn.org/[\d.]+/modules/generated/sklearn.prep", view)


def test_the_address_is_published_or_that_of_built_pages(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.delenv(doc_links.URL_VARIABLE)
    monkeypatch.setattr(doc_links, "_published_url", lambda: "")
    root = Path(sklearn_mlcl.__file__).parents[1]
    assert root / "doc" / "_build" / "html" == doc_links.BUILT_PAGES
    monkeypatch.setattr(doc_links, "BUILT_PAGES", tmp_path / "html")
    classifier = MultiLabelLogisticRegression()
    assert classifier._get_doc_link() == ""
    assert "generated" not in estimator_html_repr(classifier)
    (tmp_path / "html").mkdir()
    page = "generated/sklearn_mlcl.MultiLabelLogisticRegression.html"
    assert classifier._get_doc_link() == f"{(tmp_path / 'html').as_uri()}/{page}"
    monkeypatch.setattr(doc_links, "_published_url", lambda: "https://home.invalid")
    assert classifier._get_doc_link() == f"https://home.invalid/{page}"


def test_classes_of_others_do_not_link_here() -> None:
    own = type("Own", (MultiLabelLogisticRegression,), {"__module__": "somewhere.else"})
    assert own()._get_doc_link() == ""
