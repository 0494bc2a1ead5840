"""Which labels come together: in the data, in what a model predicts, and what it leaves over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from sklearn_mlcl.collapse._etf import phi_coefficient
from sklearn_mlcl.inspection._drawing import axes_of, axes_of_panels, check_panels, shortened
from sklearn_mlcl.inspection._labels import (
    label_indices,
    label_names_of,
    n_labels_of,
    scores_of,
)
from sklearn_mlcl.utils.validation import check_probabilities


def implied_phi(values: np.ndarray, known: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Phi coefficients of labels that are drawn with given probabilities, each on its own.

    Parameters
    ----------
    values : ndarray of shape (n, L)
        Probabilities; or the labels themselves, of which it makes the observed coefficients.
    known : ndarray of bool, shape (n, L)
        Cells that count: a pair of labels is compared over the rows where both are known.
    weight : ndarray of shape (n,)
        Weights of the rows.

    Returns
    -------
    phi : ndarray of shape (L, L)
        1 on the diagonal; NaN where a label shows a single value.
    """
    rows = known.astype(np.float64)
    weighted = rows * weight[:, None]
    p = rows * values
    positives = (weighted * p).T @ rows
    together = (weighted * p).T @ p
    # The rows of a pair stand where the labels stand in the phi coefficient of two label sets.
    phi = phi_coefficient(together, positives, positives.T, weighted.T @ rows)
    np.fill_diagonal(phi, np.where(np.isnan(np.diag(phi)), np.nan, 1.0))
    return phi


def cluster_order(correlation: np.ndarray) -> np.ndarray:
    """Order of the leaves of an average-linkage tree; a pair without a correlation has 0."""
    if len(correlation) < 3:
        return np.arange(len(correlation))
    # Rounding takes a correlation beyond 1.
    distance = np.clip(1 - np.nan_to_num(correlation), 0, None)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return leaves_list(tree)


PANELS = ("observed", "learned", "difference")
#: Labels up to which all names stand at the axes, and up to which values stand in the cells.
MAX_NAMES, MAX_VALUES = 40, 8
UNDEFINED = "#dddddd"


class LabelCorrelationDisplay:
    r"""Correlation of the labels: observed, learned, and the difference of the two.

    Observed is the phi coefficient of two labels over the rows where both are known. Learned is
    the phi coefficient that the predicted probabilities imply if labels are independent given
    the features,

    .. math:: \phi_{ab} = \frac{\mathrm{Cov}(p_a, p_b)}
              {\sqrt{\bar p_a (1 - \bar p_a) \, \bar p_b (1 - \bar p_b)}},

    over the same rows. By the law of total covariance the difference, observed minus learned, is
    then the correlation that the features, as the model reads them, do not account for (with the
    right probabilities exactly that; with others their errors too). Red pairs come together more
    often than predicted, blue ones less often.

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
    TagGramDisplay : Cosines of the vectors of the labels in an embedding.

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

    def __init__(
        self, observed: np.ndarray, learned: np.ndarray, label_names: Sequence[str]
    ) -> None:
        self.observed = observed
        self.learned = learned
        self.label_names = label_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, labels: Sequence[Any] | None = None,
        order: str | None = "cluster", label_names: Sequence[str] | None = None,
        sample_weight: Any = None, panels: Sequence[str] = PANELS, ax: Any = None,
        image_kwargs: Mapping[str, Any] | None = None,
    ) -> LabelCorrelationDisplay:  # fmt: skip
        """Plot the correlations of labels, and of what a fitted classifier predicts.

        Parameters
        ----------
        estimator : classifier
            Fitted on a label matrix, with ``predict_proba``.
        X : array-like of shape (n, n_features)
            Rows that it was not fitted on.
        y : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Their indicator matrix, NaN where unknown.
        labels : sequence of int or str, default=None
            Labels to show, by number or name; None for all. The names of more than 40 have no
            room at the axes.
        order : {"cluster"} or None, default="cluster"
            "cluster" puts labels with similar observed correlations next to each other, by
            average linkage; None leaves them in their order.
        label_names : sequence of str, default=None
            Names of all labels; None for the columns of a DataFrame, those that the classifier
            was fitted with, or numbers.
        sample_weight : array-like of shape (n,), default=None
            Weights of the rows.
        panels : sequence of str, default=("observed", "learned", "difference")
            What to plot.
        ax : matplotlib Axes or sequence of them, default=None
            Where to plot, one axis a panel; None for a new figure.
        image_kwargs : dict, default=None
            Further arguments of ``imshow``.

        Returns
        -------
        display : LabelCorrelationDisplay
            The display, drawn.
        """
        return cls.from_predictions(
            y,
            scores_of(estimator, X, y, "predict_proba"),
            labels=labels,
            order=order,
            label_names=label_names_of(label_names, y, n_labels_of(y), estimator),
            sample_weight=sample_weight,
            panels=panels,
            ax=ax,
            image_kwargs=image_kwargs,
        )

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_proba: Any, *, labels: Sequence[Any] | None = None,
        order: str | None = "cluster", label_names: Sequence[str] | None = None,
        sample_weight: Any = None, panels: Sequence[str] = PANELS, ax: Any = None,
        image_kwargs: Mapping[str, Any] | None = None,
    ) -> LabelCorrelationDisplay:  # fmt: skip
        """Plot the correlations of labels, and of probabilities.

        Parameters
        ----------
        y_true : {ndarray, DataFrame, sparse matrix} of shape (n, L)
            Indicator matrix of 0 and 1, NaN where unknown.
        y_proba : array-like of shape (n, L)
            Probabilities in [0, 1].
        labels, order, label_names, sample_weight, panels, ax, image_kwargs
            As in :meth:`from_estimator`.

        Returns
        -------
        display : LabelCorrelationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For shapes that differ, entries other than 0, 1 and NaN, probabilities outside [0, 1],
            fewer than two labels, labels that are not there, or an unknown order or panel.
        """
        if order not in ("cluster", None):
            raise ValueError(f"order must be 'cluster' or None, got {order!r}.")
        cells = check_probabilities(y_true, y_proba, sample_weight)
        names = label_names_of(label_names, y_true, cells.shape[1])
        chosen = np.arange(len(names)) if labels is None else label_indices(labels, names)
        if len(chosen) < 2:
            raise ValueError(f"A correlation needs two labels at least, got {len(chosen)}.")
        known, weight = cells.known_mask()[:, chosen], cells.row_weight()
        observed = implied_phi(cells.positive[:, chosen], known, weight)
        learned = implied_phi(cells.values[:, chosen], known, weight)
        if order == "cluster":
            place = cluster_order(observed)
            chosen = chosen[place]
            observed, learned = observed[np.ix_(place, place)], learned[np.ix_(place, place)]
        display = cls(observed, learned, [names[label] for label in chosen])
        return display.plot(ax=ax, panels=panels, image_kwargs=image_kwargs)

    @property
    def difference(self) -> np.ndarray:
        """Observed minus learned correlation, shape (k, k)."""
        return self.observed - self.learned

    def plot(
        self,
        ax: Any = None,
        *,
        panels: Sequence[str] = PANELS,
        image_kwargs: Mapping[str, Any] | None = None,
    ) -> LabelCorrelationDisplay:
        """Draw the matrices on one scale; the diagonal, 1 by definition, is left out.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            Where to plot, one axis a panel; None for a new figure.
        panels : sequence of str, default=("observed", "learned", "difference")
            What to plot.
        image_kwargs : dict, default=None
            Further arguments of ``imshow``.

        Returns
        -------
        display : LabelCorrelationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            For an unknown panel, or another number of axes than of panels.
        """
        matrices = {name: self._off_diagonal(name) for name in check_panels(panels, PANELS)}
        self.ax_ = self._axes(ax, len(matrices))
        self.figure_ = self.ax_[0].figure
        largest, clipped = _limit(list(matrices.values()))
        style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, **(image_kwargs or {})}
        self.images_ = {}
        for axis, (name, matrix) in zip(self.ax_, matrices.items(), strict=True):
            axis.set_facecolor(UNDEFINED)
            self.images_[name] = axis.imshow(matrix, **style)
            axis.set_title(name)
            self._write_names(axis, first=axis is self.ax_[0])
            if len(matrix) <= MAX_VALUES:
                _write_values(axis, matrix, largest)
        self.colorbar_ = self.figure_.colorbar(
            self.images_[name],
            ax=self.ax_,
            label="correlation of two labels",
            shrink=0.8,
            extend="both" if clipped else "neither",
        )
        return self

    def _off_diagonal(self, name: str) -> np.ndarray:
        matrix = np.array(getattr(self, name))
        np.fill_diagonal(matrix, np.nan)
        return matrix

    def _axes(self, ax: Any, n_panels: int) -> list[Any]:
        if ax is None:
            k = len(self.label_names)
            side = 2.2 if k <= MAX_VALUES else 3.8
            letters = max(len(shortened(name)) for name in self.label_names)
            room = letters * 0.6 * _name_size(k) / 72
            size = (side * n_panels + room + 1.2, side + (room if k <= MAX_NAMES else 0.2) + 0.4)
            ax = axes_of(None, 1, n_panels, figsize=size, layout="compressed")
        return axes_of_panels(ax, n_panels)

    def _write_names(self, axis: Any, first: bool) -> None:
        """Names of all labels; of many, of every k-th at the first matrix."""
        k = len(self.label_names)
        step = -(-k // MAX_NAMES)
        places, names = range(0, k, step), [shortened(n) for n in self.label_names[::step]]
        axis.tick_params(length=0 if step == 1 else 2, labelsize=_name_size(k))
        axis.set_yticks(*((places, names) if first else ([],)))
        if step == 1:
            axis.set_xticks(places, names, rotation=90)
        else:
            axis.set(
                xticks=[], xlabel=f"{k} labels, one in {step} named" if first else f"{k} labels"
            )


def _limit(matrices: Sequence[np.ndarray]) -> tuple[float, bool]:
    """End of the colours, and whether values lie beyond: of many pairs a few take all contrast."""
    sizes = np.abs(np.concatenate([m[np.isfinite(m)] for m in matrices]))
    largest = float(sizes.max(initial=1e-9))
    if len(matrices[0]) <= MAX_NAMES:
        return largest, False
    limit = float(np.quantile(sizes, 0.99))
    return (limit, True) if 0 < limit < largest else (largest, False)


def _name_size(k: int) -> float:
    """Points of the names of k labels."""
    return float(np.clip(240 / k, 5.5, 9))


def _write_values(axis: Any, matrix: np.ndarray, largest: float) -> None:
    for (i, j), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = abs(value) > 0.6 * largest
            axis.text(
                j, i, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
