"""Torch modules: encoders, projection heads, input scaling."""

from sklearn_mlcl.modules._encoder import ACTIVATIONS, MLPEncoder, ProjectionHead
from sklearn_mlcl.modules._scaling import InputScaler, ScaledEncoder

__all__ = ["ACTIVATIONS", "InputScaler", "MLPEncoder", "ProjectionHead", "ScaledEncoder"]
