"""Cosines of label-set means against phi coefficients of the label sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sklearn_mlcl.collapse import CollapseReport
from sklearn_mlcl.inspection._collapse import report_of
from sklearn_mlcl.inspection._drawing import COLOURS, QUIET, axes_of

#: Points drawn of one pair of sizes: more lie on top of each other.
MAX_POINTS = 2000


class PhiAlignmentDisplay:
    r"""Cosines of the means of label sets against the phi coefficients of the sets.

    At collapse every pair of sets, of whatever sizes, lies on the diagonal.

    Parameters
    ----------
    phi : ndarray of shape (n_pairs,)
        Phi coefficients of pairs of label sets.
    cosine : ndarray of shape (n_pairs,)
        Cosines of the centred means of the same pairs.
    pair_sizes : ndarray of shape (n_pairs, 2)
        Numbers of labels of the two sets.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    scatters_ : dict of (int, int) to matplotlib PathCollection
        The points by the numbers of labels of the pair.
    diagonal_ : matplotlib Line2D
        Where all points lie at collapse.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
    >>> from sklearn_mlcl.inspection import PhiAlignmentDisplay
    >>> Y = np.repeat([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]], 5, axis=0)
    >>> display = PhiAlignmentDisplay.from_report(neural_collapse_metrics(Y @ simplex_etf(4), Y))
    >>> bool(np.allclose(display.phi, display.cosine))
    True
    """

    def __init__(self, phi: np.ndarray, cosine: np.ndarray, pair_sizes: np.ndarray) -> None:
        self.phi = phi
        self.cosine = cosine
        self.pair_sizes = pair_sizes

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
    ) -> PhiAlignmentDisplay:  # fmt: skip
        """Plot the means of the label sets in the embedding of rows.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``transform``.
        X : array-like of shape (n, n_features)
            Rows, usually those of the training.
        y : array-like of shape (n, K)
            Their indicator matrix.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        scatter_kwargs : dict, default=None
            Further arguments of ``scatter``.

        Returns
        -------
        display : PhiAlignmentDisplay
            The display, drawn.
        """
        display = cls.from_report(report_of(estimator, X, y))
        return display.plot(ax=ax, scatter_kwargs=scatter_kwargs)

    @classmethod
    def from_report(cls, report: CollapseReport) -> PhiAlignmentDisplay:
        """Make the display from collapse metrics, without plotting it.

        Parameters
        ----------
        report : CollapseReport
            What :func:`~sklearn_mlcl.collapse.neural_collapse_metrics` returned.

        Returns
        -------
        display : PhiAlignmentDisplay
            The display, drawn.
        """
        return cls(*(report.arrays[name] for name in ("phi", "cosine", "pair_sizes")))

    def plot(
        self, ax: Any = None, *, scatter_kwargs: Mapping[str, Any] | None = None
    ) -> PhiAlignmentDisplay:
        """Draw the pairs, one colour for each two numbers of labels, over the diagonal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        scatter_kwargs : dict, default=None
            Further arguments of ``scatter``.

        Returns
        -------
        display : PhiAlignmentDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(5.6, 4.2))
        self.figure_ = self.ax_.figure
        (self.diagonal_,) = self.ax_.plot([-1, 1], [-1, 1], color=QUIET, linewidth=1)
        sizes = np.sort(self.pair_sizes, axis=1)
        self.scatters_ = {}
        for index, pair in enumerate(np.unique(sizes, axis=0)):
            at = np.flatnonzero((sizes == pair).all(axis=1))[:MAX_POINTS]
            style = {"color": COLOURS[index % len(COLOURS)], "s": 6, "alpha": 0.5, "linewidths": 0}
            first, second = map(int, pair)
            self.scatters_[first, second] = self.ax_.scatter(
                self.phi[at],
                self.cosine[at],
                label=f"{first} and {second}",
                **{**style, **(scatter_kwargs or {})},
            )
        self.ax_.set(xlabel="phi coefficient of two label sets", ylabel="cosine of their means")
        self.ax_.spines[["top", "right"]].set_visible(False)
        legend = self.ax_.legend(
            title="numbers of labels", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
        )
        for handle in legend.legend_handles:
            handle.set(alpha=1, sizes=[20])
        return self
