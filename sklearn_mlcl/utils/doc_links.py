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


def page_address(cls: type) -> str:
    """Return the address of the page of a class of this package; empty without documentation.

    Classes of the top module have their page there, others in their module, or in the one that
    they name by ``_doc_module``.
    """
    module = PACKAGE
    if cls.__name__ not in sys.modules[PACKAGE].__all__:
        module = getattr(cls, "_doc_module", cls.__module__).partition("._")[0]
    url = documentation_url()
    return url and f"{url}/generated/{module}.{cls.__name__}.html"
