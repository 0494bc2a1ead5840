"""Cosines of the label vectors beside those of a simplex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_mlcl.collapse import CollapseReport
from sklearn_mlcl.inspection._collapse import report_of
from sklearn_mlcl.inspection._drawing import axes_of
from sklearn_mlcl.inspection._labels import label_names_of, n_labels_of, names_of


class TagGramDisplay:
    r"""Cosines of the tag vectors, minus :math:`-1/(K-1)` of the simplex ETF.

    Blue pairs lie further apart than at collapse, red ones closer together: labels that the
    encoder confuses, or that occur together.

    Parameters
    ----------
    deviation : ndarray of shape (K, K)
        Cosines minus those of the simplex, NaN for labels without a vector.
    label_names : list of str
        Names of the labels.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    image_ : matplotlib AxesImage
        The matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
    >>> from sklearn_mlcl.inspection import TagGramDisplay
    >>> Y = np.repeat(np.eye(4, dtype=int), 5, axis=0)
    >>> display = TagGramDisplay.from_report(neural_collapse_metrics(Y @ simplex_etf(4), Y))
    >>> bool(np.abs(display.deviation).max() < 1e-9)
    True
    """

    def __init__(self, deviation: np.ndarray, label_names: Sequence[str]) -> None:
        self.deviation = deviation
        self.label_names = label_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, label_names: Sequence[str] | None = None,
        ax: Any = None, image_kwargs: Mapping[str, Any] | None = None,
    ) -> TagGramDisplay:  # fmt: skip
        """Plot the tags fitted to the embedding of rows.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``transform``.
        X : array-like of shape (n, n_features)
            Rows, usually those of the training.
        y : array-like of shape (n, K)
            Their indicator matrix.
        label_names : sequence of str, default=None
            Names of the labels; None for the columns of a DataFrame y, else those that the
            estimator was fitted with, else numbers.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        image_kwargs : dict, default=None
            Further arguments of ``imshow``.

        Returns
        -------
        display : TagGramDisplay
            The display, drawn.
        """
        names = label_names_of(label_names, y, n_labels_of(y), estimator)
        display = cls.from_report(report_of(estimator, X, y), label_names=names)
        return display.plot(ax=ax, image_kwargs=image_kwargs)

    @classmethod
    def from_report(
        cls, report: CollapseReport, *, label_names: Sequence[str] | None = None
    ) -> TagGramDisplay:
        """Make the display from collapse metrics, without plotting it.

        Parameters
        ----------
        report : CollapseReport
            What :func:`~sklearn_mlcl.collapse.neural_collapse_metrics` returned.
        label_names : sequence of str, default=None
            Names of the labels; None for their numbers.

        Returns
        -------
        display : TagGramDisplay
            The display, drawn.
        """
        tags = report.arrays["tags"]
        K = len(tags)
        centered = tags - np.nanmean(tags, axis=0)
        norms = np.linalg.norm(centered, axis=1)
        unit = centered / np.where(norms > 0, norms, np.nan)[:, None]
        n_fitted = int((~np.isnan(norms)).sum())
        ideal = np.where(np.eye(K, dtype=bool), 1.0, -1 / max(n_fitted - 1, 1))
        return cls(unit @ unit.T - ideal, names_of(label_names, K))

    def plot(
        self, ax: Any = None, *, image_kwargs: Mapping[str, Any] | None = None
    ) -> TagGramDisplay:
        """Draw the matrix.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        image_kwargs : dict, default=None
            Further arguments of ``imshow``.

        Returns
        -------
        display : TagGramDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(4.6, 4.0))
        self.figure_ = self.ax_.figure
        largest = np.nanmax(np.abs(self.deviation), initial=1e-9)
        style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, **(image_kwargs or {})}
        self.image_ = self.ax_.imshow(self.deviation, **style)
        self.figure_.colorbar(self.image_, ax=self.ax_, label="cosine minus that of the simplex")
        ticks = range(len(self.label_names))
        # Names side by side below the matrix would run into each other.
        rotation = 0 if max(map(len, self.label_names)) <= 2 else 90
        self.ax_.set_xticks(ticks, self.label_names, rotation=rotation)
        self.ax_.set_yticks(ticks, self.label_names)
        self.ax_.set(xlabel="label", ylabel="label")
        self.ax_.tick_params(length=0)
        return self
