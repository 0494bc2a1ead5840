"""Multi-label data: embedded digits, named sets, and readers for the usual file formats."""

from sklearn_mlcl.datasets._arff import load_arff
from sklearn_mlcl.datasets._digits import make_multilabel_digits
from sklearn_mlcl.datasets._fetch import fetch_multilabel
from sklearn_mlcl.datasets._files import DataFileError
from sklearn_mlcl.datasets._npz import load_npz
from sklearn_mlcl.datasets._xc import load_xc

__all__ = [
    "DataFileError",
    "fetch_multilabel",
    "load_arff",
    "load_npz",
    "load_xc",
    "make_multilabel_digits",
]
