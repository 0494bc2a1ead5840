"""Large batches of a wide encoder: embedded in chunks, with the gradient of the whole batch.

A contrastive loss needs all embeddings of a batch at once, so gradients of parts do not add up to
its gradient. Here the embeddings are computed without a graph, the loss gives their gradient, and
each chunk runs again to pass its part on. One chunk at a time has a graph (L. Gao, Y. Zhang, J.
Han, J. Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
arXiv:2101.06983).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_mlcl.utils.runtime import streams_of_fit
from sklearn_mlcl.utils.samples import each_tensor

#: Layers of torch whose output for a sample depends on the others of its batch.
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
#: Relative difference up to which two runs of a chunk are the same, and up to which a sample is the
#: same among others.
SAME, SAME_AMONG_OTHERS = 1e-5, 1e-3


def batch_norms(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers, with their names, that normalise over the batch while a module trains.

    A layer that the module's own ``train()`` keeps in evaluation mode is none.
    """
    for name, part in module.train().named_modules():
        if isinstance(part, BATCH_NORMS) and part.training:
            yield name or "itself", part


def check_no_batch_norm(module: nn.Module) -> None:
    """Raise if a layer of a module normalises over the batch."""
    for name, part in batch_norms(module):
        raise ValueError(
            f"net_params__chunk_size embeds a batch in chunks, and module has a layer {name!r} "
            f"({type(part).__name__}) whose statistics are those of a chunk: expected layers "
            "that see one sample at a time, such as LayerNorm or GroupNorm. Or keep that layer "
            "in evaluation mode in the train() of your module."
        )


class Draws:
    """The generators that an encoder draws from in a fit.

    Parameters
    ----------
    device : torch.device
        Where it computes.
    global_ones : bool
        Whether it draws from torch's global generators too.
    """

    def __init__(self, device: torch.device, global_ones: bool) -> None:
        self.device, self.global_ones = device, global_ones
        for each in (device, torch.device("cpu")):
            streams_of_fit().on(each)  # one that is not there yet could not be put back

    def state(self) -> list[Any]:
        """Return where they stand."""
        with_global = self.global_ones
        return [
            streams_of_fit().state(),
            torch.get_rng_state() if with_global else None,
            torch.cuda.get_rng_state(self.device) if self._on_gpu else None,
        ]

    def put_state(self, state: list[Any]) -> None:
        """Let them stand where they stood."""
        streams, on_cpu, on_gpu = state
        streams_of_fit().put_state(streams)
        if on_cpu is not None:
            torch.set_rng_state(on_cpu)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu, self.device)

    @property
    def _on_gpu(self) -> bool:
        # Fused attention on a GPU always draws from the global generator there.
        return self.device.type == "cuda"


class ChunkedBatch:
    """A batch that an encoder sees in chunks, once without a graph and once with one.

    Parameters
    ----------
    encode : callable
        Inputs of a chunk -> embeddings.
    chunks : list of Tensor or of dict of str to Tensor
        The inputs.
    dim : int
        Dimension of the inputs along which samples lie.
    draws : Draws
        What the encoder draws from: it draws the same both times.
    """

    def __init__(
        self, encode: Callable[[Any], Tensor], chunks: list[Any], dim: int, draws: Draws
    ) -> None:
        self.encode, self.chunks, self.dim, self.draws = encode, chunks, dim, draws
        self._before: list[Any] = []

    def embedding(self) -> Tensor:
        """Return the embeddings of all samples, a leaf that takes their gradient."""
        parts = []
        with torch.no_grad():
            for chunk in self.chunks:
                self._before.append(self.draws.state())
                parts.append(self.encode(chunk))
        self._sizes = [part.shape[-2] for part in parts]
        self._embedding = torch.cat(parts, dim=-2).requires_grad_()
        return self._embedding

    def backward(self, check: bool) -> None:
        """Add the gradients of the encoder, from that of the embeddings.

        Parameters
        ----------
        check : bool
            Whether to raise if the encoder answers otherwise than before, or if what it makes of a
            sample depends on the others.
        """
        gradient = self._embedding.grad
        if gradient is None:
            return
        after = self.draws.state()
        known = self._embedding.detach().split(self._sizes, dim=-2)
        parts = gradient.split(self._sizes, dim=-2)
        for chunk, state, before, part in zip(self.chunks, self._before, known, parts, strict=True):
            self.draws.put_state(state)
            made = self.encode(chunk)
            if check:
                why = "it draws from generators that are not torch's, or counts its calls"
                _check_same(made, before, SAME, why)
            if made.requires_grad:
                made.backward(part)
        if check:
            self._check_alone(known[0])
        self.draws.put_state(after)

    def _check_alone(self, known: Tensor) -> None:
        """Raise if the first sample is another one among copies of itself."""
        chunk = self.chunks[0]
        copies = each_tensor(lambda t: t.narrow(self.dim, 0, 1).expand_as(t).contiguous(), chunk)
        self.draws.put_state(self._before[0])
        with torch.no_grad():
            made = self.encode(copies)
        why = "what it makes of a sample depends on the others of the batch"
        _check_same(made[..., :1, :], known[..., :1, :], SAME_AMONG_OTHERS, why)


def chunks_of(inputs: Any, size: int, dim: int) -> list[Any]:
    """Return inputs of a module in chunks of at most so many samples, which lie along ``dim``."""
    if not isinstance(inputs, dict):
        return list(inputs.split(size, dim=dim))
    split = {name: tensor.split(size, dim=dim) for name, tensor in inputs.items()}
    parts = zip(*split.values(), strict=True)
    return [dict(zip(split, chunk, strict=True)) for chunk in parts]


def _check_same(made: Tensor, known: Tensor, tolerance: float, why: str) -> None:
    difference, scale = (made.detach() - known).abs().max(), known.abs().max()
    if float(difference) > tolerance * float(scale):
        raise ValueError(
            "net_params__chunk_size runs module twice on each chunk and needs the same embeddings "
            f"both times, but {why}. Expected a module without such layers, or chunk_size=None."
        )
