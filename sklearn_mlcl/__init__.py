"""Multi-label contrastive learning for scikit-learn."""

from sklearn_mlcl._version import __version__

__all__ = ["__version__"]
