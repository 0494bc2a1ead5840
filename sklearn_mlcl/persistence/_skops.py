"""What skops needs to be told about the estimators of this package."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from sklearn_mlcl.persistence._objects import put_together, taken_apart
from sklearn_mlcl.persistence._registry import allowed, is_allowed

#: Keys of what stands for a value that skops cannot store.
_APART = {"tree", "arrays"}


def without_torch(state: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with those of torch's kind as JSON and arrays."""
    return {name: _apart(v, name) if _of_torch(v) else v for name, v in state.items()}


def with_torch(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that ``without_torch`` was given."""
    return {name: _together(v) if _is_apart(v) else v for name, v in state.items()}


def _of_torch(value: Any) -> bool:
    return isinstance(value, (nn.Module, torch.device)) or is_allowed("stateful", type(value))


def _is_apart(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == _APART


def _apart(value: Any, name: str) -> dict[str, Any]:
    tree, arrays = taken_apart(value, name)
    return {"tree": json.dumps(tree), "arrays": arrays}


def _together(parts: dict[str, Any]) -> Any:
    return put_together(json.loads(parts["tree"]), parts["arrays"])


def skops_trusted_types() -> list[str]:
    """Return the names of the types that skops must trust to load an estimator of this package.

    All of them are classes of this package that :func:`sklearn_mlcl.load` would make from a file
    too, and types of NumPy and SciPy that skops does not trust by itself.

    Returns
    -------
    names : list of str
        For the argument ``trusted`` of ``skops.io.load``.

    Examples
    --------
    >>> import sklearn_mlcl
    >>> "sklearn_mlcl.estimators.mlp.MultiLabelMLPClassifier" in sklearn_mlcl.skops_trusted_types()
    True
    """
    classes = [cls for kind in ("object", "mapping", "stateful", "type") for cls in allowed(kind)]
    return ["numpy.dtype", *sorted(f"{cls.__module__}.{cls.__name__}" for cls in classes)]
