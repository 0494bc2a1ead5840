"""What we use of scikit-learn that is private there or younger than our lowest version.

One file to mend when a scikit-learn release moves something.
"""

from __future__ import annotations

from typing import Any

from sklearn.base import _fit_context
from sklearn.utils import _safe_indexing
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._set_output import ADAPTERS_MANAGER
from sklearn.utils.validation import _check_method_params, _check_sample_weight

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn 1.8 has no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in without behaviour: the callback protocol begins with scikit-learn 1.9."""

    def with_callbacks(method: Any) -> Any:
        """Return ``method`` unchanged: there are no callbacks to tear down."""
        return method


__all__ = [
    "ADAPTERS_MANAGER",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "_check_method_params",
    "_check_sample_weight",
    "_fit_context",
    "_openmp_effective_n_threads",
    "_safe_indexing",
    "validate_parameter_constraints",
    "with_callbacks",
]
