"""What a file may hold besides arrays and plain values: classes, each allowed by name."""

from __future__ import annotations

from typing import Any

KINDS = ("object", "mapping", "module", "stateful", "type")
_ALLOWED: dict[str, dict[str, type]] = {kind: {} for kind in KINDS}


def allow(*classes: type, kind: str = "object") -> None:
    """Let files hold instances of classes (or, for the kind "type", the classes themselves).

    Parameters
    ----------
    *classes : type
        Known to files by their names, which must not change then.
    kind : {"object", "mapping", "module", "stateful", "type"}, default="object"
        How an instance is taken apart: by its attributes, as a dict, as a torch module, by its
        own ``saved_state`` and ``from_saved_state``, or not at all.
    """
    names = _ALLOWED[kind]
    for cls in classes:
        if names.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(f"Two classes of the name {cls.__name__} cannot both be allowed.")


def allowed(kind: str) -> list[type]:
    """Return the classes of a kind."""
    return list(_ALLOWED[kind].values())


def is_allowed(kind: str, cls: type) -> bool:
    """Return whether files may hold a class; a subclass of an allowed one is not allowed by it."""
    return _ALLOWED[kind].get(cls.__name__) is cls


def class_named(kind: str, name: str) -> Any:
    """Return an allowed class.

    Raises
    ------
    ValueError
        For any other name.
    """
    if name not in _ALLOWED[kind]:
        raise ValueError(f"it names the {kind} {name!r}, which this version does not know")
    return _ALLOWED[kind][name]
