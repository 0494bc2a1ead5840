"""Probabilities as an ONNX graph."""

from __future__ import annotations

import json
import logging
import os
import warnings
from abc import abstractmethod
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sklearn_mlcl._version import __version__
from sklearn_mlcl.persistence._files import write_whole
from sklearn_mlcl.utils.extras import import_extra

#: Bytes beyond which a graph does not fit into one file: a limit of protocol buffers.
LARGEST = 2**31 - 2**20
#: The exporter of earlier versions of torch fails on some graphs.
FIRST_TORCH = "2.11"


def write_onnx(graph: nn.Module, n_features: int, path: Any, metadata: dict[str, str]) -> None:
    """Write a module that maps float32 X (n, n_features) to probabilities, for any n.

    Raises
    ------
    ImportError
        If onnx or onnxscript, the extra ``onnx``, is missing, or torch is older than FIRST_TORCH.
    ValueError
        If the graph is too large for one file.
    """
    size = sum(t.numel() * t.element_size() for t in graph.state_dict().values())
    if size > LARGEST:
        raise ValueError(
            f"The graph has {size / 2**30:.1f} GiB of constants, more than the 2 GiB of an ONNX "
            "file. The rows of the vote are most of it where there are many labels: fit with "
            "neighbor_weight=0."
        )
    program = _exported(graph, n_features)
    program.model.metadata_props.update({"sklearn_mlcl": __version__, **metadata})
    write_whole(path, program.model_proto.SerializeToString())


def _exported(graph: nn.Module, n_features: int) -> Any:
    for package in ("onnx", "onnxscript"):
        import_extra(package, "to_onnx", "onnx")
    if torch.torch_version.TorchVersion(torch.__version__) < FIRST_TORCH:
        raise ImportError(
            f"to_onnx needs torch >= {FIRST_TORCH}, found {torch.__version__}: upgrade it."
        )
    # torch's exporter uses deprecated parts of torch, and looks for torchvision.
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                graph.eval(),
                (torch.zeros(2, n_features),),
                dynamo=True,
                verbose=False,
                input_names=["X"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("n_samples")},),
            )
    finally:
        log.setLevel(level)


class OnnxExport:
    """Mixin: an estimator that writes its ``predict_proba`` as an ONNX graph."""

    n_features_in_: int

    @abstractmethod
    def to_module(self) -> nn.Module:
        """Return a module that maps float32 samples (n, d) to what ``predict_proba`` returns."""

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`predict_proba` as an ONNX graph, to run without Python.

        The input ``X`` of the graph is dense float32 of shape (n_samples, n_features), for any
        n_samples. Its output ``probabilities`` agrees with :meth:`predict_proba` for float32 X to
        1e-5. The metadata of the model hold the names of the labels.

        Parameters
        ----------
        path : str or path-like
            The file; one that is there is replaced in one step.

        Raises
        ------
        ImportError
            If onnx or onnxscript is missing: ``pip install "sklearn-mlcl[onnx]"``. Also if torch
            is too old for the export; the message names the first version that will do.
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If the graph has more than 2 GiB, or ONNX has no operations for the prediction.
        """
        check_is_fitted(self)
        names = getattr(self, "label_names_", None)
        metadata = {} if names is None else {"label_names": json.dumps([str(n) for n in names])}
        write_onnx(self.to_module(), self.n_features_in_, path, metadata)
