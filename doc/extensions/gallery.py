"""The order of the gallery: the quickstart, then the files by name."""

from __future__ import annotations


def quickstart_first(filename: str) -> tuple[bool, str]:
    """Return the key that sphinx-gallery sorts examples by."""
    return filename != "plot_quickstart.py", filename
