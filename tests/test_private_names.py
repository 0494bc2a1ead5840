"""Private names of other packages are used in two files: one for scikit-learn, one for torch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, TransformerMixin
from skorch import NeuralNet
from skorch.callbacks import Callback

import sklearn_mlcl
from sklearn_mlcl.utils._sklearn_compat import CallbackSupportMixin

PACKAGE = Path(sklearn_mlcl.__file__).parent
FENCES = {
    PACKAGE / "utils" / "_sklearn_compat.py",
    PACKAGE / "training" / "_torch_compat.py",
}
FILES = sorted(set(PACKAGE.rglob("*.py")) - FENCES)
BASES = (
    BaseEstimator, ClassifierMixin, MetaEstimatorMixin, TransformerMixin, CallbackSupportMixin,
    NeuralNet, Callback, torch.nn.Module, torch.optim.Optimizer, torch.utils.data.Dataset,
)  # fmt: skip
PRIVATE = re.compile(r"_[A-Za-z]\w*")
#: What the base classes call private, and what scikit-learn sets or asks for by name alone.
FOREIGN = {
    *(name for base in BASES for name in dir(base) if PRIVATE.fullmatch(name)),
    *(name for name in vars(torch.nn.Module()) if PRIVATE.fullmatch(name)),
    "_accept_sample_weight", "_metadata_request", "_parent_callback_ctx", "_skl_callbacks",
    "_sklearn_auto_wrap_output_keys", "_sklearn_output_config",
}  # fmt: skip
#: Documented, although they begin with an underscore: named tuples, a module of Python.
PUBLIC = {"_asdict", "_fields", "_replace", "_thread"}


def is_foreign(module: str | None) -> bool:
    return module is not None and module.partition(".")[0] not in ("sklearn_mlcl", "__future__")


def imported_privates(tree: ast.Module) -> Iterator[str]:
    """Yield private modules and names that are imported from other packages."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if is_foreign(alias.name)]
        elif isinstance(node, ast.ImportFrom) and is_foreign(node.module):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        names = [name for name in names if name not in PUBLIC]
        yield from (name for name in names if re.search(r"(^|\.)_", name))


def reached_privates(tree: ast.Module) -> Iterator[str]:
    """Yield private attributes of modules of other packages, such as ``torch._x``."""
    modules = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if is_foreign(alias.name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and PRIVATE.fullmatch(node.attr):
            root = ast.unparse(node.value).partition(".")[0]
            if root in modules:
                yield ast.unparse(node)


def named_privates(tree: ast.Module) -> Iterator[str]:
    """Yield names that belong to base classes elsewhere, as attributes, texts or assignments."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    foreign = FOREIGN - own - PUBLIC
    for node in ast.walk(tree):
        name = ""
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        if name in foreign or name.startswith("__metadata_request__"):
            yield name


def privates(tree: ast.Module) -> list[str]:
    return [*imported_privates(tree), *reached_privates(tree), *named_privates(tree)]


def overridden_privates(path: Path, tree: ast.Module) -> Iterator[str]:
    """Yield methods that override a private one of a base class elsewhere."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    module = import_module(name.removesuffix(".__init__"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            written = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            bases = [b for b in getattr(module, node.name).__mro__ if is_foreign(b.__module__)]
            theirs = {name for base in bases for name in vars(base) if PRIVATE.fullmatch(name)}
            yield from (f"{node.name}.{method}" for method in written & theirs)


def test_files_outside_the_fence_name_and_override_none() -> None:
    found = {}
    for path in FILES:
        tree = ast.parse(path.read_text())
        found[str(path.relative_to(PACKAGE))] = [*privates(tree), *overridden_privates(path, tree)]
    found = {path: names for path, names in found.items() if names}
    assert not found, "give utils/_sklearn_compat.py a function for it"


@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.utils import _safe_indexing",
        "import torch._dynamo",
        "import torch\ntorch._foreach_add_(steps, 1)",
        "import torch.nn as nn\nnn.modules._functions.x",
        "module._buffers",
        "getattr(estimator, '_metadata_request')",
        "self._sklearn_output_config = {}",
        "class A:\n    _doc_link_module = 'a'",
        "class A:\n    __metadata_request__score = {}",
        "net._set_training(False)",
        "estimator._validate_params()",
    ],
)
def test_the_walk_finds_private_names(source: str) -> None:
    assert privates(ast.parse(source))
