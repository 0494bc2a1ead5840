"""What label embeddings say about labels, beside the correlations of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sklearn_mlcl.inspection._drawing import (
    COLOURS,
    MAX_LETTERS,
    MAX_NAMES,
    QUIET,
    check_panels,
    draw_matrix,
    figure_and_axes,
    room_for,
    shortened,
    write_label_names,
)
from sklearn_mlcl.inspection._label_correlation import cluster_order, implied_phi
from sklearn_mlcl.inspection._labels import fitted_attribute, label_names_of
from sklearn_mlcl.utils.validation import positives_and_known

PANELS = ("matrix", "map")


@dataclass(eq=False, repr=False)
class LabelEmbeddingDisplay:
    """Similarity of label embeddings, beside the correlation of the labels, and a map of them.

    The matrix has the cosines of the embeddings below the diagonal. If labels were given, it has
    the phi coefficients of their columns above the diagonal. Labels with similar embeddings are
    next to each other. The map has the labels at the first two principal components of their unit
    embeddings. Lines join the tenth of the pairs with the highest phi coefficients, if positive.

    Make one by :meth:`from_estimator`.

    Parameters
    ----------
    similarity : ndarray of shape (L, L)
        Cosines of the label embeddings.
    positions : ndarray of shape (L, 2)
        Places of the labels on the map.
    label_names : list of str
        Names of the labels.
    correlation : ndarray of shape (L, L), default=None
        Phi coefficients of the observed labels, NaN for a label with a single value.

    Attributes
    ----------
    ax_ : list of matplotlib Axes
        The axis of each panel.
    figure_ : matplotlib Figure
        Their figure.
    image_ : matplotlib AxesImage
        The matrix; None without that panel.
    points_ : matplotlib PathCollection
        The labels on the map; None without that panel.

    See Also
    --------
    LabelCorrelationDisplay : Correlations of labels and of predictions.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import CGMVAEClassifier
    >>> from sklearn_mlcl.inspection import LabelEmbeddingDisplay
    >>> X, Y = make_multilabel_classification(
    ...     n_samples=200, n_classes=4, random_state=0
    ... )
    >>> clf = CGMVAEClassifier(max_epochs=2, random_state=0).fit(X, Y)
    >>> display = LabelEmbeddingDisplay.from_estimator(clf, Y)
    >>> display.similarity.shape, display.positions.shape
    ((4, 4), (4, 2))
    """

    similarity: np.ndarray
    positions: np.ndarray
    label_names: Sequence[str]
    correlation: np.ndarray | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, y: Any = None, *, label_names: Sequence[str] | None = None,
        panels: Sequence[str] = PANELS, ax: Any = None,
    ) -> Self:  # fmt: skip
        """Plot the label embeddings of a fitted classifier.

        Parameters
        ----------
        estimator : CGMVAEClassifier
            Fitted; any estimator with ``label_embeddings_`` (L, d) will do, also inside a search or
            a pipeline.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L), default=None
            Labels whose correlations are shown beside, NaN for missing ones.
        label_names : sequence of str, default=None
            Names of the labels; None for the columns of a DataFrame y, else those that the
            classifier was fitted with, else numbers.
        panels : sequence of str, default=("matrix", "map")
            What to plot.
        ax : matplotlib Axes or sequence of them, default=None
            Axes to plot on, one per panel. None makes a new figure.

        Returns
        -------
        display : LabelEmbeddingDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If no part of the estimator has label embeddings.
        ValueError
            If y has another number of labels or entries other than 0, 1 and NaN, or for an
            unknown panel.
        """
        embeddings = fitted_attribute(estimator, "label_embeddings_", "a CGMVAEClassifier")
        norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
        unit = embeddings / np.maximum(norms, np.finfo(np.float64).tiny)
        # The first two principal components, zeros if there are fewer.
        U, s, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
        positions = np.zeros((len(unit), 2))
        positions[:, : len(s[:2])] = U[:, :2] * s[:2]
        names = label_names_of(label_names, len(unit), y, estimator)
        correlation = None if y is None else _observed_phi(y, len(unit))
        display = cls(unit @ unit.T, positions, names, correlation)
        return display.plot(ax=ax, panels=panels)

    def agreement(self) -> float:
        """Return the correlation of similarities and phi coefficients over all pairs of labels.

        Returns
        -------
        agreement : float
            In [-1, 1]; NaN without two pairs that have both.

        Raises
        ------
        ValueError
            If the display was made without labels.
        """
        if self.correlation is None:
            raise ValueError("The display was made without y, so there is nothing to compare with.")
        pairs = np.triu_indices(len(self.similarity), 1)
        both = np.column_stack([self.similarity[pairs], self.correlation[pairs]])
        both = both[np.isfinite(both).all(axis=1)]
        if len(both) < 2 or not both.std(axis=0).all():
            return float("nan")
        return float(np.corrcoef(both.T)[0, 1])

    def plot(self, ax: Any = None, *, panels: Sequence[str] = PANELS) -> Self:
        """Draw the panels.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            Axes to plot on, one per panel. None makes a new figure.
        panels : sequence of str, default=("matrix", "map")
            What to plot.

        Returns
        -------
        display : LabelEmbeddingDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For an unknown panel, or another number of axes than of panels.
        """
        names = check_panels(panels, PANELS)
        room = room_for(self.label_names)
        size = (4.8 * len(names) + room, 4.2 + room)
        self.figure_, self.ax_ = figure_and_axes(ax, len(names), figsize=size, layout="compressed")
        self.image_ = self.points_ = None
        for axis, name in zip(self.ax_, names, strict=True):
            getattr(self, f"_draw_{name}")(axis)
        return self

    def _draw_matrix(self, axis: Any) -> None:
        order = cluster_order(self.similarity)
        shown = self.similarity[np.ix_(order, order)].copy()
        upper = np.triu_indices(len(shown), 1)
        if self.correlation is not None:
            shown[upper] = self.correlation[np.ix_(order, order)][upper]
            axis.set_title("embeddings (below), labels (above)")
        np.fill_diagonal(shown, np.nan)
        largest = float(np.nanmax(np.abs(shown), initial=1e-9))
        self.image_ = draw_matrix(axis, shown, largest)
        self.figure_.colorbar(self.image_, ax=axis, label="cosine, correlation", shrink=0.8)
        write_label_names(axis, [self.label_names[k] for k in order])

    def _draw_map(self, axis: Any) -> None:
        for a, b in self._close_pairs():
            ends = self.positions[[a, b]]
            axis.plot(*ends.T, color=QUIET, linewidth=0.8, zorder=1, in_layout=False)
        self.points_ = axis.scatter(*self.positions.T, color=COLOURS[0], s=18, zorder=2)
        if len(self.label_names) <= MAX_NAMES:
            # The more names, the less room for each; it is in the middle of the map.
            n_letters = int(np.clip(200 // len(self.label_names), 8, MAX_LETTERS))
            middle = (self.positions[:, 0].min() + self.positions[:, 0].max()) / 2
            for (x, y), name in zip(self.positions, self.label_names, strict=True):
                side = {"xytext": (-3, 3), "ha": "right"} if x > middle else {"xytext": (3, 3)}
                options = {"textcoords": "offset points", "fontsize": 8, **side}
                axis.annotate(shortened(name, n_letters), (x, y), **options)
        axis.set(xlabel="first component", ylabel="second component", aspect="equal")
        axis.set_adjustable("datalim")

    def _close_pairs(self) -> np.ndarray:
        """Pairs (k, 2) of labels in the highest tenth of the positive correlations."""
        if self.correlation is None or len(self.correlation) < 3:
            return np.empty((0, 2), dtype=int)
        rows, columns = np.triu_indices(len(self.correlation), 1)
        values = np.nan_to_num(self.correlation[rows, columns])
        close = (values > 0) & (values >= np.quantile(values, 0.9))
        return np.column_stack([rows, columns])[close]


def _observed_phi(y: Any, n_labels: int) -> np.ndarray:
    """Phi coefficients of label columns, each over the samples where both labels are known."""
    positive, known = positives_and_known(y)
    if positive.shape[1] != n_labels:
        raise ValueError(
            f"y must have shape (n, {n_labels}), one column a label; got {positive.shape}."
        )
    known = np.ones_like(positive) if known is None else known
    return implied_phi(positive, known, np.ones(len(positive)))
