"""A leaderboard: classifiers and their vote on the same folds, with thresholds from inside them."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GroupKFold, GroupShuffleSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler
from sklearn.utils import indexable

from sklearn_mlcl.calibration._vote import (
    calibrated,
    common_calibration,
    vote_thresholds,
    vote_weights,
    weighted_mean,
)
from sklearn_mlcl.calibration._voting import VOTE
from sklearn_mlcl.estimators.contrastive import ContrastiveMultiLabelClassifier
from sklearn_mlcl.estimators.logistic import MultiLabelLogisticRegression
from sklearn_mlcl.estimators.mlp import MultiLabelMLPClassifier
from sklearn_mlcl.metrics import get_scorer, get_scorer_names
from sklearn_mlcl.model_selection._held_out import FOLDS, cross_fit, splits_of
from sklearn_mlcl.thresholds import OBJECTIVES
from sklearn_mlcl.utils._sklearn_compat import StrOptions, safe_indexing
from sklearn_mlcl.utils.answers import infer_format
from sklearn_mlcl.utils.extras import import_extra
from sklearn_mlcl.utils.parameters import SHARE, check_arguments
from sklearn_mlcl.utils.response import label_scores
from sklearn_mlcl.utils.targets import label_names_in
from sklearn_mlcl.utils.validation import check_threshold

if TYPE_CHECKING:
    import pandas as pd

N_TREES = 300
SCORES = ("f1_samples", "f1_micro", "f1_macro", "average_precision_macro", "neg_log_loss")
#: What folds of rare labels make classifiers say.
ABOUT_CONSTANT_LABELS = (".*labels? have a single value", "Label .* is present in all training")


Samples = tuple[Any, np.ndarray]
Scorers = dict[str, Callable[..., float]]


def compare(
    X: Any,
    Y: Any,
    estimators: Sequence[tuple[str, Any]] | None = None,
    *,
    cv: Any = 5,
    inner_cv: Any = 3,
    scoring: Sequence[str] | Mapping[str, Callable[..., float]] = SCORES,
    threshold: Any = "auto",
    groups: Any = None,
    missing_label: float = np.nan,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Compare classifiers and their vote by cross-validation, the best one first.

    All get the same folds. Thresholds, and weights and calibration of the vote, come from inner
    folds of the training samples. The test samples are used for the scores only.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        Samples, as the classifiers take them.
    Y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
        Indicator matrix; NaN (and ``missing_label``) where missing. The classifiers get an integer
        array, with missing labels a floating one with NaN.
    estimators : list of (str, classifier), default=None
        Names and classifiers with ``predict_proba``. None compares six. "logistic" is
        :class:`~sklearn_mlcl.MultiLabelLogisticRegression` with ``C="cv"`` behind a scaler. "random
        forest" and "extra trees" have 300 trees. "boosting" is histogram gradient boosting, one
        classifier per label. "MLP" and "contrastive" are
        :class:`~sklearn_mlcl.MultiLabelMLPClassifier` and
        :class:`~sklearn_mlcl.ContrastiveMultiLabelClassifier`. Forests and boosting of scikit-learn
        fail on missing labels.
    cv : int, float, splitter or iterable of splits, default=5
        Folds of the scores: a number of stratified folds, or in (0, 1) the test share of one
        stratified split. With ``groups`` they keep groups together in place of being stratified.
    inner_cv : int, float or splitter, default=3
        Folds of each training part, for the thresholds, and for weights and calibration of the
        vote.
    scoring : list of str or dict of str to callable, default=("f1_samples", "f1_micro", \
"f1_macro", "average_precision_macro", "neg_log_loss")
        Names that :func:`sklearn_mlcl.metrics.get_scorer` knows, or scorers
        ``scorer(estimator, X, y)``. Greater is better.
    threshold : "auto", float, array-like of shape (L,) or str, default="auto"
        As in :class:`~sklearn_mlcl.model_selection.MultiLabelVotingClassifierCV`.
    groups : array-like of shape (n,), default=None
        Samples of a group stay on one side of each split.
    missing_label : float, default=NaN
        Value that marks a missing entry of Y beside NaN, for example -1.
    n_jobs : int or None, default=None
        Number of fits at the same time.
    random_state : int, RandomState instance or None, default=None
        Seeds the classifiers of ``estimators=None`` and shuffles the samples before they are dealt
        to folds; None keeps their order.
    verbose : int, default=0
        Whether to show progress on the standard error stream.

    Returns
    -------
    table : DataFrame
        A row for each classifier, and one for the ``"vote"`` of those that did not fail, if there
        are two at least. ``mean_rank`` is the mean of the ranks in the scores, ties shared; the
        rows are sorted by it. Each score has its mean over the folds and, as ``<score>_std``, its
        standard deviation. ``fit_seconds`` is the mean time of all fits on a training part, those
        of the inner folds included, and ``predict_seconds`` that for a test part.

    Raises
    ------
    ValueError
        If ``Y`` is no label matrix, or for unknown names.
    ImportError
        If pandas is not installed.

    Warns
    -----
    UserWarning
        If a classifier fails. Its row is NaN.

    See Also
    --------
    MultiLabelVotingClassifierCV : The vote.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.ensemble import ExtraTreesClassifier
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.model_selection import compare
    >>> X, Y = make_multilabel_classification(200, n_classes=3, random_state=0)
    >>> models = [
    ...     ("trees", ExtraTreesClassifier(20, random_state=0)),
    ...     ("logistic", MultiLabelLogisticRegression()),
    ... ]
    >>> table = compare(X, Y, models, cv=2, random_state=0)
    >>> sorted(table.index)
    ['logistic', 'trees', 'vote']
    """
    pd = import_extra("pandas", "A table", "plot")
    check_arguments(
        "compare",
        estimators=(estimators, list, tuple, None),
        cv=(cv, *FOLDS),
        inner_cv=(inner_cv, *FOLDS),
        threshold=(threshold, StrOptions({"auto", *OBJECTIVES}), SHARE, "array-like"),
        n_jobs=(n_jobs, Integral, None),
        verbose=(verbose, "verbose"),
    )
    scorers = _scorers(scoring)
    X, Y, groups = indexable(X, Y, groups)
    names, Y = label_names_in(Y), _plain(Y, missing_label)
    if not isinstance(threshold, str):
        threshold = check_threshold(threshold, Y.shape[1], names)
    named = list(_default_models(X, random_state) if estimators is None else estimators)
    pairs = [pair for pair in named if isinstance(pair, tuple | list) and len(pair) == 2]
    if len(pairs) < len(named) or not all(
        isinstance(name, str) and hasattr(model, "fit") and not isinstance(model, type)
        for name, model in pairs
    ):
        raise ValueError(f"estimators must be a list of (name, classifier), got {estimators!r}.")
    models = dict(named)
    if len(models) < len(named) or not models or VOTE in models:
        raise ValueError(
            f"estimators must have different names, none of them {VOTE!r}; got "
            f"{[name for name, _ in named]}."
        )

    def splits(cv: Any, rows: np.ndarray) -> list[tuple[Any, Any]]:
        part, of_part = (safe_indexing(X, rows), Y[rows]), {}
        if groups is not None:
            cv, of_part = _of_groups(cv, random_state), {"groups": safe_indexing(groups, rows)}
        return splits_of(cv, *part, random_state, of_part)

    outer = splits(cv, np.arange(len(Y)))
    progress = _Progress(len(outer) * len(models), shown=bool(verbose))
    records, failed = [], set()
    for fold, (train, test) in enumerate(outer, start=1):
        train_part, test_part = ((safe_indexing(X, rows), Y[rows]) for rows in (train, test))
        inner, answers = splits(inner_cv, train), {}
        for name, model in models.items():
            progress.step(f"fold {fold} of {len(outer)}, {name}")
            if name in failed:
                continue
            try:
                answers[name] = _answers(model, train_part, test_part[0], inner, n_jobs)
            except Exception as error:  # whatever it may be, the others go on
                warnings.warn(
                    f"{name!r} failed in fold {fold}, so its scores are NaN: {error!r}",
                    UserWarning,
                    stacklevel=2,
                )
                failed.add(name)
        if len(answers) > 1:
            answers[VOTE] = _vote(list(answers.values()))
        for name, each in answers.items():
            records.append({"model": name} | _judged(each, *test_part, threshold, scorers))
    progress.end()
    return _table(pd, [r for r in records if r["model"] not in failed], list(models), list(scorers))


def _scorers(scoring: Any) -> Scorers:
    """Return scorers by name."""
    if isinstance(scoring, Mapping) and scoring and all(map(callable, scoring.values())):
        return dict(scoring)
    names = get_scorer_names()
    if not isinstance(scoring, list | tuple) or not scoring or not set(scoring) <= set(names):
        raise ValueError(
            f"scoring must be a list of some of {names}, or a dict of scorers by name, got "
            f"{scoring!r}."
        )
    return {name: get_scorer(name) for name in scoring}


@dataclass(frozen=True)
class _Answers:
    """What a model says of the samples of an outer fold.

    Attributes
    ----------
    Y : ndarray of shape (n_held_out, L)
        Targets of the held-out samples of the inner folds.
    held_out : ndarray of shape (n_held_out, L)
        Their probabilities.
    test : ndarray of shape (n_test, L)
        Probabilities of the test samples.
    fit_seconds, predict_seconds : float
        Times.
    """

    Y: np.ndarray
    held_out: np.ndarray
    test: np.ndarray
    fit_seconds: float
    predict_seconds: float


def _answers(
    model: Any, train: Samples, X_test: Any, inner: list[tuple[Any, Any]], n_jobs: int | None
) -> _Answers:
    """Fit on the parts of a training part and on all of it; ask for probabilities."""
    response: dict[str, Any] = {"n_labels": train[1].shape[1], "method": "predict_proba"}
    with warnings.catch_warnings():
        for message in ABOUT_CONSTANT_LABELS:
            warnings.filterwarnings("ignore", message)
        start = time.perf_counter()
        (fitted,), rows, (held_out,) = cross_fit(
            [(model, {})], *train, inner, n_jobs, refit=True, **response
        )
        done = time.perf_counter()
        test = label_scores(fitted, X_test, **response)
    return _Answers(train[1][rows], held_out, test, done - start, time.perf_counter() - done)


def _vote(members: list[_Answers]) -> _Answers:
    """Return what the members say together, for all of their time."""
    start, Y = time.perf_counter(), members[0].Y
    lines = [common_calibration(Y, member.held_out) for member in members]
    held_out = calibrated(lines, [member.held_out for member in members])
    test = calibrated(lines, [member.test for member in members])
    weights = vote_weights(Y, held_out)
    chosen = time.perf_counter() - start
    return _Answers(
        Y,
        weighted_mean(held_out, weights),
        weighted_mean(test, weights),
        chosen + sum(member.fit_seconds for member in members),
        sum(member.predict_seconds for member in members),
    )


class _Stored(ClassifierMixin, BaseEstimator):
    """A classifier whose answers are there already, for scorers."""

    def __init__(self, probabilities: np.ndarray, decisions: np.ndarray) -> None:
        self.probabilities = probabilities
        self.decisions = decisions
        self.classes_ = np.arange(probabilities.shape[1])

    def predict(self, X: Any) -> np.ndarray:
        return self.decisions

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.probabilities


def _judged(
    answers: _Answers,
    X_test: Any,
    Y_test: np.ndarray,
    threshold: Any,
    scorers: Scorers,
) -> dict[str, float]:
    """Return scores and times."""
    cuts = vote_thresholds(threshold, answers.Y, answers.held_out)
    model = _Stored(answers.test, (answers.test >= cuts).astype(int))
    scores = {name: float(scorer(model, X_test, Y_test)) for name, scorer in scorers.items()}
    times = {name: getattr(answers, name) for name in ("fit_seconds", "predict_seconds")}
    return scores | times


def _table(
    pd: Any, records: list[dict[str, Any]], models: list[str], scores: list[str]
) -> pd.DataFrame:
    """Return means and spreads over folds, sorted by the mean rank."""
    times = ["fit_seconds", "predict_seconds"]
    folds = pd.DataFrame(records, columns=["model", *scores, *times]).groupby("model")
    means, spreads = folds.mean(), folds[scores].std().add_suffix("_std")
    names = [*models, VOTE] if VOTE in means.index else models
    table = means.join(spreads).reindex(pd.Index(names, name="model"))
    table.insert(0, "mean_rank", table[scores].rank(ascending=False).mean(axis=1))
    columns = [column for score in scores for column in (score, f"{score}_std")]
    return table[["mean_rank", *columns, *times]].sort_values("mean_rank", kind="stable")


def _plain(Y: Any, missing_label: float) -> np.ndarray:
    """Return a dense label matrix in an integer dtype, or floating with NaN.

    scikit-learn's forests refuse CSR, and its one-vs-rest mistakes labels in short integers.
    """
    target_format = infer_format(Y, missing_label=missing_label)
    if target_format.kind != "multilabel":
        raise ValueError(f"Y must be a label matrix, got {target_format.kind} classes.")
    indicator: Any = target_format.indicator(Y)
    dense = indicator.toarray() if sp.issparse(indicator) else indicator
    return dense if np.isnan(dense).any() else dense.astype(np.int64)


def _default_models(X: Any, random_state: Any) -> list[tuple[str, Any]]:
    from sklearn.ensemble import (  # slow to import, and not needed elsewhere
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )

    seed = {"random_state": random_state}
    sparse = sp.issparse(X)
    scaler = MaxAbsScaler() if sparse else StandardScaler()
    boosting = OneVsRestClassifier(HistGradientBoostingClassifier(early_stopping=False, **seed))
    if sparse:  # which boosting does not take
        boosting = make_pipeline(FunctionTransformer(_dense, accept_sparse=True), boosting)
    return [
        ("logistic", make_pipeline(scaler, MultiLabelLogisticRegression(C="cv"))),
        ("random forest", RandomForestClassifier(N_TREES, **seed)),
        ("extra trees", ExtraTreesClassifier(N_TREES, **seed)),
        ("boosting", boosting),
        ("MLP", MultiLabelMLPClassifier(**seed)),
        ("contrastive", ContrastiveMultiLabelClassifier(**seed)),
    ]


def _dense(X: Any) -> np.ndarray:
    return X.toarray()


def _of_groups(cv: Any, random_state: Any) -> Any:
    """Return a splitter that keeps groups together in place of a number."""
    if isinstance(cv, Integral):
        return GroupKFold(int(cv))
    if isinstance(cv, Real):
        return GroupShuffleSplit(1, test_size=float(cv), random_state=random_state)
    return cv


class _Progress:
    """A bar on the standard error stream."""

    width = 30

    def __init__(self, total: int, *, shown: bool) -> None:
        self.total, self.shown, self.begun = total, shown, 0

    def step(self, text: str) -> None:
        """Say what begins."""
        self._draw(text)
        self.begun += 1

    def end(self) -> None:
        """Fill the bar."""
        self._draw("done")
        if self.shown:
            sys.stderr.write("\n")

    def _draw(self, text: str) -> None:
        if self.shown:
            bar = "#" * (self.width * self.begun // self.total)
            sys.stderr.write(f"\r[{bar:<{self.width}}] {self.begun}/{self.total} {text:<40}")
            sys.stderr.flush()
