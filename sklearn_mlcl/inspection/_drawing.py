"""What the displays share: axes, names that fit, curves of labels, matrices of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_mlcl.utils.extras import import_extra

#: Further arguments of a function of matplotlib.
Options = Mapping[str, Any] | None

QUIET = "#9aa0a6"
#: The one positive label, or the one best value, in a plot.
ACCENT = "#d1495b"
UNDEFINED = "#dddddd"
#: Colours that remain distinct for colour-blind readers, most contrasting first.
COLOURS = ("#2e4057", ACCENT, "#edae49", "#66a182", "#8d6a9f", "#00798c")
LINE_STYLES = ("-", "--", ":", "-.")
#: Letters of a name that are shown, and labels of a matrix up to which all names are shown.
MAX_LETTERS, MAX_NAMES = 28, 40


def as_options(given: Any, name: str) -> dict[str, Any]:
    """Return further arguments of a function of matplotlib."""
    if not (given is None or isinstance(given, Mapping)):
        raise TypeError(f"{name} must be a dict of arguments of matplotlib, got {given!r}.")
    return dict(given or {})


def figure_and_axes(ax: Any, n_panels: int | None = None, **figure: Any) -> tuple[Any, Any]:
    """Return the axes given and their figure, or new ones.

    Parameters
    ----------
    ax : matplotlib Axes, sequence of them, or None
        None for a new figure.
    n_panels : int, default=None
        If given, the axes come as a list of this length.
    **figure
        Arguments of a new figure.

    Raises
    ------
    ImportError
        If a new figure is needed and matplotlib is not installed.
    """
    if ax is None:
        plt = import_extra("matplotlib.pyplot", "A plot", "plot")
        ax = plt.subplots(1, n_panels or 1, **{"layout": "constrained", **figure})[1]
    if n_panels is None:
        return ax.figure, ax
    axes = list(np.ravel(ax))
    if len(axes) != n_panels:
        raise ValueError(f"ax must hold {n_panels} axes, one a panel; got {len(axes)}.")
    return axes[0].figure, axes


def check_panels(panels: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names of the panels to draw; a single one may come as a string."""
    names = [panels] if isinstance(panels, str) else list(panels)
    if not names or not set(names) <= set(known):
        raise ValueError(f"panels must be some of {known}, got {panels!r}.")
    return names


def shortened(name: Any, n_letters: int = MAX_LETTERS) -> str:
    """Return a name that fits beside a plot: the end of a long one becomes an ellipsis."""
    text = str(name)
    return text if len(text) <= n_letters else text[: n_letters - 1] + "…"


def despine(ax: Any) -> None:
    """Remove the lines above and to the right of the plot."""
    ax.spines[["top", "right"]].set_visible(False)


def legend_beside(ax: Any, title: str = "", others: Sequence[Any] = ()) -> Any:
    """Put the legend to the right of the plot, with one entry for all grey curves."""
    from matplotlib.lines import Line2D

    handles, texts = ax.get_legend_handles_labels()
    if others:
        handles.append(Line2D([], [], color=QUIET, linewidth=1))
        texts.append(f"{len(others)} other label{'s' if len(others) > 1 else ''}")
    legend = ax.legend(
        handles, texts, title=title, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False
    )
    legend.set_alignment("left")
    return legend


# ---------------------------------------------------------------------- curves


def curve_style(place: int) -> dict[str, Any]:
    """Return colour and dashes of a curve: the first 24 places all differ."""
    dashes = LINE_STYLES[place // len(COLOURS) % len(LINE_STYLES)]
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": dashes, "linewidth": 1.6}


def draw_curves(
    ax: Any, curves: Sequence[tuple[np.ndarray, np.ndarray]], named: Mapping[int, str], **line: Any
) -> tuple[dict[int, Any], list[Any]]:
    """Draw the curves of all labels: those in ``named`` in colours, the others thin and grey.

    Returns
    -------
    lines : dict of int to Line2D
        The named curves by the number of the label.
    others : list of Line2D
        The other curves, without those that are empty or all NaN.
    """
    quiet = [k for k, (_, y) in enumerate(curves) if k not in named and np.isfinite(y).any()]
    # A hundred lines of full strength would hide everything: the more, the fainter.
    alpha = float(np.clip(6 / max(len(quiet), 1), 0.15, 0.6))
    style = {"color": QUIET, "linewidth": 0.7, "zorder": 1, "alpha": alpha, "rasterized": True}
    # The layout would measure each of these lines several times.
    style |= {"marker": "", "in_layout": False}
    others = [ax.plot(*curves[label], **{**line, **style})[0] for label in quiet]
    lines = {
        label: ax.plot(*curves[label], label=text, **{**curve_style(place), "zorder": 3, **line})[0]
        for place, (label, text) in enumerate(named.items())
    }
    return lines, others


def draw_macro(ax: Any, x: np.ndarray, y: np.ndarray, value: str) -> Any:
    """Draw the mean of all labels over their curves, with its value in the legend."""
    text = f"mean of the labels ({value})"
    return ax.plot(x, y, color="black", linewidth=2.4, zorder=4, label=text)[0]


# ---------------------------------------------------------------------- matrices


def draw_matrix(ax: Any, matrix: np.ndarray, largest: float, image_kwargs: Options = None) -> Any:
    """Draw a matrix of labels in red and blue up to the largest size; NaN is grey."""
    ax.set_facecolor(UNDEFINED)
    style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    return ax.imshow(matrix, **{**style, **as_options(image_kwargs, "image_kwargs")})


def write_values(ax: Any, image: Any, digits: int, fontsize: float) -> np.ndarray:
    """Write the values into an image, in black or white; return the texts, None for NaN."""
    values = np.ma.filled(image.get_array(), np.nan)
    texts = np.full(values.shape, None, dtype=object)
    for row, column in np.argwhere(np.isfinite(values)):
        value = values[row, column]
        # Rec. 601 luma: dark text on the light end of the colours.
        light = np.dot(image.to_rgba(value)[:3], (0.299, 0.587, 0.114)) > 0.5
        style = {"ha": "center", "va": "center", "color": "black" if light else "white"}
        text = f"{round(value, digits) + 0.0:.{digits}f}"
        texts[row, column] = ax.text(column, row, text, fontsize=fontsize, **style)
    return texts


def write_label_names(ax: Any, names: Sequence[str], first: bool = True) -> None:
    """Write the names beside a matrix of labels; of many, every k-th one at the first matrix."""
    step = -(-len(names) // MAX_NAMES)
    places, texts = range(0, len(names), step), [shortened(name) for name in names[::step]]
    ax.tick_params(length=0 if step == 1 else 2, labelsize=_name_size(len(names)))
    ax.set_yticks(*((places, texts) if first else ([],)))
    if step == 1:
        ax.set_xticks(places, texts, rotation=0 if max(map(len, texts)) <= 2 else 90)
    else:
        note = f", one in {step} named" if first else ""
        ax.set(xticks=[], xlabel=f"{len(names)} labels{note}")


def room_for(names: Sequence[str]) -> float:
    """Return the inches that the names take beside a matrix of labels."""
    letters = max(len(shortened(name)) for name in names)
    return letters * 0.6 * _name_size(len(names)) / 72


def _name_size(n_labels: int) -> float:
    return float(np.clip(240 / n_labels, 5.5, 9))
