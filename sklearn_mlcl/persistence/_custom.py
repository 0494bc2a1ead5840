"""Modules of the user's: a file has their names and their tensors, the user has their code."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, NamedTuple

from torch import Tensor, nn

from sklearn_mlcl.persistence._state import Codec, Node

#: Attribute of modules of the user's: the number that they were called with.
N_FEATURES = "_n_features_of_fit"


def custom_encoder(factory: Callable[[int], nn.Module], n_features: int) -> nn.Module:
    """Return an encoder of the user's, marked as one that a file holds the tensors of alone.

    Parameters
    ----------
    factory : callable
        Called with ``n_features``, or without arguments where it takes none; returns a module that
        maps (n, n_features) to (n, n_embedding).
    n_features : int
        Number of input features.
    """
    if isinstance(factory, nn.Module):
        raise TypeError(
            "module must be a class or a function that returns a module, got a module of the "
            f"class {type(factory).__name__}. Each fit, and each member, needs a module of its own."
        )
    module = factory(n_features) if _takes_arguments(factory) else factory()  # type: ignore
    if isinstance(module, nn.Module):
        setattr(module, N_FEATURES, n_features)
        # Code of the user's that casts to float32 cannot run on weights that are cast to float64.
        module.in_float32 = True  # type: ignore[assignment]
    return module


def _takes_arguments(factory: Callable[..., Any]) -> bool:
    """Return whether a callable takes an argument by place."""
    try:
        parameters = signature(factory).parameters.values()
    except ValueError:  # of a class written in C
        return True
    by_name = (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)
    return any(parameter.kind not in by_name for parameter in parameters)


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
                f"it was fitted with module={header['name']}, and load imports no name of a file: "
                "pass the class, load(path, module=...)"
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
