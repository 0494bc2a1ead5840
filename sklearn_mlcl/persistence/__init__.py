"""Fitted estimators in files: ``save`` and ``load`` without pickle; see the page on saving.

``FitCheckpoint`` keeps the state of a fit that runs.

Files are safetensors with a JSON header. What they may hold is a list of classes, each allowed by
name, besides arrays and plain values.
"""

from sklearn_mlcl.persistence._checkpoint import FitCheckpoint
from sklearn_mlcl.persistence._format import ModelFileError
from sklearn_mlcl.persistence._saving import load, save
from sklearn_mlcl.persistence._skops import skops_trusted_types

__all__ = ["FitCheckpoint", "ModelFileError", "load", "save", "skops_trusted_types"]
