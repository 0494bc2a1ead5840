"""The multi-label classics by name, from a local folder or from OpenML."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.utils import Bunch

from sklearn_mlcl.datasets._base import as_indicator, check_subset, make_bunch
from sklearn_mlcl.datasets._npz import DATA_ENV, local_data_home, read_npz
from sklearn_mlcl.model_selection import MultilabelStratifiedShuffleSplit
from sklearn_mlcl.utils.parameters import check_arguments

OPENML_SETS = {"emotions": 40589, "reuters": 40594, "scene": 40595, "yeast": 40597}
SPLIT_MADE = "made by fetch_multilabel: iterative stratification, one third test samples, seed 0"


def _read_openml(name: str, data_home: str | PathLike[str] | None) -> Bunch:
    """One of `OPENML_SETS`, without a split: OpenML keeps none for these sets."""
    data_id = OPENML_SETS[name]
    home = None if data_home is None else str(data_home)
    # The default parser, pandas, reads TRUE and FALSE as booleans and then fails on them.
    fetched = fetch_openml(data_id=data_id, as_frame=False, data_home=home, parser="liac-arff")
    try:
        if np.ndim(fetched.target) != 2:
            raise ValueError(f"one target column, {fetched.target_names}, instead of several")
        target = as_indicator(fetched.target)
    except ValueError as error:
        raise ValueError(
            f"OpenML data set {data_id} ({name}) came in another form: {error}."
        ) from error
    return Bunch(
        data=fetched.data.astype(np.float32),
        target=target,
        feature_names=list(fetched.feature_names),
        target_names=list(fetched.target_names),
        DESCR=str(fetched.DESCR),
        url=f"https://www.openml.org/d/{data_id}",
    )


def _from_openml(name: str, data_home: Any, home: Path | None, download: bool) -> Bunch:
    where = f"{home} (which holds no such file)" if home else f"data_home or ${DATA_ENV}"
    ways = (
        f"Either put {name}.npz (format: see load_npz) into a folder and name that folder by "
        f"data_home or the environment variable {DATA_ENV}, or use a set that OpenML has: "
        f"{', '.join(sorted(OPENML_SETS))}. Looked in: {where}."
    )
    if name not in OPENML_SETS:
        raise ValueError(f"No data set has the name {name!r}. {ways}")
    if not download:
        raise OSError(f"There is no file of {name}, and download_if_missing is False. {ways}")
    try:
        return _read_openml(name, data_home)
    except OSError as error:
        raise OSError(f"OpenML could not be read ({error}). {ways}") from error


def fetch_multilabel(
    name: str,
    *,
    data_home: str | PathLike[str] | None = None,
    subset: str = "all",
    return_X_y: bool = False,
    as_frame: bool = False,
    download_if_missing: bool = True,
) -> Any:
    """Load a multi-label set by name.

    A local file ``<name>.npz`` comes first, with the split it holds. Without one, the sets
    emotions, reuters, scene and yeast are downloaded from OpenML (and cached) by
    :func:`sklearn.datasets.fetch_openml`. OpenML has no split of them, so one is made here:
    iterative stratification, one third of the samples for testing, always the same. Figures on it
    do not compare with those on the published splits.

    Parameters
    ----------
    name : str
        Name of the set, for instance ``"yeast"``.
    data_home : str or path-like, default=None
        Folder of local ``.npz`` files, also the cache folder of downloads. If None, the
        environment variable ``SKLEARN_MLCL_DATA`` names the former, and downloads are cached
        where scikit-learn keeps them.
    subset : {"all", "train", "validation", "test"}, default="all"
        Which samples to return.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    as_frame : bool, default=False
        Return data and target as DataFrames, with sparse columns for a sparse matrix; the index
        is the number of the sample in the whole set.
    download_if_missing : bool, default=True
        If False, never go to OpenML.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        With these attributes.

        data : ndarray or CSR matrix of shape (n, d)
            float32 from OpenML, else as stored.
        target : ndarray or CSR matrix of shape (n, L), int64
            float64 if the file has missing entries (NaN).
        feature_names, target_names : list of str
            Names of the columns.
        train_idx, test_idx, val_idx : ndarray of int64
            Sample numbers of the split (val_idx if there is one); only for ``subset="all"``.
        split : str
            Where the split comes from.
        DESCR : str
            Name, origin and split.
    (data, target) : tuple if `return_X_y`
        These two alone.

    Raises
    ------
    ValueError
        If the name is neither a local file nor a listed OpenML set, or the set has no such
        subset.
    DataFileError
        If the local file is damaged or too large, see :func:`load_npz`.
    OSError
        If the download fails, or would be needed with ``download_if_missing=False``.

    See Also
    --------
    make_multilabel_digits : A multi-label set that needs no file and no network.
    load_npz : The format of the local files.

    Examples
    --------
    >>> from sklearn_mlcl.datasets import fetch_multilabel
    >>> X, Y = fetch_multilabel("yeast", return_X_y=True)  # doctest: +SKIP
    >>> X.shape, Y.shape  # doctest: +SKIP
    ((2417, 103), (2417, 14))
    """
    if not isinstance(name, str) or not name or name != Path(name).name:
        raise ValueError(f"name must be the plain name of a set such as 'yeast', got {name!r}.")
    check_arguments(
        "fetch_multilabel",
        data_home=(data_home, str, PathLike, None),
        download_if_missing=(download_if_missing, "boolean"),
    )
    check_subset(subset)
    home = local_data_home(data_home)
    if home is not None and (home / f"{name}.npz").is_file():
        bunch = read_npz(home / f"{name}.npz")
        bunch.DESCR = f"{name}, from the file {name}.npz."
        bunch.split = "as stored in the file"
    else:
        bunch = _from_openml(name, data_home, home, download_if_missing)
    if "train_idx" not in bunch:
        splitter = MultilabelStratifiedShuffleSplit(1, test_size=1 / 3, random_state=0)
        bunch.train_idx, bunch.test_idx = next(splitter.split(bunch.data, bunch.target))
        bunch.split = SPLIT_MADE
    bunch.name = name
    bunch.DESCR += f"\n\nSplit: {bunch.split}."
    return make_bunch(bunch, subset=subset, return_X_y=return_X_y, as_frame=as_frame)
