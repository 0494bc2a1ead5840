"""The skorch room: the net, its batches, objectives, callbacks and runtime.

Nothing outside this package imports skorch.
"""

from sklearn_mlcl.training.batches import IndexBatches, RowTensors, mixed
from sklearn_mlcl.training.net import PRECISIONS, IndexBatchNet, NonFiniteLossError
from sklearn_mlcl.training.objectives import ContrastiveObjective, LogitObjective
from sklearn_mlcl.training.optimizers import OPTIMIZERS, SCHEDULES

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "ContrastiveObjective",
    "IndexBatchNet",
    "IndexBatches",
    "LogitObjective",
    "NonFiniteLossError",
    "RowTensors",
    "mixed",
]
