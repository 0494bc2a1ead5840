"""What the displays of labels share: axes, colours of chosen curves, legends beside the plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Colours that remain apart for the colour-blind, most contrasting first.
COLOURS = ("#2e4057", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#00798c", "#9aa0a6")


QUIET = "#9aa0a6"


#: Colours of curves with a name; the grey of the palette is that of the others.
CURVE_COLOURS = tuple(colour for colour in COLOURS if colour != QUIET)
STYLES = ("-", "--", ":", "-.")
#: The one positive label, or the one fitted value, in a plot.
ACCENT = "#d1495b"
MAX_NAME = 28


def axes_of(ax: Any, *shape: int, **figure: Any) -> Any:
    """Return the axes given, or those of a new figure.

    Raises
    ------
    ImportError
        If a figure is asked for and matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib, which is not installed: pip install 'sklearn-mlcl[plot]'."
        ) from error
    return plt.subplots(*shape, **{"layout": "constrained", **figure})[1]


def check_panels(panels: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names of the panels to draw; one may come as a string."""
    names = [panels] if isinstance(panels, str) else list(panels)
    if not names or not set(names) <= set(known):
        raise ValueError(f"panels must be some of {known}, got {panels!r}.")
    return names


def axes_of_panels(ax: Any, n_panels: int) -> list[Any]:
    """Return the axes as a list, one a panel."""
    axes = list(np.ravel(ax))
    if len(axes) != n_panels:
        raise ValueError(f"ax must hold {n_panels} axes, one a panel; got {len(axes)}.")
    return axes


def shortened(name: Any) -> str:
    """Return a name that fits beside a plot."""
    text = str(name)
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"


def curve_style(place: int) -> dict[str, Any]:
    """Colour and dashes of the curve in a place: no two of the first 24 are alike."""
    n_colours = len(CURVE_COLOURS)
    dashes = STYLES[place // n_colours % len(STYLES)]
    return {"color": CURVE_COLOURS[place % n_colours], "linestyle": dashes, "linewidth": 1.6}


def draw_curves(
    ax: Any,
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
    named: Mapping[int, str],
    **line: Any,
) -> tuple[dict[int, Any], list[Any]]:
    """Draw the curves of all labels: those in ``named`` in colours, the others thin and grey.

    Returns
    -------
    lines : dict of int to Line2D
        The curves with a name by the number of the label.
    others : list of Line2D
        The other curves, without those that have no point.
    """
    quiet = [k for k, (x, _) in enumerate(curves) if k not in named and len(x)]
    # The more there are, the fainter: a hundred lines of full strength are a wall.
    alpha = float(np.clip(6 / max(len(quiet), 1), 0.15, 0.6))
    style = {"color": QUIET, "linewidth": 0.7, "zorder": 1, "alpha": alpha, "rasterized": True}
    # Of no concern to the layout, which would measure each of them several times.
    style |= {"marker": "", "in_layout": False}
    others = [ax.plot(*curves[label], **{**line, **style})[0] for label in quiet]
    lines = {
        label: ax.plot(*curves[label], label=text, **{**curve_style(place), "zorder": 3, **line})[0]
        for place, (label, text) in enumerate(named.items())
    }
    return lines, others


def draw_macro(ax: Any, x: np.ndarray, y: np.ndarray, text: str) -> Any:
    """Draw the mean of all labels over their curves."""
    return ax.plot(x, y, color="black", linewidth=2.4, zorder=4, label=text)[0]


def legend_beside(ax: Any, title: str, others: Sequence[Any] = ()) -> None:
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


def despine(ax: Any) -> None:
    """Take away the lines above and to the right of the plot."""
    ax.spines[["top", "right"]].set_visible(False)
