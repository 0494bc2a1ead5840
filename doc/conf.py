"""Sphinx configuration: the gallery is run, docstrings are numpydoc."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sklearn_mlcl

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

# Figures are written, not shown; the gallery's worker processes take one thread each.
os.environ.setdefault("MPLBACKEND", "agg")
# The views of estimators in the gallery link to the reference beside it.
os.environ["SKLEARN_MLCL_DOC_URL"] = ".."

project = "sklearn-mlcl"
author = "The sklearn-mlcl founders"
copyright = author
version = release = sklearn_mlcl.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "foreign_roles",
    "mathml",
    "myst_parser",
    "numpydoc",
    "signatures",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "extensions"]
templates_path = ["templates"]
smartquotes = False  # quotes in the types of parameters are code
toc_object_entries_show_parents = "hide"

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "within_subsection_order": "gallery.quickstart_first",
    "abort_on_example_error": True,
    "ignore_repr_types": r"matplotlib|sklearn_mlcl\.inspection",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
}

html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme = "pydata_sphinx_theme"
html_title = "sklearn-mlcl"
html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
}
# Pages without pages below them have nothing to show there.
html_sidebars = {page: [] for page in ("index", "install", "faq", "whats_new", "contributing")}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
