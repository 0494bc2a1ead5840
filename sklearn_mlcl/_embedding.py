"""From rows to embeddings, and the statistics that a net starts from."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.func import functional_call

from sklearn_mlcl._label_weights import label_masses
from sklearn_mlcl.modules import InputScaler, side_by_side

#: Rows that are embedded at once: bounds the memory of a prediction.
CHUNK_ROWS = 8192
#: Bound on a scaled dense feature, in standard deviations.
LIMIT = 4.0
#: Root mean square of scaled sparse features, of which most are zero: next to the noise of
#: training they weigh less than standardised ones.
SPARSE_SIZE = 0.5
#: Rows that quartiles are taken from at most, evenly spaced.
QUARTILE_ROWS = 50_000
#: Distance of the quartiles of a normal variable, in standard deviations.
NORMAL_QUARTILES = 1.349


def embed(
    encoder: nn.Module,
    X: np.ndarray | sp.csr_matrix,
    device: torch.device,
    dtype: torch.dtype,
) -> np.ndarray:
    """Return the embeddings of all rows, computed in ``dtype``, in chunks.

    Those of members stand side by side, in one row of n_members * n_embedding entries.

    For float64 rows the weights are cast up first: a float32 pass gives a row another answer
    in another batch, by more than scikit-learn's checks allow.
    """
    state = {
        name: value.to(device, dtype if value.is_floating_point() else None)
        for name, value in encoder.state_dict().items()
    }
    encoder.eval()
    chunks = []
    with torch.inference_mode():
        for start in range(0, X.shape[0], CHUNK_ROWS):
            rows = _dense_tensor(X[start : start + CHUNK_ROWS], dtype, device)
            chunks.append(side_by_side(functional_call(encoder, state, (rows,))).cpu().numpy())
    return np.concatenate(chunks)


def _dense_tensor(rows: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    dense = rows.toarray() if sp.issparse(rows) else rows
    # from_numpy warns about read-only memory, which a memory map is.
    dense = dense if dense.flags.writeable else dense.copy()
    return torch.from_numpy(dense).to(device=device, dtype=dtype)


def input_scaler(X: Any, weights: np.ndarray | None) -> InputScaler:
    """Return the layer that brings dense features to one size; CSR is scaled by one number.

    A dense feature is centred at its median and divided by what its quartiles say its standard
    deviation is (where they coincide, by mean and deviation themselves); values beyond about LIMIT
    are brought in. Centring would make CSR dense, and a factor a feature would blow up the rarest
    words; one factor brings the root mean square of all entries to SPARSE_SIZE.
    """
    if sp.issparse(X):
        mean_square = X.multiply(X).mean()
        size = SPARSE_SIZE / np.sqrt(mean_square) if mean_square > 0 else 1.0
        return InputScaler(_float32(np.zeros(X.shape[1])), _float32(np.full(X.shape[1], size)))
    rows = slice(None, None, ceil(len(X) / QUARTILE_ROWS))
    w = None if weights is None else weights[rows]
    low, median, high = np.quantile(
        np.asarray(X[rows]), (0.25, 0.5, 0.75), axis=0, weights=w, method="inverted_cdf"
    )
    deviation = (high - low) / NORMAL_QUARTILES
    # Quartiles that float32 cannot tell apart coincide: their distance is rounding.
    by_deviation = deviation <= np.finfo(np.float32).eps * np.abs(median)
    if by_deviation.any():
        scaler = StandardScaler().fit(X[:, by_deviation], sample_weight=weights)
        median[by_deviation], deviation[by_deviation] = scaler.mean_, scaler.scale_
    return InputScaler(_float32(median), _float32(1 / deviation), LIMIT)


def _float32(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def label_log_odds(
    Y: np.ndarray | sp.csr_array, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return smoothed log-odds (L,) of the labels, and which show a single value.

    Each count is raised by one half, so that a constant label has finite log-odds.
    """
    positive, negative = label_masses(Y, weights)
    constant = (positive <= 0) | (negative <= 0)
    return np.log((positive + 0.5) / (negative + 0.5)), constant
