"""What we use of scikit-learn and joblib that is private there or missing in older versions.

One file to mend when a release moves something. ``tests/test_private_names.py`` keeps such names
out of all other files.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from traceback import format_exc
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import GridSearchCV
from sklearn.model_selection._validation import _score
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads as effective_n_threads
from sklearn.utils._param_validation import HasMethods, StrOptions, validate_parameter_constraints
from sklearn.utils._param_validation import Interval as AnyInterval
from sklearn.utils._set_output import ADAPTERS_MANAGER
from sklearn.utils.metadata_routing import UNUSED, MetadataRequest
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import _check_method_params as check_method_params
from sklearn.utils.validation import _num_samples as num_samples

from sklearn_mlcl.utils.doc_links import page_address
from sklearn_mlcl.utils.runtime import rollback_on_error, signals_reach_caller

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in without behaviour: the callback protocol begins with scikit-learn 1.9."""

    def with_callbacks(method: Any) -> Any:
        """Return ``method`` unchanged: there are no callbacks to tear down."""
        return method


__all__ = [
    "OUTPUT_CONFIG", "AnyInterval", "CallbackSupportMixin", "CheckedParameters",
    "DocumentationLinks", "HasMethods", "NamedEstimators", "OneFitSearch", "ScorerMixin",
    "StrOptions", "begin_fit_task", "check_method_params", "effective_n_threads",
    "expand_routing", "fit_context", "flatten_routing", "has_callbacks", "num_samples",
    "output_containers", "safe_indexing", "validate_parameter_constraints", "validate_parameters",
    "with_callbacks", "without_callbacks", "wrap_output",
]  # fmt: skip


#: Attributes of an estimator that callbacks of scikit-learn watch.
_OF_CALLBACKS = {
    "_callback_fit_ctx", "_parent_callback_ctx", "_skl_callbacks", "_skl_callbacks_to_teardown",
}  # fmt: skip


def without_callbacks(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator but for those of scikit-learn's callbacks."""
    return {name: value for name, value in attributes.items() if name not in _OF_CALLBACKS}


def has_callbacks(estimator: BaseEstimator) -> bool:
    """Return whether callbacks of scikit-learn watch a fit: its own, or those of a search."""
    return hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[Any], Any]:
    """Decorate ``fit``: parameters are checked first, and Ctrl-C leaves all as it was.

    Parameters
    ----------
    prefer_skip_nested_validation : bool
        Whether the parameters of estimators inside go unchecked.
    """
    checked = _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)

    def decorator(fit: Any) -> Any:
        return signals_reach_caller()(checked(fit))

    return decorator


def begin_fit_task(estimator: BaseEstimator, max_subtasks: int, given: dict[str, Any]) -> Any:
    """Tell scikit-learn's callbacks that a ``fit`` begins.

    Parameters
    ----------
    estimator : estimator
        With ``CallbackSupportMixin`` among its bases; the method that calls this one is decorated
        with ``with_callbacks``.
    max_subtasks : int
        Number of epochs.
    given : dict
        Arguments of ``fit``: ``X``, ``y`` and ``metadata``.

    Returns
    -------
    context : sklearn.callback.CallbackContext or None
        None before scikit-learn 1.9.
    """
    if not hasattr(estimator, "_init_callback_context"):
        return None
    context = estimator._init_callback_context(max_subtasks=max_subtasks)
    return context.call_on_fit_task_begin(estimator=estimator, **given)


class CheckedParameters(BaseEstimator):
    """Base of estimators that check more than their table of constraints does."""

    def _validate_params(self) -> None:
        super()._validate_params()
        self._check_parameters()

    def _check_parameters(self) -> None:
        """Raise for parameters that the table lets through; called where ``fit`` begins."""


def validate_parameters(estimator: Any) -> None:
    """Check the parameters of an estimator, as ``fit`` does where it begins."""
    estimator._validate_params()


class NamedEstimators(_BaseComposition):
    """Base of estimators with a parameter ``estimators``, a list of (name, estimator).

    Names are parameters too, and "drop" leaves an estimator out, as in ``VotingClassifier``.
    """

    estimators: list[tuple[str, Any]]

    def _sk_visual_block_(self) -> Any:
        from sklearn.ensemble import VotingClassifier  # a slow import for a view that few ask for

        return VotingClassifier._sk_visual_block_(self)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with ``deep`` also the estimators by name, and their parameters.

        Parameters
        ----------
        deep : bool, default=True
            Whether to add them.

        Returns
        -------
        params : dict
            Values by name.
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> Self:
        """Set parameters, estimators by name, or parameters of theirs.

        Parameters
        ----------
        **params : dict
            Values by name: ``forest="drop"``, ``forest__max_depth=3``.

        Returns
        -------
        self : estimator
            The estimator itself.
        """
        with rollback_on_error(self):
            self._set_params("estimators", **params)
        return self

    def _used_estimators(self) -> dict[str, Any]:
        """Return the estimators that are not dropped, by name; raise for what is no such list."""
        pairs = self.estimators
        if not pairs or not all(
            isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)
            for pair in pairs
        ):
            raise ValueError(
                f"estimators must be a list of at least one (name, estimator), got {pairs!r}."
            )
        self._validate_names([name for name, _ in pairs])
        used = {name: estimator for name, estimator in pairs if not _is_dropped(estimator)}
        if not used:
            raise ValueError("All estimators are dropped; expected at least one that is not.")
        for name, estimator in used.items():
            if not hasattr(estimator, "fit") or isinstance(estimator, type):
                raise ValueError(
                    f"The estimator {name!r} must be a classifier or 'drop', got {estimator!r}."
                )
        return used


def _is_dropped(estimator: Any) -> bool:
    return isinstance(estimator, str) and estimator == "drop"


# ---------------------------------------------------------------------- containers of answers

#: Where ``set_output`` stores the containers by method, so that a clone keeps them.
OUTPUT_CONFIG = "_sklearn_output_config"


def output_containers() -> list[str]:
    """Return the names of the containers that ``set_output`` knows."""
    return sorted(ADAPTERS_MANAGER.supported_outputs)


def wrap_output(values: np.ndarray, X: Any, columns: np.ndarray, container: str) -> Any:
    """Return an array as a container with named columns, and with the index of ``X`` if any."""
    return ADAPTERS_MANAGER.adapters[container].create_container(values, X, columns=columns)


# ---------------------------------------------------------------------- metadata routing


_REQUESTS = "_metadata_request"


def flatten_routing(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator, its metadata requests as method -> name -> request.

    Requests are what ``set_fit_request`` and the like chose.
    """
    attributes = dict(attributes)
    if _REQUESTS in attributes:
        methods = {n: part for n, part in vars(attributes[_REQUESTS]).items() if n != "owner"}
        attributes[_REQUESTS] = {n: dict(part.requests) for n, part in methods.items()}
    return attributes


def expand_routing(estimator: Any) -> None:
    """Put metadata requests in the place of what :func:`flatten_routing` made of them."""
    if _REQUESTS not in vars(estimator):
        return
    expanded = MetadataRequest(owner=estimator)
    for method, requests in vars(estimator)[_REQUESTS].items():
        for name, alias in requests.items():
            getattr(expanded, method).add_request(param=name, alias=alias)
    setattr(estimator, _REQUESTS, expanded)


class ScorerMixin(BaseEstimator):
    """Scorer ``score(estimator, X, y, sample_weight)``: what scikit-learn asks of one."""

    # The first argument of ``score`` is no metadata.
    __metadata_request__score = {"estimator": UNUSED}  # noqa: RUF012

    def _accept_sample_weight(self) -> bool:  # asked where metadata routing is off
        return True


# ---------------------------------------------------------------------- searches


class PointScorer:
    """Scores of a fitted estimator at each point of a grid, by point and metric.

    Parameters
    ----------
    scorer : callable
        What scikit-learn scores with: of one metric or of several.
    points : list of dict
        The points.
    changed : callable
        ``changed(estimator, point)`` returns the estimator with the parameters of a point.
    error_score : "raise" or float
        Score where that fails.
    """

    def __init__(self, scorer: Any, points: list[Any], changed: Any, error_score: Any) -> None:
        self.scorer, self.points = scorer, points
        self.changed, self.error_score = changed, error_score

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, **params: Any
    ) -> dict[tuple[int, str], float]:
        scores: dict[tuple[int, str], float] = {}
        for number, point in enumerate(self.points):
            try:
                there = self.changed(estimator, point)
            except Exception:
                if self.error_score == "raise":
                    raise
                warnings.warn(
                    f"The parameters {point} could not be set. Their score on this train-test "
                    f"partition will be set to {self.error_score}. Details:\n{format_exc()}",
                    FitFailedWarning,
                    stacklevel=2,
                )
                continue
            found = _score(there, X, y, self.scorer, params, self.error_score)
            found = found if isinstance(found, dict) else {"": found}
            scores |= {(number, metric): score for metric, score in found.items()}
        return scores


class OneFitSearch(GridSearchCV):
    """A grid search with one fit a fold, after which the points are set one by one.

    ``GridSearchCV`` searches a grid of a single point, with a scorer that scores all points. What
    it finds becomes the table that it would have made of as many fits.
    """

    _points: list[dict[str, Any]] | None = None

    def _searched(
        self, points: list[Any], estimator: Any, changed: Any, *data: Any, **params: Any
    ) -> Self:
        """Return this search, fitted.

        Parameters
        ----------
        points : list of dict
            The points of the grid.
        estimator : estimator
            What is fitted, in place of the parameter.
        changed : callable
            ``changed(estimator, point)`` returns a fitted estimator with other parameters.
        *data : array-like
            X and y.
        **params : dict
            Metadata.
        """
        search = copy.copy(self)
        search._asked, search._points, search._changed = self, points, changed
        search.estimator, search.param_grid = estimator, {}
        GridSearchCV.fit(search, *data, **params)
        scorer = search.scorer_.scorer
        search.scorer_ = scorer._scorers if isinstance(scorer, _MultimetricScorer) else scorer
        search.estimator, search.param_grid = self.estimator, self.param_grid
        del search._asked, search._points, search._changed
        return search

    def _get_scorers(self) -> tuple[Any, Any]:
        scorers, metric = super()._get_scorers()
        if self._points is not None:
            scorers = PointScorer(scorers, self._points, self._changed, self.error_score)
        return scorers, metric

    # Metadata goes to the scorers that were asked for.

    def _check_scorers_accept_sample_weight(self) -> bool:
        asked: Any = self if self._points is None else self._asked
        return GridSearchCV._check_scorers_accept_sample_weight(asked)

    def get_metadata_routing(self) -> Any:
        """Return the routing of metadata: to the estimator, the splitter and the scorers.

        Returns
        -------
        routing : MetadataRouter
        """
        asked: Any = self if self._points is None else self._asked
        return GridSearchCV.get_metadata_routing(asked)

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: list[Any], more_results: Any = None
    ) -> dict[str, Any]:
        # ``fit`` reads the same list afterwards: as if each point had been fitted.
        out[:] = self._by_point(out)
        return super()._format_results(self._points, n_splits, out, more_results)

    def _by_point(self, folds: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what is known of each point in each fold, from what each fold scored."""
        scored = [fold["test_scores"] for fold in folds if isinstance(fold["test_scores"], dict)]
        metrics = list(dict.fromkeys(metric for scores in scored for _, metric in scores))
        if not metrics:
            raise ValueError("No point of param_grid could be set; the warnings say why.")
        # A scorer of several metrics that failed gave one number.
        metrics = [metric for metric in metrics if metric] or [""]

        def of_point(number: int, scores: Any) -> Any:
            known = scores if isinstance(scores, dict) else {}
            each = {m: known.get((number, m), self.error_score) for m in metrics}
            return each[""] if metrics == [""] else each

        points = range(len(self._points or ()))
        table = []
        for number in points:
            for fold in folds:
                scores = {k: of_point(number, v) for k, v in fold.items() if k.endswith("_scores")}
                table.append(fold | scores | {"score_time": fold["score_time"] / len(points)})
        return table


# ---------------------------------------------------------------------- HTML view


class DocumentationLinks:
    """Mixin: an estimator whose HTML view links to the page of its class."""

    _doc_link_module = "sklearn_mlcl"
    _doc_link_template = "{address}"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"address": page_address(type(self))}
