"""Where the documentation is: the links in the HTML view of an estimator."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

PACKAGE = "sklearn_mlcl"
#: Names the address of the documentation, without what follows ``/generated``.
URL_VARIABLE = "SKLEARN_MLCL_DOC_URL"
#: Where ``make doc`` writes in a clone.
BUILT_PAGES = Path(__file__).parents[2] / "doc" / "_build" / "html"


def documentation_url() -> str:
    """Return the address of the documentation, without a slash at its end; empty if unknown.

    It is ``$SKLEARN_MLCL_DOC_URL``, else the one in the metadata of the installed package, else
    that of the pages that ``make doc`` built in the clone that the package is imported from.
    """
    if url := os.environ.get(URL_VARIABLE) or _published_url():
        return url.rstrip("/")
    return BUILT_PAGES.as_uri() if BUILT_PAGES.is_dir() else ""


def _published_url() -> str:
    try:
        entries = metadata(PACKAGE).get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a source tree without installation
        return ""
    urls = dict(entry.split(", ", 1) for entry in entries)
    return urls.get("Documentation", "")


class DocumentationLinks:
    """Mixin of estimators: what scikit-learn asks for to link its HTML view to our pages."""

    _doc_link_module = PACKAGE

    @property
    def _doc_link_template(self) -> str:
        url = documentation_url()
        return url and url + "/generated/{page}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        """Name the page: the estimators of the top have theirs there, others in their module."""
        name, module = type(self).__name__, type(self).__module__
        if not hasattr(sys.modules[PACKAGE], name):
            return {"page": f"{module.partition('._')[0]}.{name}"}
        return {"page": f"{PACKAGE}.{name}"}
