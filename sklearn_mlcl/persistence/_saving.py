"""``save`` and ``load``, as functions and as methods of the estimators."""

from __future__ import annotations

import copyreg
import os
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted

from sklearn_mlcl._version import __version__
from sklearn_mlcl.persistence._files import check_path
from sklearn_mlcl.persistence._format import Content, ModelFileError, read_file, write_file
from sklearn_mlcl.persistence._objects import decode, encode, kept_in_files
from sklearn_mlcl.persistence._registry import is_registered, registered
from sklearn_mlcl.persistence._skops import decode_torch, encode_torch
from sklearn_mlcl.persistence._state import unsavable
from sklearn_mlcl.utils._sklearn_compat import validate_parameters
from sklearn_mlcl.utils.parameters import check_arguments
from sklearn_mlcl.utils.runtime import torch_defaults


def save(estimator: Any, path: str | os.PathLike[str], *, optimizer: bool = False) -> None:
    """Write a fitted estimator to a file that loads without running code.

    The file is in the safetensors format: all arrays, and in its header the rest as JSON, with
    versions and checksums. It has everything that predictions, ``partial_fit`` and warm starts
    need. The state of the optimizer is optional, and held-out probabilities are left out. So is
    ``compile`` of ``net_params``, so that no file starts a compiler.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator of this package.
    path : str or path-like
        The file. One that is there is replaced in one step once the new one is whole, and keeps
        its mode. A symbolic link stays one.
    optimizer : bool, default=False
        Whether to write the state of the optimizer too, about twice the weights that are trained.
        Without it, training that goes on after :func:`load` begins with a new optimizer.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it holds what is no array, plain value or class of this package: a loss, a callback or an
        estimator from elsewhere. The message says where.
    ValueError
        If a parameter has a value that ``fit`` would refuse, or the path is that of a folder or a
        device.
    FileNotFoundError
        If the folder is not there.

    See Also
    --------
    load : The way back.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelLogisticRegression
    >>> from sklearn_mlcl.persistence import load, save
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "heads.safetensors")
    ...     save(MultiLabelLogisticRegression().fit(X, Y), path)
    ...     load(path)
    MultiLabelLogisticRegression()
    """
    check_path(path, "save")
    check_arguments("save", optimizer=(optimizer, "boolean"))
    cls = type(estimator)
    if not is_registered("object", cls):
        raise TypeError(unsavable(estimator, "estimator"))
    check_is_fitted(estimator)
    validate_parameters(estimator)
    tree, arrays = encode(estimator, cls.__name__, custom=True, optimizer=optimizer)
    write_file(path, Content(cls.__name__, tree, arrays))


def load(path: str | os.PathLike[str], *, module: Any = None) -> Any:
    """Return the estimator in a file that :func:`save` wrote.

    No code of the file is run. ``load`` makes only instances of known classes from it, and checks
    the content first, against nets that it builds from the parameters in the file.

    Parameters
    ----------
    path : str or path-like
        The file.
    module : callable, default=None
        The ``module=`` of the estimator, if it had a module class of your own. A file has its name
        only, and ``load`` imports no name of a file.

    Returns
    -------
    estimator : estimator
        The saved estimator. On the same machine its probabilities are the same, bit for bit. Its
        weights are in main memory, and ``device="auto"`` means the devices of this machine.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is damaged or incomplete, or has another format or a newer version of it. Also
        if its content is not that of an estimator, or it needs ``module``. It is a ``ValueError``
        that names the file.

    See Also
    --------
    save : Write the file.

    Examples
    --------
    >>> import sklearn_mlcl
    >>> sklearn_mlcl.load("no such file")
    Traceback (most recent call last):
        ...
    FileNotFoundError: There is no file 'no such file'.
    """
    return _loaded(path, None, module)


def _loaded(path: str | os.PathLike[str], cls: type | None, module: Any) -> Any:
    """Return the estimator in a file, which must be of a class if one is given."""
    check_path(path, "load")
    written_by = ""
    try:
        content = read_file(path)
        if content.version != __version__:
            written_by = f" sklearn_mlcl {content.version} wrote it; this is {__version__}."
        known = registered("object", content.root)
        if cls is not None and not issubclass(known, cls):
            raise ValueError(
                f"it holds a {content.root}, expected a {cls.__name__}; sklearn_mlcl.load reads all"
            )
        with torch_defaults():
            estimator = decode(content.tree, content.arrays, module)
        if type(estimator) is not known:
            raise ValueError(f"it holds a {type(estimator).__name__}, not a {content.root}")
    except OSError:
        raise
    # Also what decoders outside of this package raise, and the lack of memory.
    except Exception as error:
        reason = str(error) or repr(error)
        message = f"{str(path)!r} cannot be loaded: {reason.rstrip('.')}.{written_by}"
        raise ModelFileError(message) from error
    return estimator


class Persistent:
    """Mixin: an estimator that saves itself, and a class that loads its own.

    Pickle and copy see the attributes as they are. Who asks for ``__getstate__`` itself, skops,
    gets them without torch, which it cannot store, and without what files leave out.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        if type(self).__getstate__ is not Persistent.__getstate__:
            return super().__reduce_ex__(protocol)
        return copyreg.__newobj__, (type(self),), vars(self).copy()  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        return encode_torch(kept_in_files(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(decode_torch(state))

    def save(self, path: str | os.PathLike[str], *, optimizer: bool = False) -> None:
        """Write the fitted estimator to a file that loads without running code.

        Parameters
        ----------
        path : str or path-like
            The file; one that is there is replaced in one step and keeps its mode.
        optimizer : bool, default=False
            Whether to write the state of the optimizer too, about twice the weights that are
            trained. Without it, training that goes on begins with a new optimizer.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it holds a loss, a callback or an estimator from elsewhere.
        ValueError
            If a parameter has a value that ``fit`` would refuse, or the path is that of a folder
            or a device.
        FileNotFoundError
            If the folder is not there.

        See Also
        --------
        sklearn_mlcl.load : The way back.
        """
        save(self, path, optimizer=optimizer)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, module: Any = None) -> Self:
        """Return the estimator in a file, which must be of this class.

        Parameters
        ----------
        path : str or path-like
            A file that :meth:`save` wrote.
        module : callable, default=None
            The module class of your own that it was fitted with, if it was.

        Returns
        -------
        estimator : estimator
            As it was saved.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        sklearn_mlcl.persistence.ModelFileError
            If the file has an estimator of another class, or needs ``module``. If it is damaged,
            has another format or a newer version of it, or has content that no estimator has.
        """
        return _loaded(path, cls, module)

    def _check_state(self) -> None:
        """Raise a ``ValueError`` unless what was fitted fits together; ``load`` asks."""
