"""Torch modules: encoders, projection heads, input scaling."""

from sklearn_mlcl.modules._encoder import ACTIVATIONS, MLPEncoder, ProjectionHead
from sklearn_mlcl.modules._etf import ETFLinear
from sklearn_mlcl.modules._scaling import InputScaler, ScaledEncoder, embedding_width

__all__ = [
    "ACTIVATIONS",
    "ETFLinear",
    "InputScaler",
    "MLPEncoder",
    "ProjectionHead",
    "ScaledEncoder",
    "embedding_width",
]
