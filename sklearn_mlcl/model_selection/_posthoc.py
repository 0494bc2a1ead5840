"""A grid search over what is chosen after the training: as many fits as folds."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from sklearn_mlcl.model_selection._choices import (
    KeepsChoices,
    keep_evidence,
    last_step,
    with_parameters,
)
from sklearn_mlcl.utils._sklearn_compat import DocumentationLinks, OneFitSearch, fit_context
from sklearn_mlcl.utils.parameters import named_in_errors


@named_in_errors
class PosthocSearchCV(DocumentationLinks, OneFitSearch):
    """Grid search over parameters that need no fit of their own: one fit a fold for all points.

    It replaces ``GridSearchCV`` for parameters that a fit of this package uses after its training.
    The search makes one fit for each fold. Then it sets every point of the grid, and the estimator
    chooses anew on its held-out samples what depends on the point. The scores, the other results,
    the methods and the metadata are those of ``GridSearchCV``.

    Parameters
    ----------
    estimator : classifier
        A classifier of this package, or a pipeline that ends in one. Of the nets, the grid may have
        ``neighbor_weight``, ``linear_weight``, ``threshold`` and ``net_params__pseudo_count``, of
        :class:`~sklearn_mlcl.CGMVAEClassifier` also ``net_params__n_predict_samples``. Of
        :class:`~sklearn_mlcl.MultiLabelLogisticRegression` it may have ``threshold``. Of
        :class:`~sklearn_mlcl.MultiLabelThresholdClassifierCV` it may have ``objective``,
        ``per_label`` and ``shrinkage``. Of
        :class:`~sklearn_mlcl.model_selection.MultiLabelVotingClassifierCV` it may have
        ``threshold``, ``weights``, ``calibrate`` and ``shrinkage``. Of
        :class:`~sklearn_mlcl.calibration.MultiLabelCalibratedClassifierCV` it may have ``method``.
    param_grid : dict or list of dict
        Values by name. In a pipeline a name has the prefix of the step.
    scoring : str, callable, list, tuple, dict or None, default=None
        As in ``GridSearchCV``; None is the ``score`` of the estimator.
    n_jobs : int or None, default=None
        Number of folds at the same time.
    refit : bool, str or callable, default=True
        Whether to fit on all samples with the best parameters. With several metrics it is the name
        of the one that decides, or a function of ``cv_results_``.
    cv : int, splitter, iterable of splits or None, default=None
        The folds; :class:`~sklearn_mlcl.model_selection.MultilabelStratifiedKFold` stratifies them
        over the labels.
    verbose : int, default=0
        If above 0, messages are printed.
    pre_dispatch : int or str, default="2*n_jobs"
        Folds that are dispatched ahead.
    error_score : "raise" or float, default=NaN
        Score of a fold that cannot be fitted, or of a point that cannot be set.
    return_train_score : bool, default=False
        Whether to score the training parts too.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As in ``GridSearchCV``. A fold has one ``fit_time``, which all points share. The
        ``score_time`` of a point is that of all points over their number.
    best_params_, best_score_, best_index_
        The best point, its mean score, and its number.
    best_estimator_ : classifier
        Fitted on all samples with the best parameters; only with ``refit``.
    scorer_ : callable or dict
        What scored.
    n_splits_ : int
        Number of folds.
    refit_time_ : float
        Seconds of the fit on all samples.
    multimetric_ : bool
        Whether there are several metrics.
    classes_, n_features_in_, feature_names_in_
        Those of ``best_estimator_``.

    See Also
    --------
    sklearn.model_selection.GridSearchCV : Any parameter, with a fit for each point and fold.

    Notes
    -----
    The number of epochs of a net does not depend on ``neighbor_weight`` and ``linear_weight``. A
    callback that ends a training by a score sees the parameters of ``estimator``, not those of
    the points. ``GridSearchCV`` then finds other numbers of epochs.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> from sklearn_mlcl.model_selection import PosthocSearchCV
    >>> X, Y = make_multilabel_classification(200, n_classes=3, random_state=0)
    >>> mlp = MultiLabelMLPClassifier(max_epochs=3, random_state=0)
    >>> grid = {"neighbor_weight": [0.0, 0.5], "threshold": [0.3, "f1_micro"]}
    >>> search = PosthocSearchCV(mlp, grid, scoring="f1_micro", cv=3).fit(X, Y)
    >>> len(search.cv_results_["params"]), sorted(search.best_params_)
    (4, ['neighbor_weight', 'threshold'])
    """

    _doc_module: ClassVar[str] = "sklearn_mlcl.model_selection"

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit once a fold, score all points, and fit with the best ones on all samples.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Samples, as the estimator takes them.
        y : array-like of shape (n, L) or (n,)
            Targets.
        **params : dict
            Metadata for the estimator, the splitter and the scorer, as in ``GridSearchCV``.

        Returns
        -------
        self : object
            The fitted search.

        Raises
        ------
        ValueError
            If a parameter of the grid needs a fit for each value, or the estimator is of another
            kind.
        """
        points = list(ParameterGrid(self.param_grid))
        _check_points(self.estimator, points)
        estimator = keep_evidence(clone(self.estimator), True)
        found = self._searched(points, estimator, with_parameters, X, y, **params)
        if self.refit:
            keep_evidence(found.best_estimator_, False)
        self.__dict__.update(vars(found))
        return self


def _check_points(estimator: Any, points: list[dict[str, Any]]) -> None:
    last, prefix = last_step(estimator)
    if not isinstance(last, KeepsChoices):
        raise ValueError(
            "PosthocSearchCV: estimator must be a classifier of sklearn_mlcl whose parameters can "
            f"change after fit, or a pipeline that ends in one; got {estimator!r}. Others need "
            "GridSearchCV."
        )
    known = estimator.get_params()
    takes = sorted(name for name in last._without_fit if prefix + name in known)
    for name in dict.fromkeys(name for point in points for name in point):
        if name not in known:
            clone(estimator).set_params(**{name: None})  # says what it has
        if not (name.startswith(prefix) and name.removeprefix(prefix) in takes):
            raise ValueError(
                f"PosthocSearchCV: param_grid has {name!r}, which needs a fit for each value. "
                f"Without one {type(last).__name__} takes {[prefix + name for name in takes]}. "
                "Use GridSearchCV, which may have a PosthocSearchCV as its estimator."
            )
