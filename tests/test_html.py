"""The HTML view of estimators: parameters with their documentation, links to our pages."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import sklearn
from numpydoc.docscrape import NumpyDocString
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.fixes import parse_version

import sklearn_mlcl
from sklearn_mlcl import (
    CGMVAEClassifier,
    ContrastiveMultiLabelClassifier,
    MultiLabelLogisticRegression,
    MultiLabelMLPClassifier,
    MultiLabelThresholdClassifierCV,
)
from sklearn_mlcl.calibration import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.collapse import NearestLabelSetClassifier
from sklearn_mlcl.utils import doc_links as _documentation

HEADS = MultiLabelLogisticRegression()
ESTIMATORS: dict[str, Any] = {
    "sklearn_mlcl.ContrastiveMultiLabelClassifier": ContrastiveMultiLabelClassifier(),
    "sklearn_mlcl.CGMVAEClassifier": CGMVAEClassifier(),
    "sklearn_mlcl.MultiLabelMLPClassifier": MultiLabelMLPClassifier(),
    "sklearn_mlcl.MultiLabelLogisticRegression": HEADS,
    "sklearn_mlcl.MultiLabelThresholdClassifierCV": MultiLabelThresholdClassifierCV(HEADS),
    "sklearn_mlcl.calibration.MultiLabelCalibratedClassifierCV": MultiLabelCalibratedClassifierCV(
        HEADS
    ),
    "sklearn_mlcl.collapse.NearestLabelSetClassifier": NearestLabelSetClassifier(),
}
every_page = pytest.mark.parametrize("page", ESTIMATORS)
URL = "https://pages.invalid/mlcl"
from_1_9 = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="scikit-learn documents parameters in its view from 1.9 on",
)


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the pages had an address."""
    monkeypatch.setenv("SKLEARN_MLCL_DOC_URL", URL + "/")


@every_page
def test_each_estimator_links_to_its_page(page: str) -> None:
    link = f"{URL}/generated/{page}.html"
    assert ESTIMATORS[page]._get_doc_link() == link
    assert f'href="{link}"' in estimator_html_repr(ESTIMATORS[page])
    module, _, name = page.rpartition(".")
    assert name in vars(__import__(module, fromlist=[name]))


def test_parts_of_a_search_have_links_of_their_own() -> None:
    pipe = make_pipeline(StandardScaler(), ContrastiveMultiLabelClassifier())
    view = estimator_html_repr(GridSearchCV(pipe, {}))
    assert f"{URL}/generated/sklearn_mlcl.ContrastiveMultiLabelClassifier.html" in view
    assert re.search(r"https://scikit-learn.org/[\d.]+/modules/generated/sklearn.prep", view)


@from_1_9
@every_page
def test_every_parameter_shows_its_documentation(page: str) -> None:
    """A click leads to the parameter's line of the page; hovering shows its documentation."""
    view = estimator_html_repr(ESTIMATORS[page])
    rows = re.findall(
        r'class="param-doc-link".*?href="(.*?)".*?class="param-doc-description".*?>\s*(.*?)</span>',
        view,
        re.DOTALL,
    )
    documented = {(html.unescape(text).split(":")[0], unquote(link)) for link, text in rows}
    # scikit-learn reads the section "Parameters", not "Other Parameters".
    for name in (entry.name for entry in NumpyDocString(ESTIMATORS[page].__doc__)["Parameters"]):
        line = f"{URL}/generated/{page}.html#:~:text={name},-"
        assert any(n == name and link.startswith(line) for n, link in documented), name


@from_1_9
def test_fitted_attributes_are_in_the_view(label_data: Any) -> None:
    clf = MultiLabelMLPClassifier(hidden_layer_sizes=(8,), max_epochs=1).fit(*label_data)
    view = estimator_html_repr(clf)
    for name in ("classes_", "predictor_", "n_iter_", "history_", "n_features_in_"):
        assert name in view


def test_without_an_address_there_is_no_link(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.delenv("SKLEARN_MLCL_DOC_URL")
    monkeypatch.setattr(_documentation, "_published_url", lambda: "")
    monkeypatch.setattr(_documentation, "BUILT_PAGES", tmp_path / "html")
    clf = clone(HEADS)
    assert clf._get_doc_link() == ""
    assert "generated" not in estimator_html_repr(clf)
    (tmp_path / "html").mkdir()
    page = "generated/sklearn_mlcl.MultiLabelLogisticRegression.html"
    assert clf._get_doc_link() == f"{(tmp_path / 'html').as_uri()}/{page}"
    monkeypatch.setattr(_documentation, "_published_url", lambda: "https://home.invalid")
    assert clf._get_doc_link() == f"https://home.invalid/{page}"


def test_the_published_address_is_that_of_the_metadata(monkeypatch: Any) -> None:
    class Metadata:
        def __init__(self, entries: list[str] | None) -> None:
            self.entries = entries

        def get_all(self, name: str) -> list[str] | None:
            assert name == "Project-URL"
            return self.entries

    monkeypatch.setattr(_documentation, "metadata", lambda name: Metadata(None))
    assert _documentation._published_url() == ""
    entries = ["Source, https://source.invalid", "Documentation, https://home.invalid/en, x"]
    monkeypatch.setattr(_documentation, "metadata", lambda name: Metadata(entries))
    assert _documentation._published_url() == "https://home.invalid/en, x"


def test_classes_of_others_do_not_link_here() -> None:
    class Own(MultiLabelMLPClassifier):
        pass

    Own.__module__ = "somewhere.else"
    assert Own()._get_doc_link() == ""
    assert isinstance(Own(), BaseEstimator)
    assert "scikit-learn.org" in LogisticRegression()._get_doc_link()


def test_the_pages_are_those_of_the_reference() -> None:
    """The API page names the top estimators, and the modules of the others."""
    listed = (Path(sklearn_mlcl.__file__).parents[1] / "doc" / "api.rst").read_text().split()
    for page in ESTIMATORS:
        first = page.removeprefix("sklearn_mlcl.").partition(".")[0]
        assert first in listed
