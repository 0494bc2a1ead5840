"""Modules of the user's: a file has their names and their tensors, the user has their code."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from sklearn_mlcl.modules._encoder import N_FEATURES, custom_encoder
from sklearn_mlcl.persistence._state import Codec, Node


class Custom(NamedTuple):
    """What an estimator was given as ``module=``, to be stored by its name.

    Attributes
    ----------
    factory : callable
        A class, or a function that makes modules.
    """

    factory: Any

    @property
    def name(self) -> str:
        """The name that a refusal prints."""
        of_class = type(self.factory)
        module = getattr(self.factory, "__module__", of_class.__module__)
        return f"{module}.{getattr(self.factory, '__qualname__', of_class.__qualname__)}"


def custom_codecs(given: Any) -> dict[str, Codec]:
    """Return codecs of modules of the user's.

    Parameters
    ----------
    given : callable or None
        What a name in a file stands for; None refuses all names.
    """

    def factory_of(header: dict[str, Node], fields: dict[str, Any]) -> Any:
        if given is None:
            raise ValueError(
                f"it was fitted with module={header['name']}, and no name in a file is imported: "
                "give the class to load(path, module=...)"
            )
        return given

    def unpack(header: dict[str, Node], fields: dict[str, Any]) -> nn.Module:
        return _built(factory_of(header, fields), header, fields["state"])

    return {
        "custom": Codec("custom", _is_factory, lambda v: ({"name": v.name}, {}), factory_of),
        "custom encoder": Codec("custom encoder", is_custom, _pack, unpack, _width),
    }


def _is_factory(value: Any) -> bool:
    return type(value) is Custom


def is_custom(value: Any) -> bool:
    """Whether a value is an encoder of the user's."""
    return isinstance(value, nn.Module) and N_FEATURES in vars(value)


def _pack(encoder: nn.Module) -> tuple[dict[str, Node], dict[str, Any]]:
    header = {
        "name": Custom(type(encoder)).name,
        "n_features": getattr(encoder, N_FEATURES),
        "training": encoder.training,
    }
    return header, {"state": dict(encoder.state_dict())}


def _width(header: dict[str, Node], fields: dict[str, Any]) -> Any:
    return header["n_features"]


def _built(factory: Any, header: dict[str, Node], state: dict[str, Any]) -> nn.Module:
    """Build the module anew and give it its tensors, if it has those of the file."""
    encoder = custom_encoder(factory, header["n_features"])
    own = encoder.state_dict()
    if own.keys() != state.keys():
        raise ValueError(
            f"module={Custom(factory).name} has {sorted(own)}; the file has {sorted(state)}"
        )
    for name, value in state.items():
        looks, expected = _looks(value), _looks(own[name])
        if looks != expected:
            raise ValueError(f"module.{name} is {looks} in the file, expected {expected}")
    encoder.load_state_dict(state)
    return encoder.train(header["training"] is True)


def _looks(tensor: Any) -> Any:
    known = isinstance(tensor, Tensor)
    return (tensor.dtype, tuple(tensor.shape)) if known else type(tensor).__name__
