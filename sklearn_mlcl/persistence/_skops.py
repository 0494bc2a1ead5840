"""What skops needs to be told about the estimators of this package."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from sklearn_mlcl.persistence._objects import decode, encode
from sklearn_mlcl.persistence._registry import is_registered, registered_classes

#: Attribute that stands for those that skops cannot store.
_TORCH = "_torch_state"


def encode_torch(state: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with those of torch's kind, together, as JSON and arrays."""
    of_torch = {name: value for name, value in state.items() if _is_of_torch(value)}
    tree, arrays = encode(of_torch, "the estimator")
    rest = {name: value for name, value in state.items() if name not in of_torch}
    return {**rest, _TORCH: {"tree": json.dumps(tree), "arrays": arrays}}


def decode_torch(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that ``encode_torch`` was given; a pickle holds them as they are."""
    if _TORCH not in state:
        return state
    rest = dict(state)
    parts = rest.pop(_TORCH)
    return {**rest, **decode(json.loads(parts["tree"]), parts["arrays"])}


def _is_of_torch(value: Any) -> bool:
    return isinstance(value, (nn.Module, torch.device)) or is_registered("stateful", type(value))


def skops_trusted_types() -> list[str]:
    """Return the names of the types that skops must trust to load an estimator of this package.

    They are the classes of this package that :func:`sklearn_mlcl.load` makes from a file, and types
    of NumPy and SciPy that skops does not trust by default.

    Returns
    -------
    names : list of str
        For the argument ``trusted`` of ``skops.io.load``.

    Examples
    --------
    >>> import sklearn_mlcl
    >>> name = "sklearn_mlcl.estimators.mlp.MultiLabelMLPClassifier"
    >>> name in sklearn_mlcl.skops_trusted_types()
    True
    """
    kinds = ("object", "stateful", "type")
    classes = [cls for kind in kinds for cls in registered_classes(kind)]
    return ["numpy.dtype", *sorted(f"{cls.__module__}.{cls.__name__}" for cls in classes)]
