"""Label-set means in the plane of a few labels: the picture of the collapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_mlcl.collapse import CollapseReport, neural_collapse_metrics
from sklearn_mlcl.inspection._drawing import COLOURS, QUIET, axes_of
from sklearn_mlcl.inspection._labels import embedding_of, label_names_of, n_labels_of, names_of


@dataclass(frozen=True)
class TagPlane:
    """The plane that shows the tags of some labels best, and those labels.

    Parameters
    ----------
    labels : ndarray of shape (k,), int
        The labels.
    origin : ndarray of shape (d,)
        Where the plane has its zero: the intercept of the tag model.
    axes : ndarray of shape (2, d)
        Orthonormal directions.
    """

    labels: np.ndarray
    origin: np.ndarray
    axes: np.ndarray

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """Coordinates (n, 2) of points (n, d)."""
        return (points - self.origin) @ self.axes.T

    def sets_inside(self, Y: np.ndarray) -> np.ndarray:
        """Mask of the rows of an indicator matrix with labels of the plane and no others."""
        inside = np.isin(np.arange(Y.shape[1]), self.labels)
        return np.logical_and(Y[:, inside].any(axis=1), ~Y[:, ~inside].any(axis=1))


class TagPlaneDisplay:
    r"""Means of label sets in the plane of a few labels, with the sums of tags they tend to.

    The plane is that of the tags of three labels (the best one for more); shown are the label
    sets made of these labels alone. At collapse the tags form a regular figure, the rows of a set
    one point, and the mean of a set lies on the ray of the sum of its tags.

    Parameters
    ----------
    tags : ndarray of shape (k, 2)
        Tags of the labels in the plane.
    set_means : ndarray of shape (U, 2)
        Means of the label sets.
    sets : ndarray of shape (U, k), bool
        The label sets, a column for each label of the plane.
    label_names : list of str
        Names of the k labels.
    rows, row_sets : ndarray of shape (n, 2) and (n, k), default=None
        Rows to scatter, and their label sets.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    means_ : matplotlib PathCollection
        The means of the label sets.
    rays_ : list of matplotlib Line2D
        From the origin along the sum of the tags of every set.
    scatter_ : matplotlib PathCollection or None
        The rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
    >>> from sklearn_mlcl.inspection import TagPlaneDisplay
    >>> Y = np.repeat([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]], 5, axis=0)
    >>> report = neural_collapse_metrics(Y @ simplex_etf(3), Y)
    >>> TagPlaneDisplay.from_report(report).set_means.shape
    (4, 2)
    """

    def __init__(
        self,
        tags: np.ndarray,
        set_means: np.ndarray,
        sets: np.ndarray,
        label_names: Sequence[str],
        rows: np.ndarray | None = None,
        row_sets: np.ndarray | None = None,
    ) -> None:
        self.tags = tags
        self.set_means = set_means
        self.sets = sets
        self.label_names = label_names
        self.rows = rows
        self.row_sets = row_sets

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, labels: Sequence[int] = (0, 1, 2),
        label_names: Sequence[str] | None = None, ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
    ) -> TagPlaneDisplay:  # fmt: skip
        """Plot the embedding of rows and the means of their label sets.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``transform``.
        X : array-like of shape (n, n_features)
            Rows, usually those of the training.
        y : array-like of shape (n, K)
            Their indicator matrix.
        labels : sequence of int, default=(0, 1, 2)
            At least three labels.
        label_names : sequence of str, default=None
            Names of all K labels; None for the columns of a DataFrame y, else those that the
            estimator was fitted with, else numbers.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        scatter_kwargs : dict, default=None
            Further arguments of the scatter of the rows.

        Returns
        -------
        display : TagPlaneDisplay
            The display, drawn.
        """
        embedding = embedding_of(estimator, X)
        report = neural_collapse_metrics(embedding, y)
        names = label_names_of(label_names, y, n_labels_of(y), estimator)
        display = cls.from_report(report, labels=labels, label_names=names)
        plane = _plane(report, labels)
        Y = np.asarray(y.toarray() if hasattr(y, "toarray") else y) == 1
        shown = plane.sets_inside(Y)
        display.rows = plane.coordinates(embedding[shown])
        display.row_sets = Y[np.ix_(shown, plane.labels)]
        return display.plot(ax=ax, scatter_kwargs=scatter_kwargs)

    @classmethod
    def from_report(
        cls,
        report: CollapseReport,
        *,
        labels: Sequence[int] = (0, 1, 2),
        label_names: Sequence[str] | None = None,
    ) -> TagPlaneDisplay:
        """Make the display from collapse metrics, without rows and without plotting it.

        Parameters
        ----------
        report : CollapseReport
            What :func:`~sklearn_mlcl.collapse.neural_collapse_metrics` returned.
        labels : sequence of int, default=(0, 1, 2)
            At least three labels.
        label_names : sequence of str, default=None
            Names of all K labels; None for their numbers.

        Returns
        -------
        display : TagPlaneDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For fewer than three labels, or a label without a tag.
        """
        plane, arrays = _plane(report, labels), report.arrays
        names = names_of(label_names, len(arrays["tags"]))
        shown = plane.sets_inside(arrays["label_sets"])
        return cls(
            arrays["tags"][plane.labels] @ plane.axes.T,
            plane.coordinates(arrays["set_means"][shown]),
            arrays["label_sets"][np.ix_(shown, plane.labels)],
            [names[k] for k in plane.labels],
        )

    def plot(
        self, ax: Any = None, *, scatter_kwargs: Mapping[str, Any] | None = None
    ) -> TagPlaneDisplay:
        """Draw rows, means and rays; the colour of a set is the mixture of its labels' colours.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        scatter_kwargs : dict, default=None
            Further arguments of the scatter of the rows.

        Returns
        -------
        display : TagPlaneDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(4.8, 4.8))
        self.figure_ = self.ax_.figure
        self.scatter_ = None
        if self.rows is not None:
            style = {"s": 8, "alpha": 0.4, "linewidths": 0, **(scatter_kwargs or {})}
            self.scatter_ = self.ax_.scatter(*self.rows.T, c=self._colours(self.row_sets), **style)
        self.rays_ = [
            self.ax_.plot([0, x], [0, y], color=QUIET, linewidth=1, zorder=1, **_dash(members))[0]
            for (x, y), members in zip(self._targets(), self.sets, strict=True)
        ]
        self.means_ = self.ax_.scatter(
            *self.set_means.T, c=self._colours(self.sets), s=70, edgecolors="black", zorder=3
        )
        for point, members in zip(self.set_means, self.sets, strict=True):
            self.ax_.annotate(
                self._name(members), point, xytext=(7, 5), textcoords="offset points", zorder=4
            )
        self.ax_.set_aspect("equal", adjustable="datalim")
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.margins(0.15)
        return self

    def _targets(self) -> np.ndarray:
        """Ends of the rays: along the sums of tags, as far out as the means are."""
        sums = self.sets @ self.tags
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        reach = np.linalg.norm(self.set_means, axis=1, keepdims=True)
        return np.divide(reach * sums, norms, out=np.zeros_like(sums), where=norms > 0)

    def _colours(self, sets: Any) -> np.ndarray:
        from matplotlib.colors import to_rgb

        palette = np.array([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(sets.shape[1])])
        return sets @ palette / sets.sum(axis=1, keepdims=True)

    def _name(self, members: np.ndarray) -> str:
        names = [name for name, member in zip(self.label_names, members, strict=True) if member]
        return names[0] if len(names) == 1 else "{" + ", ".join(names) + "}"


def _dash(members: np.ndarray) -> dict[str, str]:
    return {"linestyle": "-" if members.sum() == 1 else "--"}


def _plane(report: CollapseReport, labels: Sequence[int]) -> TagPlane:
    tags, chosen = report.arrays["tags"], np.asarray(labels)
    known = np.isin(chosen, np.arange(len(tags))).all()
    if chosen.ndim != 1 or len(np.unique(chosen)) < 3 or not known:
        raise ValueError(
            f"labels must name at least three of the {len(tags)} labels by number, got {labels!r}."
        )
    chosen = np.unique(chosen)
    lacking = chosen[np.isnan(tags[chosen]).any(axis=1)]
    if len(lacking):
        raise ValueError(f"labels {lacking.tolist()} have no tag: no usable row carries them.")
    _, _, directions = np.linalg.svd(tags[chosen] - tags[chosen].mean(axis=0), full_matrices=False)
    axes = np.zeros((2, tags.shape[1]))
    axes[: len(directions[:2])] = directions[:2]
    # Signs of singular vectors are arbitrary: put the first label to the upper right.
    signs = np.where(axes @ (tags[chosen[0]] - tags[chosen].mean(axis=0)) < 0, -1.0, 1.0)
    return TagPlane(chosen, report.arrays["intercept"], axes * signs[:, None])
