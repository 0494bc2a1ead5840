"""Callbacks to hand to a net-based classifier: ``callbacks=[RepresentationMonitor()]``."""

from sklearn_mlcl.training.collapse_monitor import NeuralCollapseMonitor
from sklearn_mlcl.training.monitors import RepresentationMonitor

__all__ = ["NeuralCollapseMonitor", "RepresentationMonitor"]
