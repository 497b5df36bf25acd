"""JSON Lines: exact numbers, and rows that cannot be read."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncengine.errors import RowRefusedError, SourceError
from syncengine.sections import SourceSettings
from syncengine.sources import Row, open_source


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.jsonl"


def rows(path: Path, content: bytes) -> list[tuple[int, Row]]:
    path.write_bytes(content)
    return list(open_source(SourceSettings(path=path, key="id")).rows())


def refusal(path: Path, content: bytes) -> str:
    with pytest.raises(SourceError) as caught:
        rows(path, content)
    return str(caught.value).removeprefix(str(path.parent) + "/")


def test_each_line_is_a_record(path: Path) -> None:
    found = rows(path, '\ufeff{"id": 1}\n\n {"id": "é", "b": null}\r\n{"c": [true]}'.encode())
    assert found == [(1, {"id": 1}), (3, {"id": "é", "b": None}), (4, {"c": [True]})]


def test_a_source_of_records_has_no_columns(path: Path) -> None:
    path.write_bytes(b"{}\n")
    source = open_source(SourceSettings(path=path, key="id"))
    assert (source.columns, source.delimiter, source.format) == (None, None, "jsonl")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"id": 123456789012345678901234567890}', {"id": "123456789012345678901234567890"}),
        (b'{"id": 9223372036854775807}', {"id": 9223372036854775807}),
        (b'{"id": 1.10, "n": 5}', {"id": "1.10", "n": "5"}),
        (b'{"id": 1e400}', {"id": "1e400"}),
        (b'{"id": 1, "a": {"b": [0.30000000000000004]}}', {"id": "1", "a": {"b": ["0.30000000000000004"]}}),
    ],
)
def test_numbers_are_kept_as_they_are_written(path: Path, line: bytes, expected: dict[str, Any]) -> None:
    assert rows(path, line + b"\n") == [(1, expected)]


def test_names_are_composed(path: Path) -> None:
    assert rows(path, '{"pre\u0301nom": "e\u0301"}\n'.encode()) == [(1, {"prénom": "e\u0301"})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": NaN}', "holds NaN or Infinity, which are no numbers of JSON"),
        (b'{"id": [-Infinity]}', "holds NaN or Infinity, which are no numbers of JSON"),
        (b'{"id": "\\ud800"}', "holds half a character (a lone surrogate)"),
        (b"[1]", "not a JSON object"),
        (b'"Zebedee"', "not a JSON object"),
        (b"12", "not a JSON object"),
        (b'{"id": Zebedee}', "not readable as JSON: Expecting value"),
        (b'{"Zebedee" 1}', "not readable as JSON: Expecting ':' delimiter"),
        (b'{"id": 1} Zebedee', "not readable as JSON: Extra data"),
        (b'{"id": "Zeb\tedee"}', "not readable as JSON: Invalid control character at"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_refused_row(path: Path, line: bytes, reason: str) -> None:
    found = rows(path, b'{"id": 1}\n' + line + b'\n{"id": 2}\n')
    assert [number for number, _ in found] == [1, 2, 3]
    refused = found[1][1]
    assert isinstance(refused, RowRefusedError)
    assert (refused.reason, refused.column) == (reason, None)


def test_deep_nesting_is_a_refused_row(path: Path) -> None:
    for depth in (500, 2_000, 200_000):
        ((_, row),) = rows(path, b'{"id":' + b"[" * depth + b"1.5" + b"]" * depth + b"}\n")
        assert isinstance(row, dict | RowRefusedError)
        if isinstance(row, RowRefusedError):
            assert row.reason == "not readable as JSON: nested too deeply"


def test_a_last_line_that_breaks_off_refuses_the_file(path: Path) -> None:
    assert refusal(path, b'{"id": 1}\n{"id": "Zebe') == (
        "m.jsonl, line 2: is cut off: its last line is no complete record; export it again"
    )


def test_a_json_array_is_refused(path: Path) -> None:
    expected = "m.jsonl, line 1: is a JSON array, not JSON Lines; write one object per line"
    assert refusal(path, b'[\n{"id": 1}\n]\n') == expected
    assert refusal(path, b'[{"id": 1},\n{"id": 2}]\n') == expected


def test_a_file_of_blank_lines_is_refused(path: Path) -> None:
    assert refusal(path, b"\n \n") == "m.jsonl: is empty; export it again"


def test_a_line_without_an_end_is_refused_in_little_memory(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'{"id": 1}\n{"id": "')
        for _ in range(64):
            file.write(b"x" * (1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(SourceError) as caught:
            list(open_source(SourceSettings(path=path, key="id")).rows())
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert (caught.value.line, caught.value.message) == (
        2,
        "this line is longer than 1,048,576 characters; is a line break missing?",
    )


values = st.recursive(
    st.none() | st.booleans() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


def _exact(value: Any) -> Any:
    """Return what is read: integers of more than 64 bits make the line's numbers text."""
    text = json.dumps(value)
    record = json.loads(text)
    return record if not _has_big(record) else json.loads(text, parse_int=str)


def _has_big(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_big(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_has_big(inner) for inner in value)
    return isinstance(value, int) and not -(2**63) <= value < 2**64


@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.sampled_from(["id", "a", "b"]), values, max_size=3), min_size=1, max_size=5)
)
def test_what_was_written_is_read_back(path: Path, records: list[dict[str, Any]]) -> None:
    content = "".join(json.dumps(record) + "\n" for record in records)
    assert rows(path, content.encode()) == [(n, _exact(record)) for n, record in enumerate(records, 1)]
