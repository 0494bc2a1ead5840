"""The state of a fit that runs, in a file, and the way on from there once the process has died."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass
from hashlib import sha256
from importlib.metadata import version
from itertools import count
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import scipy
import sklearn
import torch

from sklearn_mlcl._version import __version__
from sklearn_mlcl.persistence._files import claimed, remove_whole
from sklearn_mlcl.persistence._format import Content, ModelFileError, read_file, write_file
from sklearn_mlcl.persistence._objects import decode, encode
from sklearn_mlcl.utils.runtime import thread_count

#: What the files of states are, in the place where those of estimators name a class.
ROOT, SUFFIX = "fit", ".fit"
#: With ``every="auto"`` the time between two files is this multiple of the time that one takes.
PAUSE = 9.0
RESUMES = ("auto", "always", "never")


@dataclass(frozen=True)
class FitCheckpoint:
    """Where and how often a fit keeps its state while it runs, and whether it continues from one.

    The name of a folder, as in ``checkpoint="states"``, means the defaults.

    Each fit has its own file in the folder, named by the class, the parameters and the data. The
    clones of a search can therefore share a folder. The file is replaced in one step and removed
    when the fit ends. If the process dies, the same call continues from the file. The result equals
    that of an undisturbed fit, bit for bit. This holds on the CPU of the same machine, with the
    same versions and number of threads.

    Parameters
    ----------
    folder : str or path-like
        The folder. It is made if there is none.
    every : int or "auto", default="auto"
        Epochs from one state to the next. "auto" spends about a tenth of the time of training on
        them, and keeps the first.
    resume : {"auto", "always", "never"}, default="auto"
        "auto" goes on from the state of this very fit if there is one, else begins anew. "always"
        raises if there is none, and says what differs from the one that is there. "never" begins
        anew.

    Raises
    ------
    ValueError
        If an argument has another value than those.

    See Also
    --------
    sklearn_mlcl.save : Keep a fitted estimator.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn_mlcl import MultiLabelMLPClassifier
    >>> from sklearn_mlcl.persistence import FitCheckpoint
    >>> X, Y = make_multilabel_classification(random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clf = MultiLabelMLPClassifier(
    ...         max_epochs=3, checkpoint=FitCheckpoint(folder, every=1)
    ...     )
    ...     clf = clf.fit(X, Y)
    ...     os.listdir(folder)
    []
    """

    folder: str | os.PathLike[str]
    _: KW_ONLY
    every: int | str = "auto"
    resume: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike) or not os.fspath(self.folder):
            raise ValueError(f"folder must be the name of a folder, got {self.folder!r}.")
        number = isinstance(self.every, Integral) and not isinstance(self.every, bool)
        if not (self.every == "auto" or (number and self.every >= 1)):  # type: ignore[operator]
            raise ValueError(f"every must be 'auto' or an integer of at least 1: {self.every!r}.")
        if self.resume not in RESUMES:
            raise ValueError(f"resume must be one of {RESUMES}, got {self.resume!r}.")


class Trained(Protocol):
    """A net whose state is kept."""

    def training_state(self, can_keep: Callable[[str, Any], bool]) -> dict[str, Any]:
        """Return all that the training goes on from; values that a file can keep."""


class Trait(NamedTuple):
    """One of the things that make a fit the one it is.

    Attributes
    ----------
    digest : str
        Equal for equal values.
    text : str
        What messages show.
    """

    digest: str
    text: str


class KeptFit:
    """The file of a fit, from its beginning to its end; it does nothing before :meth:`begin`.

    Parameters
    ----------
    checkpoint : FitCheckpoint, str or path-like or None
        The parameter of the estimator; None keeps nothing.

    Attributes
    ----------
    state : dict or None
        What a net returned as its ``training_state``; None at the beginning.
    is_last : bool
        Whether the training had ended when the state was kept.
    """

    def __init__(self, checkpoint: Any) -> None:
        if not isinstance(checkpoint, FitCheckpoint | None):
            checkpoint = FitCheckpoint(checkpoint)
        self.settings: FitCheckpoint | None = checkpoint
        self.state: dict[str, Any] | None = None
        self.is_last = False
        self._path: Path | None = None
        self._known: dict[str, Any] = {}
        self._drawn: dict[str, Any] = {}
        self._not_before = 0.0
        self._last_kept = "none"
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        self._claims = ExitStack()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with self._claims:
            # What has diverged would diverge again.
            done = error is None or isinstance(error, FloatingPointError)
            if self._path is not None and done:
                with _said(self._path, "could not be removed"):
                    remove_whole(self._path)

    def begin(self, traits: Mapping[str, Trait], n_processes: int = 1) -> None:
        """Find the state of this fit.

        Parameters
        ----------
        traits : dict of str to Trait
            What tells this fit from others.
        n_processes : int
            Processes that share it.

        Raises
        ------
        OSError
            If the folder cannot be made or written to.
        ModelFileError
            If the file is damaged.
        ValueError
            If the state is one of other versions, threads or hardware; or there is none and
            ``resume="always"``.
        """
        assert self.settings is not None
        folder = Path(self.settings.folder)
        with _said(folder, "is no folder that can be written to"):
            folder.mkdir(parents=True, exist_ok=True)
            self._path = self._claimed(folder, traits)
        here = _here() | {"processes": str(n_processes)}
        self._known = {"traits": _plain(traits), "here": here, "drawn": self._drawn}
        if self.settings.resume == "never":
            remove_whole(self._path)
        elif self._path.exists():
            self._read(self._path)
        elif self.settings.resume == "always":
            raise ValueError(_nothing_to_resume(folder, traits))

    def drawn(self, name: str, value: Any) -> Any:
        """Return what was drawn at random when the fit began; the value where it begins now."""
        found = self._drawn.setdefault(name, value)
        if type(found) is not type(value):
            raise ValueError(
                f"checkpoint: the state that was kept has {name} as {type(found).__name__}, "
                f"expected {type(value).__name__}."
            )
        return found

    def _claimed(self, folder: Path, traits: Mapping[str, Trait]) -> Path:
        """Return a name that no other fit works on, one with a state if there is one.

        Fits that are alike in all run side by side under names with a number.
        """
        text = "\0".join(f"{name}={trait.digest}" for name, trait in sorted(traits.items()))
        name = f"{traits['class'].text}-{sha256(text.encode()).hexdigest()[:20]}"
        there = sorted(folder.glob(f"{name}.*{SUFFIX}"))
        free = (folder / f"{name}.{number}{SUFFIX}" for number in count())
        for paths in (there, free):
            for path in paths:
                if self._claims.enter_context(claimed(path)):
                    return path
        raise AssertionError("numbers do not end")

    def _read(self, path: Path) -> None:
        try:
            content = read_file(path)
            if content.root != ROOT:
                raise ValueError(f"it holds {content.root!r}, not the state of a fit")
            kept = decode(content.tree, content.arrays)
            here, there = self._known["here"], dict(kept["here"])
            state, is_last, drawn = dict(kept["state"]), kept["is last"], dict(kept["drawn"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelFileError(
                f"checkpoint: the state in {str(path)!r} cannot be read: {error}. Remove the file "
                "to begin anew."
            ) from error
        other = [f"{n} {there.get(n)} (here {here[n]})" for n in here if there.get(n) != here[n]]
        if other:
            raise ValueError(
                f"checkpoint: the state in {str(path)!r} was kept with {', '.join(other)}: a fit "
                "that continues from it would have another result. Restore that, or start a new "
                "fit with checkpoint=FitCheckpoint(..., resume='never')."
            )
        self.state, self.is_last = state, is_last
        self._drawn.update(drawn)

    def keep(self, net: Trained, epoch: int, is_last: bool) -> None:
        """Write the state of a net after an epoch, if it is time to."""
        if self._path is None or self.settings is None:
            return
        every = self.settings.every
        due = time.monotonic() >= self._not_before if every == "auto" else epoch % int(every) == 0
        if not (due or is_last):
            return
        start = time.monotonic()
        kept = {**self._known, "is last": is_last, "state": net.training_state(self._can_keep)}
        try:
            content = Content(ROOT, *encode(kept, "the fit"))
        except TypeError as error:
            what = str(error).partition(", which")[0]
            raise TypeError(f"checkpoint: no file can keep this fit: {what}.") from error
        with _said(self._path, f"could not take epoch {epoch} (last kept: {self._last_kept})"):
            write_file(self._path, content)
        end = time.monotonic()
        self._not_before = end + PAUSE * (end - start)
        self._last_kept = f"epoch {epoch}"

    def _can_keep(self, name: str, value: Any) -> bool:
        """Whether files hold an attribute of a callback; of one that they do not, warn once."""
        try:
            encode(value, name)
        except TypeError:
            if name not in self._warned:
                self._warned.add(name)
                warnings.warn(
                    f"checkpoint= does not keep {name}, {type(value).__name__}: a fit that "
                    "continues loses its value. Define state_dict and load_state_dict in the "
                    "callback.",
                    UserWarning,
                    stacklevel=2,
                )
            return False
        return True


@contextmanager
def _said(path: Path, what: str) -> Iterator[None]:
    """Let an error of the disk name the parameter and the file; it keeps its class."""
    try:
        yield
    except OSError as error:
        message = f"checkpoint: {str(path)!r} {what}: {error.strerror or error}"
        raise OSError(error.errno, message) from error


def _plain(traits: Mapping[str, Trait]) -> dict[str, tuple[str, str]]:
    return {name: (trait.digest, trait.text) for name, trait in traits.items()}


def _here() -> dict[str, str]:
    """Return what a fit needs to end as it began, beside its arguments."""
    return {
        "sklearn_mlcl": __version__,
        "torch": str(torch.__version__),
        "NumPy": np.__version__,
        "SciPy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "skorch": version("skorch"),
        "Python": platform.python_version(),
        "threads": str(thread_count()),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "GPUs": str(torch.cuda.device_count()),
    }


def _nothing_to_resume(folder: Path, traits: Mapping[str, Trait]) -> str:
    """Say that there is no state of a fit, and what differs from the one that is most like it."""
    start = f"checkpoint: {str(folder)!r} has no state of this fit, and resume='always'"
    differences = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            content = read_file(path)
            there = decode(content.tree, content.arrays)["traits"]
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # damaged: it is none of this fit either way
        other = [
            f"{name} {there[name][1] if name in there else 'absent'} (here {trait.text})"
            for name, trait in traits.items()
            if name not in there or there[name][0] != trait.digest
        ]
        differences.append((len(other), path.name, other))
    if not differences:
        return f"{start}. It has no other state either."
    _, name, other = min(differences)
    return f"{start}. Of {name!r} there differs: {', '.join(other)}."
