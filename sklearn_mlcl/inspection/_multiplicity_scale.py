"""How long the mean of a label set is, by its number of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sklearn_mlcl.collapse import CollapseReport, UFMScaling
from sklearn_mlcl.inspection._collapse import report_of
from sklearn_mlcl.inspection._drawing import COLOURS, axes_of


class MultiplicityScaleDisplay:
    r"""Scales :math:`\alpha_m` of the tag model, beside those of the optimum.

    The mean of a set of m labels is :math:`\alpha_m` times the sum of its tags; the smallest m
    has the scale 1.

    Parameters
    ----------
    multiplicities : ndarray of shape (M,)
        Numbers of labels m, ascending.
    scales : ndarray of shape (M,)
        Fitted :math:`\alpha_m`.
    expected : UFMScaling, default=None
        Optimum to compare with, as :func:`~sklearn_mlcl.collapse.ufm_scaling` returns it.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    line_ : matplotlib Line2D
        The fitted scales.
    expected_line_ : matplotlib Line2D or None
        The scales of the optimum.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
    >>> from sklearn_mlcl.inspection import MultiplicityScaleDisplay
    >>> Y = np.repeat(np.vstack([np.eye(4), [[1, 1, 0, 0], [0, 1, 1, 0]]]), 5, axis=0)
    >>> H = np.where(Y.sum(axis=1) == 2, 0.8, 1.0)[:, None] * (Y @ simplex_etf(4))
    >>> display = MultiplicityScaleDisplay.from_report(neural_collapse_metrics(H, Y))
    >>> np.round(display.scales, 6)
    array([1. , 0.8])
    """

    def __init__(
        self, multiplicities: np.ndarray, scales: np.ndarray, expected: UFMScaling | None = None
    ) -> None:
        self.multiplicities = multiplicities
        self.scales = scales
        self.expected = expected

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, expected: UFMScaling | None = None,
        ax: Any = None, line_kwargs: Mapping[str, Any] | None = None,
    ) -> MultiplicityScaleDisplay:  # fmt: skip
        """Plot the scales fitted to the embedding of rows.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``transform``.
        X : array-like of shape (n, n_features)
            Rows, usually those of the training.
        y : array-like of shape (n, K)
            Their indicator matrix.
        expected : UFMScaling, default=None
            Optimum to compare with.
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curve.

        Returns
        -------
        display : MultiplicityScaleDisplay
            The display, drawn.
        """
        display = cls.from_report(report_of(estimator, X, y), expected=expected)
        return display.plot(ax=ax, line_kwargs=line_kwargs)

    @classmethod
    def from_report(
        cls, report: CollapseReport, *, expected: UFMScaling | None = None
    ) -> MultiplicityScaleDisplay:
        """Make the display from collapse metrics, without plotting it.

        Parameters
        ----------
        report : CollapseReport
            What :func:`~sklearn_mlcl.collapse.neural_collapse_metrics` returned.
        expected : UFMScaling, default=None
            Optimum to compare with.

        Returns
        -------
        display : MultiplicityScaleDisplay
            The display, drawn.
        """
        return cls(report.arrays["multiplicities"], report.arrays["scales"], expected)

    def plot(
        self, ax: Any = None, *, line_kwargs: Mapping[str, Any] | None = None
    ) -> MultiplicityScaleDisplay:
        """Draw the scales over the number of labels.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; None for a new figure.
        line_kwargs : dict, default=None
            Further arguments of the curve.

        Returns
        -------
        display : MultiplicityScaleDisplay
            The display, drawn.
        """
        self.ax_ = axes_of(ax, figsize=(4.8, 3.4))
        self.figure_ = self.ax_.figure
        self.expected_line_ = None
        if self.expected is not None:
            m, scale = zip(*sorted(self.expected.relative.items()), strict=True)
            (self.expected_line_,) = self.ax_.plot(
                m, scale, "s--", color=COLOURS[0], markerfacecolor="none", label="optimum"
            )
        style = {"color": COLOURS[1], "marker": "o", "label": "fitted", **(line_kwargs or {})}
        (self.line_,) = self.ax_.plot(self.multiplicities, self.scales, **style)
        self.ax_.set(xlabel="number of labels m", ylabel="scale of the sum of tags")
        self.ax_.set_xticks(self.multiplicities)
        self.ax_.spines[["top", "right"]].set_visible(False)
        if self.expected is not None:
            self.ax_.legend(frameon=False)
        return self
