"""Which labels occur together: in the data, in what a model predicts, and what remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from sklearn_mlcl.collapse._etf import phi_coefficient
from sklearn_mlcl.inspection._drawing import (
    MAX_NAMES,
    check_panels,
    draw_matrix,
    figure_and_axes,
    room_for,
    write_label_names,
    write_values,
)
from sklearn_mlcl.inspection._labels import (
    label_indices,
    label_names_of,
)
from sklearn_mlcl.inspection._scores import ScoresDisplay
from sklearn_mlcl.utils.validation import check_probabilities

PANELS = ("observed", "learned", "difference")
#: Labels up to which values are written into the matrix.
MAX_VALUES = 8


@dataclass(eq=False, repr=False)
class LabelCorrelationDisplay(ScoresDisplay):
    r"""Correlation of the labels: observed, learned, and the difference of the two.

    Observed is the phi coefficient of two labels over the samples where neither is missing.
    Learned is the phi coefficient that the predicted probabilities imply if labels are
    independent given the features,

    .. math:: \phi_{ab} = \frac{\mathrm{Cov}(p_a, p_b)}
              {\sqrt{\bar p_a (1 - \bar p_a) \, \bar p_b (1 - \bar p_b)}},

    over the same samples. By the law of total covariance, the difference (observed minus learned)
    is the correlation that the features do not explain, if the probabilities are right. Errors of
    the probabilities add to it. Red pairs occur together more often than predicted, blue pairs
    less often.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    observed, learned : ndarray of shape (k, k)
        Correlations of the labels, NaN where one shows a single value.
    label_names : list of str
        Names of the k labels.

    Attributes
    ----------
    ax_ : list of matplotlib Axes
        The axis of each panel.
    figure_ : matplotlib Figure
        Their figure.
    images_ : dict of str to matplotlib AxesImage
        The matrices by the names of the panels.
    colorbar_ : matplotlib Colorbar
        The one scale of all panels.

    See Also
    --------
    CollapseDisplay : Cosines of the vectors of the labels in an embedding, with ``kind="gram"``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.inspection import LabelCorrelationDisplay
    >>> Y = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]])
    >>> proba = np.full((4, 3), 0.5)
    >>> display = LabelCorrelationDisplay.from_predictions(Y, proba, order=None)
    >>> display.observed.round(2)
    array([[ 1.  ,  1.  , -0.58],
           [ 1.  ,  1.  , -0.58],
           [-0.58, -0.58,  1.  ]])
    """

    observed: np.ndarray
    learned: np.ndarray
    label_names: Sequence[str]

    _methods = ("predict_proba",)

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_proba: Any, *, labels: Sequence[Any] | None = None,
        order: str | None = "cluster", label_names: Sequence[str] | None = None,
        sample_weight: Any = None, panels: Sequence[str] = PANELS, ax: Any = None,
    ) -> Self:  # fmt: skip
        """Plot the correlations of labels, and of probabilities.

        Parameters
        ----------
        y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Indicator matrix of 0 and 1, NaN for missing labels.
        y_proba : array-like of shape (n, L)
            Probabilities in [0, 1].
        labels : sequence of int or str, default=None
            Labels to show, by number or name; None for all. With more than 40, not all names are
            written.
        order : {"cluster"} or None, default="cluster"
            "cluster" puts labels with similar observed correlations next to each other, by
            average linkage; None leaves them in their order.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame y_true, or numbers.
        sample_weight : array-like of shape (n,), default=None
            Weights of the samples.
        panels : sequence of str, default=("observed", "learned", "difference")
            What to plot.
        ax : matplotlib Axes or sequence of them, default=None
            Axes to plot on, one per panel. None makes a new figure.

        Returns
        -------
        display : LabelCorrelationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If shapes differ, or there are fewer than two labels. For entries other than 0, 1 and
            NaN, probabilities outside [0, 1], or an unknown label, order or panel.
        """
        if order not in ("cluster", None):
            raise ValueError(f"order must be 'cluster' or None, got {order!r}.")
        entries = check_probabilities(y_true, y_proba, sample_weight)
        names = label_names_of(label_names, entries.shape[1], y_true)
        chosen = np.arange(len(names)) if labels is None else label_indices(labels, names)
        if len(chosen) < 2:
            raise ValueError(f"A correlation needs two labels at least, got {len(chosen)}.")
        known, weight = entries.known_mask()[:, chosen], entries.row_weight()
        observed = implied_phi(entries.positive[:, chosen], known, weight)
        learned = implied_phi(entries.values[:, chosen], known, weight)
        place = np.arange(len(chosen)) if order is None else cluster_order(observed)
        square = np.ix_(place, place)
        display = cls(observed[square], learned[square], [names[k] for k in chosen[place]])
        return display.plot(ax=ax, panels=panels)

    @property
    def difference(self) -> np.ndarray:
        """Observed minus learned correlation, shape (k, k)."""
        return self.observed - self.learned

    def plot(self, ax: Any = None, *, panels: Sequence[str] = PANELS) -> Self:
        """Draw the matrices on one scale, without the diagonal, which is 1 by definition.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            Axes to plot on, one per panel. None makes a new figure.
        panels : sequence of str, default=("observed", "learned", "difference")
            What to plot.

        Returns
        -------
        display : LabelCorrelationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For an unknown panel, or another number of axes than of panels.
        """
        names = check_panels(panels, PANELS)
        n_labels, room = len(self.label_names), room_for(self.label_names)
        side = 2.2 if n_labels <= MAX_VALUES else 3.8
        below = room if n_labels <= MAX_NAMES else 0.2
        size = (side * len(names) + room + 1.2, side + below + 0.4)
        self.figure_, self.ax_ = figure_and_axes(ax, len(names), figsize=size, layout="compressed")
        matrices = [np.array(getattr(self, name)) for name in names]
        for matrix in matrices:
            np.fill_diagonal(matrix, np.nan)
        largest, clipped = _limit(matrices)
        self.images_ = {}
        for axis, name, matrix in zip(self.ax_, names, matrices, strict=True):
            self.images_[name] = image = draw_matrix(axis, matrix, largest)
            axis.set_title(name)
            write_label_names(axis, self.label_names, first=axis is self.ax_[0])
            if n_labels <= MAX_VALUES:
                write_values(axis, image, digits=2, fontsize=7)
        style = {"shrink": 0.8, "extend": "both" if clipped else "neither"}
        style["label"] = "correlation of two labels"
        self.colorbar_ = self.figure_.colorbar(image, ax=self.ax_, **style)
        return self


def _limit(matrices: Sequence[np.ndarray]) -> tuple[float, bool]:
    """End of the colours, and whether values lie beyond.

    Of many pairs, a few strong ones would otherwise take all contrast.
    """
    sizes = np.abs(np.concatenate([m[np.isfinite(m)] for m in matrices]))
    largest = float(sizes.max(initial=1e-9))
    if len(matrices[0]) <= MAX_NAMES:
        return largest, False
    limit = float(np.quantile(sizes, 0.99))
    return (limit, True) if 0 < limit < largest else (largest, False)


def implied_phi(values: np.ndarray, known: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Phi coefficients of labels that are drawn independently with given probabilities.

    Parameters
    ----------
    values : ndarray of shape (n, L)
        Probabilities; or the labels themselves, for the observed coefficients.
    known : ndarray of bool, shape (n, L)
        Entries that are not missing: two labels are compared where both are known.
    weight : ndarray of shape (n,)
        Weights of the samples.

    Returns
    -------
    phi : ndarray of shape (L, L)
        1 on the diagonal; NaN where a label shows a single value.
    """
    counted = known.astype(np.float64)
    weighted = counted * weight[:, None]
    p = counted * values
    positives = (weighted * p).T @ counted
    together = (weighted * p).T @ p
    # Samples take the place that labels have in the phi coefficient of two label sets.
    phi = phi_coefficient(together, positives, positives.T, weighted.T @ counted)
    np.fill_diagonal(phi, np.where(np.isnan(np.diag(phi)), np.nan, 1.0))
    return phi


def cluster_order(correlation: np.ndarray) -> np.ndarray:
    """Order of the leaves of an average-linkage tree; undefined correlations count as 0."""
    if len(correlation) < 3:
        return np.arange(len(correlation))
    # Rounding may take a correlation beyond 1.
    distance = np.clip(1 - np.nan_to_num(correlation), 0, None)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return leaves_list(tree)
