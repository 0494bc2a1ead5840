"""Packages that are installed on request only."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_extra(module: str, purpose: str, extra: str) -> Any:
    """Import a module; where it is missing, the error names the extra to install.

    Parameters
    ----------
    module : str
        Full name of the module.
    purpose : str
        What needs it.
    extra : str
        The extra of this package that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {module.partition('.')[0]}, which is not installed: "
            f"pip install 'sklearn-mlcl[{extra}]'."
        ) from error
