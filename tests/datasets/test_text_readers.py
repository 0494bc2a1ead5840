"""load_arff and load_xc on small files written out here, round trips, and malformed lines."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_mlcl.datasets import DataFileError, load_arff, load_xc

DENSE = r"""% a comment
@RELATION 'toy set'

@attribute 'first \'one\'' NUMERIC
@attribute colour {red, 'dark, blue', green}
@attribute "is on" {FALSE, TRUE}
@attribute flag {1,0}
@attribute 'label a' {0,1}
@attribute b {0, 1}
@data
1.5, red, TRUE, 1, 0, 1
% between rows
-2e-1,'dark, blue',FALSE,0,1,?
?,?,TRUE,0,1,0
"""
SPARSE = """@relation s
@attribute f0 numeric
@attribute f1 {0,1}
@attribute kind {x,y}
@attribute l0 {0,1}
@attribute l1 {0,1}
@data
{0 2.5, 3 1}
{}
{1 1,2 'y', 4 1}
"""
XML = b"""<?xml version="1.0"?><labels xmlns="http://mulan.sourceforge.net/labels">
<label name="b"><label name="label a"></label></label></labels>"""
N = np.nan


def test_dense_file():
    bunch = load_arff(io.StringIO(DENSE), n_labels=2)
    assert bunch.relation == "toy set"
    assert bunch.feature_names == [
        "first 'one'", "colour=red", "colour=dark, blue", "colour=green", "is on", "flag",
    ]  # fmt: skip
    assert bunch.target_names == ["label a", "b"]
    assert_array_equal(
        bunch.data, [[1.5, 1, 0, 0, 1, 1], [-0.2, 0, 1, 0, 0, 0], [N, N, N, N, 1, 0]]
    )
    assert_array_equal(bunch.target, [[0, 1], [1, N], [1, 0]])


def test_string_attributes_must_be_dropped():
    text = "@relation r\n@attribute id string\n@attribute f real\n@attribute l {0,1}\n@data\n"
    text += "'a, b',1,1\nc,2,0\n"
    with pytest.raises(ValueError, match=r"line 2: attribute 'id' has the type 'string'"):
        load_arff(io.StringIO(text), n_labels=1)
    bunch = load_arff(io.StringIO(text), n_labels=1, drop_attributes=["id"])
    assert_array_equal(bunch.data, [[1], [2]])
    assert bunch.target.dtype == np.int64


def test_labels_by_name_and_by_xml_in_the_order_given(tmp_path):
    by_name = load_arff(io.StringIO(DENSE), labels=["b", "label a"])
    (tmp_path / "toy.xml").write_bytes(XML)
    (tmp_path / "toy.xml.gz").write_bytes(gzip.compress(XML))
    for xml in (io.BytesIO(XML), tmp_path / "toy.xml", tmp_path / "toy.xml.gz"):
        bunch = load_arff(io.StringIO(DENSE), xml=xml)
        assert bunch.target_names == by_name.target_names == ["b", "label a"]
        assert_array_equal(bunch.target, by_name.target)
        assert_array_equal(bunch.target, [[1, 0], [N, 1], [0, 1]])


@pytest.mark.parametrize(
    ("option", "arguments", "names"),
    [
        ("-C 1", {}, ["p"]),
        ("-C 1 -C 2: -C 3", {}, ["p"]),
        ("-c 1", {}, ["p"]),
        ("-C -2", {}, ["q", "r"]),
        ("-split-percentage 67 -C -1", {}, ["r"]),
        ("-C 1", {"n_labels": 1}, ["r"]),
        ("", {"n_labels": 2, "label_location": "start"}, ["p", "q"]),
    ],
)
def test_where_the_labels_are(option, arguments, names):
    text = f"@relation 'vitamin-C 3: {option} -split-percentage 67'\n"
    text += "".join(f"@attribute {name} {{0,1}}\n" for name in "pqr") + "@data\n0,1,0\n"
    assert load_arff(io.StringIO(text), **arguments).target_names == names


def test_sparse_file_is_csr_with_first_nominal_value_as_default():
    bunch = load_arff(io.StringIO(SPARSE), n_labels=2)
    assert isinstance(bunch.data, sp.csr_matrix) and isinstance(bunch.target, sp.csr_matrix)
    assert bunch.feature_names == ["f0", "f1", "kind=x", "kind=y"]
    assert_array_equal(bunch.data.toarray(), [[2.5, 0, 1, 0], [0, 0, 1, 0], [0, 1, 0, 1]])
    assert_array_equal(bunch.target.toarray(), [[1, 0], [0, 0], [0, 1]])
    assert bunch.target.dtype == np.int64


def test_sparse_label_declared_one_first():
    text = "@relation r\n@attribute f real\n@attribute l {1,0}\n@data\n{0 3}\n{1 0}\n"
    bunch = load_arff(io.StringIO(text), n_labels=1)
    assert_array_equal(bunch.target.toarray(), [[1], [0]])


@pytest.mark.parametrize(("end", "opener"), [("", open), (".gz", gzip.open), (".bz2", bz2.open)])
def test_paths_and_packed_files(tmp_path, end, opener):
    path = tmp_path / f"toy.arff{end}"
    with opener(path, "wb") as file:
        file.write(SPARSE.encode())
    assert load_arff(path, n_labels=2).data.shape == (3, 4)
    assert load_arff(str(path), n_labels=2).data.shape == (3, 4)


def test_binary_file_objects_stay_open():
    file = io.BytesIO(SPARSE.encode())
    assert load_arff(file, n_labels=2, as_frame=True).data.shape == (3, 4)
    assert not file.closed


HEAD = "@relation r\n@attribute f real\n@attribute l {0,1}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "line 3: the file ends before @data"),
        (HEAD + "@data{0 1}\n", "line 4: data must begin on the line after @data"),
        (HEAD + "@data\n1,0\n1\n", "line 6: 1 values for 2 attributes"),
        (HEAD + "@data\n1,0\n\n1,2\n", "line 7: attribute 'l' has the value '2', not one of"),
        (HEAD + "@data\nx,0\n", "line 5: attribute 'f' has the value 'x', not a number"),
        (HEAD + "@data\n'1,0\n", "line 5: cannot read .* quotation mark"),
        (HEAD + "@data\n{0 1} 1\n", "line 5: behind a row only its weight may stand"),
        (HEAD + "@data\n1,0,{5},{6}\n", "line 5: behind a row only its weight may stand"),
        (HEAD + "@data\n1,0,{x}\n", "line 5: attribute 'weight' has the value 'x', not a number"),
        (HEAD + "@data\n1_000,0\n", "line 5: attribute 'f' has the value '1_000', not a number"),
        (HEAD + "@data\n" + "1," * 20, "line 5: more than 9 values"),
        (
            HEAD + "@data\n{?? 1}\n",
            "line 5: the items of a sparse row must begin with an attribute",
        ),
        (HEAD + "@data\n{0 1, 2 1}\n", r"line 5: attribute numbers must differ and be in 0\.\.1"),
        (HEAD + "@data\n{0 1, 0 2}\n", "line 5: attribute numbers must differ"),
        (HEAD + "@data\n{0}\n", "line 5: the items of a sparse row"),
        (HEAD + "@data\n1,0,{2\n", "line 5: a brace is not closed"),
        (HEAD + "@attribute d date\n", "line 4: attribute 'd' has the type 'date'"),
        (HEAD + "@attribute r relational\n", "line 4: attribute 'r' is relational; tables inside"),
        (HEAD + "@attribute f real\n", "line 4: attribute 'f' is declared twice"),
        (HEAD.replace("{0,1}", "{a,a}"), "line 3: attribute 'l' must have values, and they"),
        (HEAD.replace("{0,1}", "{}"), "line 3: attribute 'l' must have values, and they"),
        ("@relation r\n@attribute\n", "line 2: an attribute must read"),
        ("@relation r\nhello\n", "line 2: expected @relation, @attribute or @data"),
    ],
)
def test_malformed_arff_names_the_line(text, message):
    with pytest.raises(DataFileError, match=f"^input, {message}") as caught:
        load_arff(io.StringIO(text), n_labels=1)
    error = pickle.loads(pickle.dumps(caught.value))
    assert f"input, line {error.line}: {error.reason}" == str(error) == str(caught.value)


PLAIN = HEAD + "@data\n1.5,1\n2,0\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{0,1}", "{0,1} % {no,yes}"),
        ("1.5,1", "1.5,1 % first"),
        ("l {", "l{"),
        ("@attribute f real", "@ATTRIBUTE\tf\treal\t[0,9]"),
        ("f real", "f integer"),
        ("1.5,1\n2,0", "1.5,1,\n2,0,"),
        ("1.5,1\n2,0", "1.5\t1\n2 0"),
        ("\n", "\r\n"),
        ("@relation", "\ufeff@relation"),
        ("1.5,1\n2,0", "{0 1.5, 1 1}\n{ 0\t'2' }"),
        ("1.5,1\n2,0", "{0 1.5, 1 1}\n2,0"),
        ("1.5,1\n2,0", "1.5,1\n{0 2}"),
        ("f real", "f real {3}"),
        ("{0,1}", "{0,1} {3}"),
        ("@attribute f real", "@attribute'f'real"),
        ("2,0", ",\0\n,2,0"),
        ("2,0", "2,0 {1}"),
    ],
)
def test_forms_that_weka_reads(old, new):
    file = io.BytesIO(PLAIN.replace(old, new).encode())
    X, Y = load_arff(file, n_labels=1, return_X_y=True)
    X, Y = (M.toarray() if sp.issparse(M) else M for M in (X, Y))
    assert_array_equal(X, [[1.5], [2]])
    assert_array_equal(Y, [[1], [0]])


@pytest.mark.parametrize("rows", ["1.5,1,{5}\n2,0\n", "{0 1.5, 1 1}, {5} % five\n{0 2}\n"])
def test_weights_of_rows(rows):
    bunch = load_arff(io.StringIO(HEAD + "@data\n" + rows), n_labels=1)
    assert bunch.data.sum() == 3.5
    assert_array_equal(bunch.sample_weight, [5, 1])
    assert "sample_weight" not in load_arff(io.StringIO(PLAIN), n_labels=1)


LATIN = PLAIN.replace("f real", "caf\xe9 real").encode("latin-1")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.arff", LATIN, "line 2: it is not utf-8; pass its encoding"),
        ("a.arff.gz", gzip.compress(PLAIN.encode(), mtime=0)[:-8], "line 6: Compressed file ended"),
        ("a.arff.gz", PLAIN.encode(), "line 1: Not a gzipped file"),
        ("a.arff.bz2", b"BZh9xxxxxxxxxx", "line 1: Invalid data stream"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataFileError, match=f"{name}, {message}"):
        load_arff(tmp_path / name, n_labels=1)


def test_errors_of_the_disk_stay_what_they_are(tmp_path):
    for path in (tmp_path, tmp_path / "absent.arff"):
        with pytest.raises(OSError, match="directory") as caught:
            load_arff(path, n_labels=1)
        assert not isinstance(caught.value, ValueError)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16"])
def test_encodings(encoding):
    content = LATIN.decode("latin-1").encode(encoding)
    bunch = load_arff(io.BytesIO(content), n_labels=1, encoding=encoding)
    assert bunch.feature_names == ["caf\xe9"]


def test_escapes_and_blanks_of_java():
    """Words end at a blank of ASCII only; a question mark is never a value."""
    text = "@relation r\n@attribute 'a\\tb\\101\\q' {\xa0x,?}\n@attribute l {0,1}\n@data\n?,1\n"
    bunch = load_arff(io.StringIO(text), n_labels=1)
    assert bunch.feature_names == ["a\tbAq=\xa0x", "a\tbAq=?"]
    assert_array_equal(bunch.data, [[N, N]])


@pytest.mark.parametrize("rows", ["1,a7\n0,?\n1,a0\n", "{0 1, 1 a7}\n{1 ?}\n{0 1}\n"])
def test_wide_nominal_features_are_csr(rows):
    values = ",".join(f"a{k}" for k in range(30))
    text = f"@relation 'r: -C 1'\n@attribute l {{0,1}}\n@attribute a {{{values}}}\n@data\n{rows}"
    bunch = load_arff(io.StringIO(text))
    assert isinstance(bunch.data, sp.csr_matrix)
    expected = np.zeros((3, 30))
    expected[0, 7], expected[1], expected[2, 0] = 1, N, 1
    assert_array_equal(bunch.data.toarray(), expected)
    assert sp.issparse(bunch.target) == rows.startswith("{")


def test_max_bytes(tmp_path):
    """Lines, rows, names and labels count; a number raises the limit, also that of packed files."""
    text = b"1 9 9\n" + b"0" * 200
    with pytest.raises(DataFileError, match=r"line 2: the line is longer than 100 characters.*max"):
        load_xc(io.BytesIO(text), max_bytes=3200)
    rows = io.StringIO("99 9 9\n" + "0 1:1\n" * 99)
    with pytest.raises(DataFileError, match=r"line 27: the data need more than 3200 bytes.*max_b"):
        load_xc(rows, max_bytes=3200)
    with pytest.raises(DataFileError, match="the data need more than 1000 bytes"):
        load_arff(io.StringIO(SPARSE), n_labels=2, max_bytes=1000)
    with pytest.raises(DataFileError, match="it is longer than 93 characters"):
        load_arff(io.StringIO(HEAD + "@data\n"), xml=io.BytesIO(XML), max_bytes=3000)
    (tmp_path / "set.txt.gz").write_bytes(gzip.compress(b"400000 9 9\n" + b"0 1:1\n" * 400_000))
    with pytest.raises(DataFileError, match=r"gz, line 19\d+: it unpacks to more than 200 times"):
        load_xc(tmp_path / "set.txt.gz")
    with pytest.raises(ValueError, match="max_bytes == 0, must be >= 1"):
        load_xc(rows, max_bytes=0)


def test_max_bytes_lets_larger_files_pass(tmp_path):
    (tmp_path / "set.arff.bz2").write_bytes(bz2.compress(f"{HEAD}@data\n".encode() + b"\n" * 2**18))
    with pytest.raises(DataFileError, match="200 times"):
        load_arff(tmp_path / "set.arff.bz2", n_labels=1)
    bunch = load_arff(tmp_path / "set.arff.bz2", n_labels=1, max_bytes=2**20)
    assert bunch.data.shape == bunch.target.shape == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "which attributes are labels"),
        ({"n_labels": 6}, r"n_labels must be in 1\.\.5"),
        ({"n_labels": 0}, r"n_labels must be in 1\.\.5"),
        ({"labels": ["b", "zz"]}, r"not: \['zz'\]"),
        ({"labels": ["b", "b"]}, "must differ"),
        ({"labels": ["colour"]}, "label 'colour' has the values"),
        ({"labels": ["first 'one'"]}, "entries other than 0, 1 and NaN"),
        ({"labels": ["b"], "n_labels": 1}, "only one of"),
        ({"n_labels": 1, "label_location": "middle"}, "label_location must be"),
        ({"n_labels": 1, "drop_attributes": ["zz"]}, r"not: \['zz'\]"),
        ({"xml": io.BytesIO(b"\n<labels>")}, "line 2: no element found"),
        ({"xml": io.BytesIO(b"<labels></labels>")}, "must hold elements"),
        ({"xml": io.BytesIO(b"<labels><label/></labels>")}, "got one without name"),
        ({"xml": io.BytesIO(b"<?xml version='1.0' encoding='foo'?>")}, "unknown encoding: foo"),
        ({"xml": io.BytesIO(b"<!DOCTYPE l><l/>")}, "declares a document type"),
        ({"xml": io.BytesIO(b"<a>" * 101)}, "nested more than 100 deep"),
        ({"encoding": "klingon"}, "encoding must be"),
        ({"encoding": "zlib"}, "encoding must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_arff(io.StringIO(DENSE), **arguments)


def test_neither_path_nor_file():
    with pytest.raises(TypeError, match="path or a file object, got int"):
        load_arff(5, n_labels=1)


def write_xc(X, Y):
    lines = [f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}"]
    for x, y in zip(X, Y, strict=True):
        labels = ",".join(map(str, np.flatnonzero(y)))
        features = " ".join(f"{j}:{x[j]!r}" for j in np.flatnonzero(x)[::-1])
        lines.append(f"{labels} {features}")
    return "\n".join(lines) + "\n"


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**16))
def test_xc_round_trip(n, d, L, seed):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(n, d)) * (rng.uniform(size=(n, d)) < 0.5)).tolist()
    X, Y = np.array(X, dtype=object), (rng.uniform(size=(n, L)) < 0.4).astype(int)
    A, B = load_xc(io.StringIO(write_xc(X, Y)))
    assert isinstance(A, sp.csr_matrix) and isinstance(B, sp.csr_matrix)
    assert A.has_sorted_indices and A.dtype == np.float64 and B.dtype == np.int64
    assert_array_equal(A.toarray(), X.astype(float))
    assert_array_equal(B.toarray(), Y)


def test_xc_paths_dtype_and_rows_without_labels(tmp_path):
    path = tmp_path / "set.txt.gz"
    with gzip.open(path, "wt") as file:
        file.write("\ufeff4 3 2\n0:1 2:2\n 1:1\n1\n\n")
    X, Y = load_xc(path, dtype=np.float32)
    assert X.dtype == np.float32
    assert_array_equal(X.toarray(), [[1, 0, 2], [0, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert_array_equal(Y.toarray(), [[0, 0], [0, 0], [0, 1], [0, 0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must be"),
        ("2 3\n", "line 1: the header must be"),
        ("1 2 1" + 30 * "0" + "\n0 1:1\n", "line 1: the numbers of the header must be at most"),
        ("1 3 2\n0 1:x\n", "line 2: could not convert"),
        ("2 3 2\n0 1:1\n0,a 1:1\n", "line 3: invalid literal"),
        ("1 3 2\n2 1:1\n", r"line 2: label numbers must be in 0\.\.1, got 2"),
        ("1 3 2\n0 3:1\n", r"line 2: feature numbers must be in 0\.\.2"),
        ("1 3 2\n0,0 1:1\n", "line 2: label numbers occur twice"),
        ("1 3 2\n0 1:1 1:2\n", "line 2: feature numbers occur twice"),
        ("1 3 2\n0 1\n", "line 2: features must be written as"),
        ("1 3 2\n0 1:1_0\n", "line 2: numbers must be written without underscores"),
        ("1 3 2\n0 1:1e300\n", "overflow encountered in cast"),
        ("2 3 2\n0 1:1\n", "has 1 rows; its header says 2"),
        ("1 3 2\n0 1:1\n1 1:1\n", "line 3: it has more rows than the 1 of its"),
    ],
)
def test_malformed_xc(text, message):
    with pytest.raises(DataFileError, match=message):
        load_xc(io.StringIO(text), dtype=np.float32)


def test_xc_dtype_is_of_real_numbers():
    with pytest.raises(ValueError, match="dtype must be a type of real numbers, got object"):
        load_xc(io.StringIO(""), dtype=object)
