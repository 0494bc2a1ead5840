"""The skorch room: the net, its batches, objectives, callbacks and runtime.

Nothing outside this package imports skorch.
"""

from sklearn_mlcl.training.batches import IndexBatches, RowTensors
from sklearn_mlcl.training.callbacks import EarlyStopping, FitTaskCallback, epoch_log
from sklearn_mlcl.training.collapse_monitor import NeuralCollapseMonitor
from sklearn_mlcl.training.encoding import PRECISIONS
from sklearn_mlcl.training.mixup import mixed
from sklearn_mlcl.training.monitors import RepresentationMonitor
from sklearn_mlcl.training.net import IndexBatchNet, NonFiniteLossError
from sklearn_mlcl.training.objectives import (
    ContrastiveObjective,
    FixedETFHead,
    LinearHead,
    LogitObjective,
    head_arrays,
    linear_head,
)
from sklearn_mlcl.training.optimizers import OPTIMIZERS, SCHEDULES
from sklearn_mlcl.training.runtime import (
    resolve_device,
    seeded,
    seeded_device,
    threads_for,
)

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "ContrastiveObjective",
    "EarlyStopping",
    "FitTaskCallback",
    "FixedETFHead",
    "IndexBatchNet",
    "IndexBatches",
    "LinearHead",
    "LogitObjective",
    "NeuralCollapseMonitor",
    "NonFiniteLossError",
    "RepresentationMonitor",
    "RowTensors",
    "epoch_log",
    "head_arrays",
    "linear_head",
    "mixed",
    "resolve_device",
    "seeded",
    "seeded_device",
    "threads_for",
]
