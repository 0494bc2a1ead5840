"""Samples in two dimensions of their embedding, coloured by their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_consistent_length

from sklearn_mlcl.inspection._drawing import (
    ACCENT,
    QUIET,
    Options,
    as_options,
    figure_and_axes,
    legend_beside,
    shortened,
)
from sklearn_mlcl.inspection._labels import label_indices, label_names_of, n_labels_of
from sklearn_mlcl.utils.validation import positives_and_known

#: Numbers of labels up to which each has a colour of its own.
MAX_STEPS = 10


@dataclass(eq=False, repr=False)
class EmbeddingDisplay:
    """Map of the embedding of samples, coloured by one label or by the number of their labels.

    Make one by :meth:`from_estimator`, or by :meth:`from_embedding` from vectors.

    Parameters
    ----------
    points : ndarray of shape (n, 2)
        Coordinates of the samples.
    values : ndarray of shape (n,)
        With a label 1, 0 or NaN (missing); else the number of positive labels.
    label : str or None, default=None
        Name of the label that colours the samples; None for the number of labels.
    axis_names : tuple of str, default=("", "")
        What the two coordinates are.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    scatters_ : dict of str to matplotlib PathCollection
        The samples: "without", "missing" and "with" the label, or all of them as "samples".
    colorbar_ : matplotlib Colorbar or None
        The numbers of labels.

    See Also
    --------
    CollapseDisplay : Label-set means in the plane of a few labels.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import ContrastiveMultiLabelClassifier
    >>> from sklearn_mlcl.inspection import EmbeddingDisplay
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> clf = ContrastiveMultiLabelClassifier(max_epochs=2, random_state=0).fit(
    ...     X, Y
    ... )
    >>> display = EmbeddingDisplay.from_estimator(clf, X, Y, label=2)
    >>> display.points.shape, sorted(display.scatters_)
    ((100, 2), ['with', 'without'])
    """

    points: np.ndarray
    values: np.ndarray
    label: str | None = None
    axis_names: tuple[str, str] = ("", "")

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, label: int | str | None = None,
        reducer: Any = None, label_names: Sequence[str] | None = None, ax: Any = None,
        scatter_kwargs: Options = None,
    ) -> Self:  # fmt: skip
        """Plot the embedding of samples.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``transform``.
        X : array-like of shape (n, n_features)
            Samples.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Their indicator matrix, NaN for missing labels.
        label : int or str, default=None
            Label that colours the samples, by number or name; None for the number of labels.
        reducer : transformer, default=None
            Maps the embedding to two dimensions, such as :class:`~sklearn.manifold.TSNE` or UMAP.
            It is cloned and fitted to these samples. None for the first two principal components.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame, those that the estimator was
            fitted with, or numbers.
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        scatter_kwargs : dict, default=None
            Further arguments of ``scatter``.

        Returns
        -------
        display : EmbeddingDisplay
            The display, drawn.
        """
        names = label_names_of(label_names, n_labels_of(y), y, estimator)
        display = cls.from_embedding(
            estimator.transform(X), y, label=label, reducer=reducer, label_names=names
        )
        return display.plot(ax=ax, scatter_kwargs=scatter_kwargs)

    @classmethod
    def from_embedding(
        cls, embedding: Any, y: Any, *, label: int | str | None = None, reducer: Any = None,
        label_names: Sequence[str] | None = None,
    ) -> Self:  # fmt: skip
        """Make the display from vectors, without plotting it.

        Parameters
        ----------
        embedding : {array-like, sparse matrix} of shape (n, d)
            One vector a sample, d >= 2; with d = 2 and no reducer they are shown unchanged.
        y, label, reducer, label_names
            As in :meth:`from_estimator`.

        Returns
        -------
        display : EmbeddingDisplay
            The display, not drawn yet.

        Raises
        ------
        ValueError
            If the numbers of samples differ, the embedding has fewer than two columns, or the
            reducer does not return two. For entries of y other than 0, 1 and NaN, or an unknown
            label.
        """
        positive, known = positives_and_known(y)
        check_consistent_length(embedding, positive)
        points, axis_names = _in_two_dimensions(embedding, reducer)
        if label is None:
            return cls(points, positive.sum(axis=1), axis_names=axis_names)
        names = label_names_of(label_names, positive.shape[1], y)
        (column,) = label_indices([label], names)
        values = positive[:, column].astype(np.float64)
        if known is not None:
            values[~known[:, column]] = np.nan
        return cls(points, values, names[column], axis_names)

    def plot(self, ax: Any = None, *, scatter_kwargs: Options = None) -> Self:
        """Draw the samples; those with the label on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        scatter_kwargs : dict, default=None
            Further arguments of ``scatter``.

        Returns
        -------
        display : EmbeddingDisplay
            The display, drawn.
        """
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=(6.0, 4.6))
        # Points of many samples must be small to remain apart.
        size = float(np.clip(8000 / max(len(self.points), 1), 3, 25))
        style = {"s": size, "linewidths": 0, "rasterized": True}
        self.colorbar_ = None
        draw = self._draw_counts if self.label is None else self._draw_label
        draw(style, as_options(scatter_kwargs, "scatter_kwargs"))
        self.ax_.set(xticks=[], yticks=[], xlabel=self.axis_names[0], ylabel=self.axis_names[1])
        return self

    def _draw_label(self, style: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        hollow = {"facecolors": "none", "edgecolors": QUIET, "linewidths": 0.6}
        groups = {
            "without": (self.values == 0, {"color": QUIET, "alpha": 0.5}),
            "missing": (np.isnan(self.values), hollow),
            "with": (self.values == 1, {"color": ACCENT, "alpha": 0.9, "s": 2 * style["s"]}),
        }
        self.scatters_ = {}
        for name, (members, own) in groups.items():
            if members.any():
                own = {**style, **own, "label": f"{name} ({members.sum()})", **wanted}
                self.scatters_[name] = self.ax_.scatter(*self.points[members].T, **own)
        for handle in legend_beside(self.ax_, shortened(self.label)).legend_handles:
            handle.set(alpha=1, sizes=[25])

    def _draw_counts(self, style: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap
        from matplotlib.ticker import MaxNLocator

        low, high = int(self.values.min()), int(self.values.max())
        steps = high - low + 1
        # Without its lightest tenth, which is hard to see on white.
        shades = colormaps["viridis_r"](np.linspace(0.1, 1, steps if steps <= MAX_STEPS else 256))
        limits = {"vmin": low - 0.5, "vmax": high + 0.5}
        scale = {"c": self.values, "cmap": ListedColormap(shades), **limits}
        points = self.ax_.scatter(*self.points.T, **{**style, **scale, **wanted})
        self.scatters_ = {"samples": points}
        self.colorbar_ = self.figure_.colorbar(
            points, ax=self.ax_, label="number of labels", ticks=MaxNLocator(integer=True)
        )


def _in_two_dimensions(embedding: Any, reducer: Any) -> tuple[np.ndarray, tuple[str, str]]:
    """Coordinates (n, 2) and the names of the axes."""
    vectors: Any = embedding if sp.issparse(embedding) else np.asarray(embedding)
    if vectors.ndim != 2 or vectors.shape[1] < 2:
        raise ValueError(
            f"embedding must have shape (n, d) with d >= 2, got {vectors.shape}: there is no map."
        )
    if reducer is None and vectors.shape[1] == 2:
        plain = vectors.toarray() if sp.issparse(vectors) else vectors
        return plain, ("dimension 1", "dimension 2")
    reducer = PCA(2, random_state=0) if reducer is None else clone(reducer)
    points = np.asarray(reducer.fit_transform(vectors))
    name = type(reducer).__name__
    if points.shape != (vectors.shape[0], 2):
        raise ValueError(
            f"reducer must give two columns, but {name} gave shape {points.shape}: set its number "
            "of components to 2."
        )
    share = getattr(reducer, "explained_variance_ratio_", None)
    if share is None:
        return points, (f"{name} 1", f"{name} 2")
    return points, (f"{name} 1 ({share[0]:.0%} of variance)", f"{name} 2 ({share[1]:.0%})")
