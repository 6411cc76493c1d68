"""What is found out about a file before its rows are read, and which files are refused."""

import hashlib
import os
from pathlib import Path

import pytest

from backend.core.errors import LimitExceeded
from backend.ingestion.errors import (
    BrokenEnvelope,
    EmptyFile,
    FileRefused,
    NotText,
    SpreadsheetOrArchive,
    Undecodable,
    UnreadableFile,
    UnsupportedTransaction,
)
from backend.ingestion.files import CHUNK_BYTES, SAMPLE_BYTES, FileKind, inspect_file, sanitised_filename

LIMIT = 50_000_000
TEXT = "claim_id,payer,note\n1,Café Health,a\n2,Café Health,b\n"
SECRET = "MRN-99887766"


def inspect_bytes(tmp_path: Path, content: bytes, limit: int = LIMIT):
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    return inspect_file(path, max_bytes=limit)


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("cp1252", "cp1252"),
    ],
)
def test_encodings_are_recognised(tmp_path, codec, expected):
    profile = inspect_bytes(tmp_path, TEXT.encode(codec))

    assert profile.encoding == expected
    assert profile.header == ("claim_id", "payer", "note")
    assert profile.kind is FileKind.CSV
    assert profile.ends_with_newline


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_recognised_even_when_others_occur_more_often_in_the_rows(tmp_path, delimiter):
    decoys = "".join(other for other in ",;|" if other != delimiter) * 5
    rows = f"a{delimiter}b\n" + f'1{delimiter}"{decoys}"\n' * 4

    profile = inspect_bytes(tmp_path, rows.encode())

    assert profile.delimiter == delimiter
    assert profile.header == ("a", "b")


def test_size_and_hash_are_those_of_the_bytes(tmp_path):
    content = TEXT.encode() * 60_000
    seen: list[int] = []
    path = tmp_path / "file.csv"
    path.write_bytes(content)

    profile = inspect_file(path, max_bytes=LIMIT, progress=seen.append)

    assert profile.size == len(content) > 2 * CHUNK_BYTES
    assert profile.sha256 == hashlib.sha256(content).digest()
    assert seen == sorted(seen)
    assert seen[-1] == len(content)


def test_a_letter_cut_by_the_border_of_two_chunks_is_still_utf8(tmp_path):
    content = b"a,b\n" + b"x" * (SAMPLE_BYTES - 5) + "é".encode() + b"\n"

    profile = inspect_bytes(tmp_path, content)

    assert profile.encoding == "utf-8"


def test_a_late_cp1252_letter_makes_an_ascii_file_cp1252(tmp_path):
    content = b"a,b\n" + b"1,2\n" * SAMPLE_BYTES + b"caf\xe9,2\n"

    assert inspect_bytes(tmp_path, content).encoding == "cp1252"


def test_a_cp1252_letter_as_the_very_last_byte_is_read(tmp_path):
    assert inspect_bytes(tmp_path, b"a,b\n1,caf\xe9").encoding == "cp1252"


@pytest.mark.parametrize(
    ("content", "failure"),
    [
        pytest.param(b"", EmptyFile, id="empty"),
        pytest.param(b"\n\r\n  \n", EmptyFile, id="blank"),
        pytest.param(b"\xef\xbb\xbf", EmptyFile, id="only a byte order mark"),
        pytest.param(b"\xff\xfe", EmptyFile, id="only a UTF-16 mark"),
        pytest.param(b"\x00" * 50, NotText, id="zeros"),
        pytest.param(b"a,b\n1,2\x00\n", NotText, id="NUL in a row"),
        pytest.param(b"a,b\n" + b"1,2\n" * SAMPLE_BYTES + b"1,\x00\n", NotText, id="NUL beyond the sample"),
        pytest.param("a,b\n1,\0\n".encode("utf-16"), NotText, id="NUL in UTF-16"),
        pytest.param(bytes(range(1, 32)) * 40, NotText, id="control bytes"),
        pytest.param(b"PK\x03\x04" + b"x" * 90, SpreadsheetOrArchive, id="xlsx"),
        pytest.param(b"%PDF-1.7\n", SpreadsheetOrArchive, id="pdf"),
        pytest.param(b"a,b\n\x81\x8d,2\n", Undecodable, id="no CP1252 letter"),
        pytest.param("a,é\n".encode() + b"caf\xe9,2\n", Undecodable, id="mixed encodings"),
        pytest.param("a,é\n".encode() * SAMPLE_BYTES + b"caf\xe9,2\n", Undecodable, id="mixed beyond the sample"),
        pytest.param("a,b\n".encode("utf-16") + b"\x31", Undecodable, id="half a UTF-16 unit"),
        pytest.param(b"\xef\xbb\xbfa,b\n\xe9\n", Undecodable, id="mark of UTF-8, letters of CP1252"),
        pytest.param(b"ISA*00*no transaction~", BrokenEnvelope, id="ISA without ST"),
        pytest.param(b"ISA*00*x~GS*HC~ST*837*0001~", UnsupportedTransaction, id="837"),
    ],
)
def test_files_that_are_refused(tmp_path, content, failure):
    with pytest.raises(FileRefused) as refusal:
        inspect_bytes(tmp_path, content)

    assert type(refusal.value) is failure
    assert refusal.value.code == "BAD_USER_INPUT"
    assert refusal.value.rule.startswith("E9")
    assert "{" not in refusal.value.message


def test_the_first_bad_byte_is_named_by_its_position(tmp_path):
    prefix = "é,b\n".encode() * SAMPLE_BYTES

    with pytest.raises(Undecodable) as refusal:
        inspect_bytes(tmp_path, prefix + b"\xff\n")

    assert str(len(prefix) + 1) in refusal.value.message


def test_a_file_over_the_limit_is_refused_by_the_name_of_the_setting(tmp_path):
    with pytest.raises(LimitExceeded, match="DRIFTGRAPH_MAX_IMPORT_BYTES") as refusal:
        inspect_bytes(tmp_path, TEXT.encode(), limit=20)

    assert refusal.value.code == "BAD_USER_INPUT"


def test_a_file_that_is_at_the_limit_is_read(tmp_path):
    content = TEXT.encode()

    assert inspect_bytes(tmp_path, content, limit=len(content)).size == len(content)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing.csv", "nul\0byte"):
        with pytest.raises(UnreadableFile) as refusal:
            inspect_file(path, max_bytes=LIMIT)

        assert str(tmp_path) not in refusal.value.message


@pytest.mark.parametrize(
    ("error", "said"), [(PermissionError(13, SECRET), "permission denied"), (OSError(5, SECRET), "refused to open")]
)
def test_a_file_that_cannot_be_opened_says_why_without_the_text_of_the_error(tmp_path, monkeypatch, error, said):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr("backend.ingestion.files.os.open", refuse)

    with pytest.raises(UnreadableFile, match=said) as refusal:
        inspect_file(tmp_path / "x.csv", max_bytes=LIMIT)

    assert SECRET not in str(refusal.value)


def test_a_missing_last_line_end_is_noticed(tmp_path):
    assert not inspect_bytes(tmp_path, b"a,b\n1,2").ends_with_newline
    assert inspect_bytes(tmp_path, b"a,b\r1,2\r").ends_with_newline
    assert not inspect_bytes(tmp_path, "a,b\n1,2".encode("utf-16")).ends_with_newline


def test_a_csv_whose_first_column_is_called_isa_is_a_csv(tmp_path):
    assert inspect_bytes(tmp_path, b"ISA,payer\n1,2\n").kind is FileKind.CSV


def test_a_header_with_broken_quotes_falls_to_the_next_record(tmp_path):
    profile = inspect_bytes(tmp_path, b'"a"b,c\nx,y\n1,2\n')

    assert profile.header == ("x", "y")


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("Jane Doe 1970.CSV", ".csv"),
        ("../../etc/passwd", ""),
        ("C:\\reports\\Doe.835", ".835"),
        ("x.Smith John", ""),
        ("", ""),
        ("\ud800.csv", ".csv"),
    ],
)
def test_stored_file_names_are_a_hash_and_an_extension(name, extension):
    stored = sanitised_filename(name)

    digest, _, suffix = stored.partition(".")
    assert len(digest) == 16
    assert int(digest, 16) >= 0
    assert ("." + suffix if suffix else "") == extension


def test_equal_names_are_stored_alike_wherever_they_lie():
    assert sanitised_filename("/a/b/claims.csv") == sanitised_filename("claims.csv")
    assert sanitised_filename("claims.csv") != sanitised_filename("claims2.csv")
