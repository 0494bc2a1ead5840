"""Torch modules: encoders, projection heads, input scaling, the Gaussian-mixture VAE."""

from sklearn_mlcl.modules._encoder import (
    ACTIVATIONS,
    Dropout,
    MemberList,
    MLPEncoder,
    ProjectionHead,
    SharedDropout,
    StackedLayerNorm,
    StackedLinear,
    linear,
    side_by_side,
)
from sklearn_mlcl.modules._etf import ETFLinear
from sklearn_mlcl.modules._gaussian_mixture import (
    gaussian_kl,
    gaussian_log_density,
    mixture_kl,
    mixture_kl_bounds,
    mixture_log_density,
)
from sklearn_mlcl.modules._scaling import (
    FeatureNoise,
    InputScaler,
    PiecewiseLinearEncoding,
    ScaledEncoder,
    embedding_width,
)
from sklearn_mlcl.modules.gmvae import GaussianMixtureVAE
from sklearn_mlcl.utils.samples import pack_inputs

__all__ = [
    "ACTIVATIONS",
    "Dropout",
    "ETFLinear",
    "FeatureNoise",
    "GaussianMixtureVAE",
    "InputScaler",
    "MLPEncoder",
    "MemberList",
    "PiecewiseLinearEncoding",
    "ProjectionHead",
    "ScaledEncoder",
    "SharedDropout",
    "StackedLayerNorm",
    "StackedLinear",
    "embedding_width",
    "gaussian_kl",
    "gaussian_log_density",
    "linear",
    "mixture_kl",
    "mixture_kl_bounds",
    "mixture_log_density",
    "pack_inputs",
    "side_by_side",
]
