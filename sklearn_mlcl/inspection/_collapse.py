"""The geometry of neural collapse in the embedding of a fitted net, in four views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sklearn_mlcl.collapse import CollapseReport, neural_collapse_metrics
from sklearn_mlcl.inspection._drawing import (
    ACCENT,
    COLOURS,
    QUIET,
    Options,
    as_options,
    despine,
    draw_matrix,
    figure_and_axes,
    legend_beside,
    room_for,
    shortened,
    write_label_names,
)
from sklearn_mlcl.inspection._labels import label_indices, label_names_of, n_labels_of
from sklearn_mlcl.utils.validation import positives_and_known

KINDS = ("tags", "gram", "phi", "scale")
#: Points drawn of one pair of sizes: further ones lie on top of each other.
MAX_POINTS = 2000
#: Letters up to which the names of labels are written into the plane of tags.
MAX_LETTERS_INSIDE = 12


@dataclass(eq=False, repr=False)
class CollapseDisplay:
    r"""Geometry of neural collapse: label-set means, label vectors, their angles and lengths.

    The *tag model* of :func:`~sklearn_mlcl.collapse.neural_collapse_metrics` gives each label k a
    vector :math:`t_k`, its tag. The mean of a set S of m labels is about :math:`g + \alpha_m
    \sum_{k \in S} t_k`. Four kinds of plots show how close the embedding is to collapse:

    - ``"tags"``: means of label sets in the plane of the tags of three labels (the best plane for
      more). Only sets of these labels are shown. At collapse the tags form a regular figure, and
      the samples of a set are one point. It lies on the ray of the sum of the tags of the set.
    - ``"gram"``: cosines of the tags, minus :math:`-1/(L-1)` of the simplex ETF. Blue pairs are
      further apart than at collapse. Red pairs are closer: the encoder confuses these labels, or
      they occur together.
    - ``"phi"``: cosines of the means of pairs of label sets against the phi coefficients of the
      sets. At collapse every pair lies on the diagonal, whatever the sizes.
    - ``"scale"``: scales :math:`\alpha_m` by the number of labels m. The smallest m has scale 1.
      :func:`~sklearn_mlcl.collapse.ufm_scaling` gives those of the optimum.

    Make one by :meth:`from_estimator` or :meth:`from_report`.

    Parameters
    ----------
    kind : {"tags", "gram", "phi", "scale"}
        What to plot.
    values : dict of str to ndarray
        Arrays of the plot. For "tags" ``labels`` (k,), ``tags`` (k, 2), ``set_means`` (U, 2) and
        ``sets`` (U, k), and with samples ``samples`` (n, 2) and ``sample_sets`` (n, k). For
        "gram" ``deviation`` (L, L), NaN for labels without a tag. For "phi" ``phi``, ``cosine``
        (n_pairs,) and ``pair_sizes`` (n_pairs, 2). For "scale" ``multiplicities`` and ``scales``
        (M,).
    label_names : list of str
        Names of the L labels.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axis of the plot.
    figure_ : matplotlib Figure
        Its figure.
    artists_ : dict of str to matplotlib artists
        What was drawn: "means", "rays" and "samples"; "image"; "diagonal" and the points of every
        pair of sizes, such as "1 and 2"; or "fitted".

    See Also
    --------
    CollapseHistoryDisplay : The metrics of neural collapse over the epochs.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_mlcl.collapse import neural_collapse_metrics, simplex_etf
    >>> from sklearn_mlcl.inspection import CollapseDisplay
    >>> Y = np.repeat(
    ...     [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]], 5, axis=0
    ... )
    >>> report = neural_collapse_metrics(Y @ simplex_etf(4), Y)
    >>> phi = CollapseDisplay.from_report(report, kind="phi").values
    >>> bool(np.allclose(phi["phi"], phi["cosine"]))
    True
    """

    kind: str
    values: Mapping[str, np.ndarray]
    label_names: Sequence[str]

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, kind: str = "tags",
        labels: Sequence[Any] = (0, 1, 2), label_names: Sequence[str] | None = None,
        ax: Any = None, plot_kwargs: Options = None,
    ) -> Self:  # fmt: skip
        """Plot the geometry of the embedding of samples.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``transform``.
        X : array-like of shape (n, n_features)
            Samples, usually those of the training.
        y : array-like of shape (n, L)
            Their indicator matrix.
        kind : {"tags", "gram", "phi", "scale"}, default="tags"
            What to plot.
        labels : sequence of int or str, default=(0, 1, 2)
            For "tags", at least three labels by number or name.
        label_names : sequence of str, default=None
            Names of all L labels; None for the columns of a DataFrame y, else those that the
            estimator was fitted with, else numbers.
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        plot_kwargs : dict, default=None
            Further arguments as in :meth:`plot`.

        Returns
        -------
        display : CollapseDisplay
            The display, drawn.
        """
        names = label_names_of(label_names, n_labels_of(y), y, estimator)
        embedding = np.asarray(estimator.transform(X))
        report = neural_collapse_metrics(embedding, y)
        display = cls.from_report(report, kind=kind, labels=labels, label_names=names)
        if kind == "tags":
            chosen, positive = display.values["labels"], positives_and_known(y)[0]
            samples, sets = _in_tag_plane(report.arrays, chosen, embedding, positive)
            display.values = {**display.values, "samples": samples, "sample_sets": sets}
        return display.plot(ax=ax, plot_kwargs=plot_kwargs)

    @classmethod
    def from_report(
        cls, report: CollapseReport, *, kind: str = "tags", labels: Sequence[Any] = (0, 1, 2),
        label_names: Sequence[str] | None = None,
    ) -> Self:  # fmt: skip
        """Make the display from collapse metrics, without samples and without plotting it.

        Parameters
        ----------
        report : CollapseReport
            What :func:`~sklearn_mlcl.collapse.neural_collapse_metrics` returned.
        kind, labels, label_names
            As in :meth:`from_estimator`.

        Returns
        -------
        display : CollapseDisplay
            The display, not drawn yet.

        Raises
        ------
        ValueError
            For an unknown kind, fewer than three labels, or a label without a tag.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
        arrays = report.arrays
        names = label_names_of(label_names, len(arrays["tags"]))
        if kind == "tags":
            chosen = np.unique(label_indices(labels, names))
            tags = arrays["tags"][chosen] @ _tag_axes(arrays["tags"], chosen).T
            means, sets = _in_tag_plane(arrays, chosen, arrays["set_means"], arrays["label_sets"])
            values = {"labels": chosen, "tags": tags, "set_means": means, "sets": sets}
        elif kind == "gram":
            values = {"deviation": _gram_deviation(arrays["tags"])}
        elif kind == "phi":
            values = {name: arrays[name] for name in ("phi", "cosine", "pair_sizes")}
        else:
            values = {name: arrays[name] for name in ("multiplicities", "scales")}
        return cls(kind, values, names)

    def plot(self, ax: Any = None, *, plot_kwargs: Options = None) -> Self:
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to plot on. None makes a new figure.
        plot_kwargs : dict, default=None
            Further arguments of what draws the data: ``scatter`` of the samples ("tags") or the
            pairs ("phi"), ``imshow`` ("gram"), ``plot`` of the fitted scales ("scale").

        Returns
        -------
        display : CollapseDisplay
            The display, drawn.
        """
        draw = getattr(self, f"_draw_{self.kind}")
        self.artists_: dict[str, Any] = draw(ax, as_options(plot_kwargs, "plot_kwargs"))
        return self

    def _draw_tags(self, ax: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Samples, means and rays; the colour of a set is the mixture of its labels' colours."""
        means, sets = self.values["set_means"], self.values["sets"]
        labels = self.values["labels"]
        names = {k: shortened(self.label_names[k]) for k in labels}
        crowded = max(map(len, names.values())) > MAX_LETTERS_INSIDE
        size = (4.8 + crowded * (0.6 + room_for(list(names.values()))), 4.8)
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=size)
        artists = {}
        if "samples" in self.values:
            style = {"s": 8, "alpha": 0.4, "linewidths": 0, **wanted}
            colours = _mixed_colours(self.values["sample_sets"])
            artists["samples"] = self.ax_.scatter(*self.values["samples"].T, c=colours, **style)
        # Rays run along the sums of tags, as far out as the means are.
        sums = sets @ self.values["tags"]
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        reach = np.linalg.norm(means, axis=1, keepdims=True)
        ends = np.divide(reach * sums, norms, out=np.zeros_like(sums), where=norms > 0)
        line = {"color": QUIET, "linewidth": 1, "zorder": 1}
        artists["rays"] = [
            self.ax_.plot([0, x], [0, y], linestyle="-" if members.sum() == 1 else "--", **line)[0]
            for (x, y), members in zip(ends, sets, strict=True)
        ]
        artists["means"] = self.ax_.scatter(
            *means.T, c=_mixed_colours(sets), s=70, edgecolors="black", zorder=3
        )
        for point, members in zip(means, sets, strict=True):
            texts = [str(k) if crowded else names[k] for k in labels[members]]
            text = texts[0] if len(texts) == 1 else "{" + ", ".join(texts) + "}"
            self.ax_.annotate(text, point, xytext=(7, 5), textcoords="offset points", zorder=4)
        if crowded:
            for k, name in names.items():
                colour = _mixed_colours(np.atleast_2d(labels == k))
                self.ax_.scatter([], [], c=colour, s=40, label=f"{k}: {name}")
            legend_beside(self.ax_)
        self.ax_.set_aspect("equal", adjustable="datalim")
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.margins(0.15)
        return artists

    def _draw_gram(self, ax: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
        room, deviation = room_for(self.label_names), self.values["deviation"]
        size = (4.4 + room, 3.8 + room)
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=size, layout="compressed")
        largest = float(np.nanmax(np.abs(deviation), initial=1e-9))
        image = draw_matrix(self.ax_, deviation, largest, wanted)
        self.figure_.colorbar(image, ax=self.ax_, label="cosine minus that of the simplex")
        self.ax_.set(xlabel="label", ylabel="label")
        write_label_names(self.ax_, self.label_names)
        return {"image": image}

    def _draw_phi(self, ax: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Pairs over the diagonal, one colour for each two numbers of labels."""
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=(5.6, 4.2))
        artists = {"diagonal": self.ax_.plot([-1, 1], [-1, 1], color=QUIET, linewidth=1)[0]}
        sizes = np.sort(self.values["pair_sizes"], axis=1)
        for place, pair in enumerate(np.unique(sizes, axis=0)):
            at = np.flatnonzero((sizes == pair).all(axis=1))[:MAX_POINTS]
            name = f"{pair[0]} and {pair[1]}"
            style = {"color": COLOURS[place % len(COLOURS)], "s": 6, "alpha": 0.5, "linewidths": 0}
            x, y = self.values["phi"][at], self.values["cosine"][at]
            artists[name] = self.ax_.scatter(x, y, **{**style, "label": name, **wanted})
        self.ax_.set(xlabel="phi coefficient of two label sets", ylabel="cosine of their means")
        despine(self.ax_)
        for handle in legend_beside(self.ax_, "numbers of labels").legend_handles:
            handle.set(alpha=1, sizes=[20])
        return artists

    def _draw_scale(self, ax: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
        self.figure_, self.ax_ = figure_and_axes(ax, figsize=(4.8, 3.4))
        style = {"color": ACCENT, "marker": "o", **wanted}
        multiplicities, scales = self.values["multiplicities"], self.values["scales"]
        (line,) = self.ax_.plot(multiplicities, scales, **style)
        self.ax_.set(xlabel="number of labels m", ylabel="scale of the sum of tags")
        self.ax_.set_xticks(multiplicities)
        despine(self.ax_)
        return {"fitted": line}


def _tag_axes(tags: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Orthonormal axes (2, d) of the plane that shows the tags of some labels best."""
    if len(labels) < 3:
        raise ValueError(
            f"labels must name at least three of the {len(tags)} labels, got {labels.tolist()}."
        )
    lacking = labels[np.isnan(tags[labels]).any(axis=1)]
    if len(lacking):
        raise ValueError(f"labels {lacking.tolist()} have no tag: no usable sample has them.")
    centred = tags[labels] - tags[labels].mean(axis=0)
    axes = np.zeros((2, tags.shape[1]))
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    axes[: len(directions)] = directions
    # Signs of singular vectors are arbitrary: put the first label to the upper right.
    return axes * np.where(axes @ centred[0] < 0, -1.0, 1.0)[:, None]


def _in_tag_plane(
    arrays: Mapping[str, np.ndarray], labels: np.ndarray, points: np.ndarray, sets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the points whose label sets are made of these labels alone, and the sets."""
    inside = sets[:, labels]
    shown = inside.any(axis=1) & (inside.sum(axis=1) == sets.sum(axis=1))
    axes = _tag_axes(arrays["tags"], labels)
    return (points[shown] - arrays["intercept"]) @ axes.T, inside[shown]


def _mixed_colours(sets: np.ndarray) -> np.ndarray:
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(COLOURS[k % len(COLOURS)]) for k in range(sets.shape[1])])
    return sets @ palette / sets.sum(axis=1, keepdims=True)


def _gram_deviation(tags: np.ndarray) -> np.ndarray:
    """Cosines (L, L) of the centred tags minus those of a simplex."""
    centred = tags - np.nanmean(tags, axis=0)
    norms = np.linalg.norm(centred, axis=1)
    unit = centred / np.where(norms > 0, norms, np.nan)[:, None]
    n_tagged = int((~np.isnan(norms)).sum())
    ideal = np.where(np.eye(len(tags), dtype=bool), 1.0, -1 / max(n_tagged - 1, 1))
    return unit @ unit.T - ideal
