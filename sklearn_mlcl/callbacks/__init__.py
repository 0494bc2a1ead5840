"""Callbacks to hand to a net-based classifier: ``callbacks=[RepresentationMonitor()]``."""

from sklearn_mlcl.callbacks._collapse import NeuralCollapseMonitor
from sklearn_mlcl.callbacks._representation import RepresentationMonitor

__all__ = ["NeuralCollapseMonitor", "RepresentationMonitor"]
