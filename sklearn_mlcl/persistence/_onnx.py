"""Probabilities as an ONNX graph."""

from __future__ import annotations

import json
import logging
import os
import warnings
from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sklearn_mlcl._version import __version__
from sklearn_mlcl.persistence._files import check_path, write_whole
from sklearn_mlcl.utils.extras import import_extra
from sklearn_mlcl.utils.samples import Inputs, tensors_of

#: Bytes beyond which a graph does not fit into one file: a limit of protocol buffers.
LARGEST = 2**31 - 2**20
#: The exporter of earlier versions of torch fails on some graphs.
FIRST_TORCH = "2.11"


def write_onnx(graph: nn.Module, samples: Inputs, path: Any, metadata: dict[str, str]) -> None:
    """Write a module that maps samples to probabilities, for any number of them.

    Parameters
    ----------
    graph : torch.nn.Module
        The module.
    samples : Tensor or dict of str to Tensor
        Two samples, as the module takes them. The names are those of the inputs of the graph.
    path : str or path-like
        The file.
    metadata : dict of str to str
        What the file says besides.

    Raises
    ------
    ImportError
        If onnx or onnxscript, the extra ``onnx``, is missing, or torch is older than FIRST_TORCH.
    ValueError
        If the graph is too large for one file, or torch cannot export it.
    """
    size = sum(t.numel() * t.element_size() for t in graph.state_dict().values())
    if size > LARGEST:
        raise ValueError(
            f"The graph has {size / 2**30:.1f} GiB of constants, more than the 2 GiB of an ONNX "
            "file. With many labels most of it are the neighbours: fit with neighbor_weight=0."
        )
    program = _exported(graph, samples)
    program.model.metadata_props.update({"sklearn_mlcl": __version__, **metadata})
    write_whole(path, program.model_proto.SerializeToString())


class _Inputs(nn.Module):
    """A module of a dict of tensors, called with the tensors: inputs of a graph have an order."""

    def __init__(self, module: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return what the module makes of the tensors by their names."""
        made: Tensor = self.module(dict(zip(self.names, tensors, strict=True)))
        return made


def _exported(graph: nn.Module, samples: Inputs) -> Any:
    for package in ("onnx", "onnxscript"):
        import_extra(package, "to_onnx", "onnx")
    if torch.torch_version.TorchVersion(torch.__version__) < FIRST_TORCH:
        raise ImportError(
            f"to_onnx needs torch >= {FIRST_TORCH}, found {torch.__version__}: upgrade it."
        )
    # torch's exporter uses deprecated parts of torch, and looks for torchvision.
    n_samples = torch.export.Dim("n_samples")
    shapes: Any = ({0: n_samples},)
    if isinstance(samples, dict):
        graph, shapes = _Inputs(graph, list(samples)), (tuple({0: n_samples} for _ in samples),)
    else:
        samples = {"X": samples}
    log = logging.getLogger("torch.onnx")
    level, has_fast_path = log.level, torch.backends.mha.get_fastpath_enabled()
    log.setLevel(logging.ERROR)
    # ONNX has no such operation as the one that torch's layers of transformers become.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                graph.eval(),
                tuple(samples.values()),
                dynamo=True,
                verbose=False,
                input_names=list(samples),
                output_names=["probabilities"],
                dynamic_shapes=shapes,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise ValueError(
            f"to_onnx: torch cannot export the prediction ({type(error).__name__}: {reason}). Your "
            "module may have a step that depends on values, or that ONNX has no operation for."
        ) from error
    finally:
        log.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(has_fast_path)


class OnnxExport:
    """Mixin: an estimator that writes its ``predict_proba`` as an ONNX graph."""

    @abstractmethod
    def _zero_samples(self) -> np.ndarray:
        """Return two samples of zeros, as they come."""

    @abstractmethod
    def to_module(self) -> nn.Module:
        """Return a module that maps float32 samples (n, d) to what ``predict_proba`` returns."""

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`predict_proba` as an ONNX graph, to run without Python.

        The input ``X`` of the graph is dense float32 of shape (n_samples, n_features), for any
        n_samples. Its output ``probabilities`` agrees with :meth:`predict_proba` for float32 X to
        1e-5. The metadata of the model hold the names of the labels. Samples for a ``module`` of
        your own keep their shape and dtype, and several arrays are inputs by their names.

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
        check_path(path, "to_onnx")
        check_is_fitted(self)
        names = getattr(self, "label_names_", None)
        metadata = {} if names is None else {"label_names": json.dumps([str(n) for n in names])}
        write_onnx(self.to_module(), tensors_of(self._zero_samples()), path, metadata)
