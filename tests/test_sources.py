"""Files that are read, and files that are refused: each with its exact message."""

from __future__ import annotations

import csv
import gzip
import io
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from syncengine.errors import RowRefusedError, SourceError
from syncengine.sections import SourceSettings
from syncengine.sources import Row, Source, open_source

fixed = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Opener = Callable[..., Source]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Write bytes to a file and open it as a source."""

    def open_it(content: bytes, name: str = "m.csv", key: str = "id", **options: str) -> Source:
        path = tmp_path / name
        path.write_bytes(content)
        return open_source(SourceSettings.model_validate({"path": str(path), "key": key, **options}))

    return open_it


def rows(source: Source) -> list[tuple[int, Row]]:
    return list(source.rows())


def refusal(opened: Opener, content: bytes, name: str = "m.csv", **options: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        rows(opened(content, name, **options))
    return caught.value


def message(error: SourceError) -> str:
    """Return the message with the folder left out."""
    return str(error).replace(str(Path(error.path).parent) + "/", "")


# --- what is read


def test_rows_come_with_the_line_they_start_on(opened: Opener) -> None:
    source = opened(b'id,text\r\n1,"a\r\nb"\r\n\r\n2,"c\nd\ne"\n3,f')
    assert source.columns == ("id", "text")
    assert rows(source) == [(2, ["1", "a\r\nb"]), (5, ["2", "c\nd\ne"]), (8, ["3", "f"])]
    assert rows(source) == rows(source)


def test_blank_lines_are_skipped_and_counted(opened: Opener) -> None:
    source = opened(b"\n \nid,text\n\n\t\n1,a\n\n\n")
    assert rows(source) == [(6, ["1", "a"])]


def test_rows_keep_their_own_number_of_cells(opened: Opener) -> None:
    assert rows(opened(b"id,a\n1\n2,b,c\n")) == [(2, ["1"]), (3, ["2", "b", "c"])]


def test_a_file_with_a_header_only_has_no_rows(opened: Opener) -> None:
    assert rows(opened(b"id,a\n")) == []


def test_header_names_are_trimmed_and_composed_and_lose_the_byte_order_mark(opened: Opener) -> None:
    source = opened("\ufeff id ,Pre\u0301nom\n1,\u0301a\n".encode())
    assert source.columns == ("id", "Prénom")
    assert source.encoding == "utf-8"
    assert opened('\ufeff"id","a"\n'.encode()).columns == ("id", "a")
    assert opened('\ufeff"id","a"\n'.encode("utf-16-le"), encoding="utf-16-le").columns == ("id", "a")


def test_header_names_are_data_and_may_hold_anything(opened: Opener) -> None:
    assert opened(b'id,"evil""] x","a\nb"\n').columns == ("id", 'evil"] x', "a\nb")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_under_which_the_header_holds_the_key(
    opened: Opener, delimiter: str
) -> None:
    others = "".join({",", ";", "|"} - {delimiter})
    source = opened(f'"a{others * 5}b"{delimiter}id\n1{delimiter}2\n'.encode())
    assert source.delimiter == delimiter
    assert rows(source) == [(2, ["1", "2"])]


def test_one_column_needs_no_delimiter(opened: Opener) -> None:
    assert rows(opened(b"id\n1\n2\n")) == [(2, ["1"]), (3, ["2"])]


def test_tsv_means_tabs_and_a_configured_delimiter_counts_more(opened: Opener) -> None:
    assert opened(b"id\ta\n", "m.tsv").delimiter == "\t"
    assert opened(b"id;a\n", "m.tsv", delimiter=";").delimiter == ";"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("m.csv", b"id\n", "csv"),
        ("m.TSV", b"id\n", "tsv"),
        ("m.jsonl", b"{}\n", "jsonl"),
        ("m.ndjson", b"{}\n", "jsonl"),
        ("export", b"id,a\n", "csv"),
        ("export", b' {"id": 1}\n', "jsonl"),
    ],
)
def test_the_format_is_told_by_the_name_then_by_the_content(
    opened: Opener, name: str, content: bytes, expected: str
) -> None:
    assert opened(content, name).format == expected
    packed = opened(gzip.compress(content), f"{name}.gz")
    assert packed.format == expected


def test_gzip_is_known_by_its_content_whatever_the_name(opened: Opener) -> None:
    assert rows(opened(gzip.compress(b"id,a\n1,2\n"))) == [(2, ["1", "2"])]


# --- encodings


def test_text_that_is_not_utf8_at_all_is_cp1252(opened: Opener) -> None:
    source = opened("id,a\n1,Dupré €\n".encode("cp1252"))
    assert source.encoding == "cp1252"
    assert rows(source) == [(2, ["1", "Dupré €"])]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8", "latin-1", "cp1252"])
def test_a_configured_encoding_is_used(opened: Opener, encoding: str) -> None:
    source = opened("id,a\n1,é\n".encode(encoding), encoding=encoding)
    assert rows(source) == [(2, ["1", "é"])]


def test_mixed_encodings_are_refused_with_the_first_bad_line(opened: Opener) -> None:
    content = "id,a\n1,é\n".encode() + b'2,"x\r\ny"\r\n3,\xe9\n4,\xe9\n'
    assert message(refusal(opened, content)) == (
        "m.csv, line 5: mixed encodings: UTF-8 elsewhere, but not here; "
        "repair this line, or set [source] encoding"
    )


def test_mixed_encodings_are_found_across_blocks(opened: Opener) -> None:
    start = b"id,a\n1,".ljust((1 << 20) - 1, b"x")
    content = start + "é".encode() + b"\n"
    assert content[: 1 << 20].endswith(b"\xc3")
    assert opened(content).encoding == "utf-8"
    error = refusal(opened, content + b"2,\xe9\n")
    assert (error.line, error.message.partition(":")[0]) == (3, "mixed encodings")
    error = refusal(opened, b"id,\xe9\n1," + content[7:])
    assert (error.line, error.message.partition(":")[0]) == (1, "mixed encodings")


def test_bytes_that_no_encoding_explains_are_refused(opened: Opener) -> None:
    assert message(refusal(opened, b"id,a\n1,\xe9\n2,\x81\n")) == (
        "m.csv, line 3: is neither UTF-8 nor cp1252 text; set [source] encoding to the one it was saved in"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_utf16_is_refused_with_the_setting_that_reads_it(opened: Opener, encoding: str) -> None:
    assert message(refusal(opened, "id,a\n".encode(encoding))) == (
        f'm.csv: is {encoding.upper()} text; set [source] encoding = "{encoding}", or save it as UTF-8'
    )


def test_utf16_without_its_mark_is_refused(opened: Opener) -> None:
    content = "id,a\n".encode("utf-16-le")
    assert message(refusal(opened, content)) == (
        'm.csv, line 1: holds NUL bytes; it is probably UTF-16: set [source] encoding = "utf-16-le"'
    )
    assert message(refusal(opened, content, encoding="utf-16")) == (
        'm.csv: has no byte order mark; set [source] encoding = "utf-16-le" or "utf-16-be"'
    )


def test_a_configured_encoding_that_does_not_fit_is_refused(opened: Opener) -> None:
    assert message(refusal(opened, b"id,a\r\n1,b\r\n2,\xe9\r\n", encoding="utf-8")) == (
        "m.csv, line 3: is not utf-8 text here; set [source] encoding to the one it was saved in, "
        "or leave it out to have it detected"
    )


def test_nul_in_a_cell_is_left_to_the_row(opened: Opener) -> None:
    assert rows(opened(b"id,a\n1,x\0y\n")) == [(2, ["1", "x\0y"])]


# --- files that are refused


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "m.csv: is empty; export it again"),
        (gzip.compress(b""), "m.csv: is empty; export it again"),
        (b"\n \n\r\n", "m.csv: has no header: every line is blank"),
        (
            b"id,mail,id\n",
            "m.csv, line 1: the header names 'id' twice (columns 1 and 3); rename one",
        ),
        (b"id,, b\n", "m.csv, line 1: column 2 has no name in the header; name it or remove it"),
        (
            b"i d,a\n1,2\n",
            (
                "m.csv, line 1: the header has no column 'id'; did you mean 'i d'?; "
                "set [source] key to the column that identifies a person, or add the header line"
            ),
        ),
        (
            b"Ann,Ann,Lee\n",
            (
                "m.csv, line 1: the header has no column 'id'; "
                "set [source] key to the column that identifies a person, or add the header line"
            ),
        ),
        (
            b'id,a\n1,x\n2,"y\n3,z\n4,w\n',
            "m.csv, line 3: a quote opened in this row is never closed; close it, or double it",
        ),
        (
            b'id,a\n1,"x\n2,"y"\n',
            'm.csv, line 2: text follows a closing quote in this row; write quotes inside a cell twice ("")',
        ),
        (
            b'id,a\n1,x\n2,"' + b"y,\n" * 400_000,
            (
                "m.csv, line 3: a cell is longer than 1,048,576 characters; "
                "a quote opened in this row is probably never closed: close it, or double it"
            ),
        ),
        (
            b"id,a\n1,x\n2," + b"y," * (2 << 20),
            (
                "m.csv, line 3: this row is longer than 4,194,304 characters; "
                "is a line break or a quote missing?"
            ),
        ),
        (
            b"id" + b",x" * (2 << 20),
            (
                "m.csv, line 1: this row is longer than 4,194,304 characters; "
                "is a line break or a quote missing?"
            ),
        ),
        (b"PK\x03\x04abc", "m.csv: is a spreadsheet or a ZIP file, not text; save the sheet as CSV"),
        (
            gzip.compress(b"id,a\n" + os.urandom(5000).hex().encode())[:-400],
            "m.csv: is cut off: its gzip data has no end; copy it again",
        ),
        (
            gzip.compress(b"id,a\n1,2\n")[:-8] + b"\0" * 8,
            "m.csv: holds damaged gzip data; copy it again",
        ),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:40],
)
def test_a_broken_file_is_refused_as_a_whole(opened: Opener, content: bytes, expected: str) -> None:
    assert message(refusal(opened, content)) == expected


def test_a_name_ending_in_gz_without_gzip_data_is_refused(opened: Opener) -> None:
    assert message(refusal(opened, b"id\n", "m.csv.gz")) == (
        "m.csv.gz: is named .gz but holds no gzip data; rename it or compress it"
    )


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(SourceError) as caught:
            open_source(SourceSettings(path=path, key="id"))
        return message(caught.value)

    assert refused(tmp_path / "none.csv") == "none.csv: there is no such file; check [source] path"
    assert refused(tmp_path).endswith(": is a directory; [source] path must name a file")
    os.mkfifo(tmp_path / "pipe.csv")
    assert refused(tmp_path / "pipe.csv") == (
        "pipe.csv: is no regular file; write its content into a file first"
    )


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b"id\n")
    path.chmod(0)
    owner = os.geteuid()
    if owner == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(SourceError) as caught:
            open_source(SourceSettings(path=path, key="id"))
    finally:
        os.seteuid(owner)
    assert message(caught.value) == (
        "m.csv: may not be read: permission denied; give this user the right to read it"
    )


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_file_that_changes_while_it_is_read_is_refused(opened: Opener, tmp_path: Path, when: str) -> None:
    source = opened(b"id,a\n" + b"1,2\n" * 10)
    stream = source.rows()
    if when == "during":
        next(stream)
    with (tmp_path / "m.csv").open("ab") as file:
        file.write(b"3,4\n")
    with pytest.raises(SourceError) as caught:
        list(stream)
    assert message(caught.value) == (
        "m.csv: changed while it was being read; let the program that writes it finish, then load again"
    )


def test_no_message_holds_a_cell(opened: Opener) -> None:
    secret = b"Zebedee"
    for content in (
        b'id,a\n1,"' + secret + b"\n",
        b'id,a\n1,"' + secret + b'"' + secret + b"\n",
        b"id,a\n1,\xe9" + secret + b"\x81\n",
        secret + b",b\n",
    ):
        assert "Zebedee" not in str(refusal(opened, content))


def test_a_huge_line_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"id,a\n1,")
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="this row is longer than"):
            rows(open_source(SourceSettings(path=path, key="id")))
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


# --- whatever the bytes are


pieces = st.lists(
    st.one_of(
        st.sampled_from([b"id", b",", b";", b'"', b"\n", b"\r\n", b"\r", b"\0", b"\xef\xbb\xbf", b"\xe9"]),
        st.sampled_from(["é".encode(), b"\x1f\x8b", b'{"id": 1}', b"[", b"{", b"NaN", b"\xff\xfe", b"1e400"]),
        st.binary(max_size=8),
    ),
    max_size=25,
).map(b"".join)


@settings(fixed, max_examples=300)
@given(pieces, st.booleans(), st.sampled_from(["m.csv", "m.tsv", "m.jsonl", "m"]))
@example(b"id,a\n", False, "m.csv")
def test_any_bytes_give_rows_or_a_refusal(opened: Opener, content: bytes, headed: bool, name: str) -> None:
    if headed:
        content = b"id,name\n" + content
    try:
        for line, row in opened(content, name).rows():
            assert line >= 1
            assert isinstance(row, list | dict | RowRefusedError)
    except SourceError as error:
        place = error.path
    else:
        place = name
    assert place.endswith(name)


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=12)


@settings(fixed, max_examples=200)
@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), max_size=12),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_writes_is_read_back_with_the_right_lines(
    opened: Opener, table: list[list[str]], delimiter: str, ending: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "b", "c"])
    expected: list[tuple[int, Row]] = []
    for row in table:
        so_far = text.getvalue().replace("\r\n", "\n").replace("\r", "\n")
        expected.append((so_far.count("\n") + 1, row))
        writer.writerow(row)
    assert rows(opened(text.getvalue().encode())) == expected
