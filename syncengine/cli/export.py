"""Problems as a CSV file: new, private, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from syncengine.cli.contents import flat
from syncengine.cli.telling import differences_in_words, hints
from syncengine.cli.words import stamp
from syncengine.errors import StoreError

COLUMNS = ("key", "state", "reason", "remedy", "since", "line", "other_keys", "qomon_ids", "fields")
FORMULA_START = re.compile(r"(^|[;,|\t\r\n])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])")
"""Where a spreadsheet may see a formula begin: also after a sign that it may take for the end of a cell."""


def write_export(path: Path, problems: list[dict[str, Any]]) -> None:
    """Write problems as `write_table` does.

    With values, further columns hold what was sent and seen, hints, Qomon's answer, and the content field by
    field.
    """
    rows = [_row(problem) for problem in problems]
    if any("detail" in problem for problem in problems):
        rows = [row | _values(problem) for row, problem in zip(rows, problems, strict=True)]
    write_table(path, dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]), rows)


def refuse_existing(path: Path) -> None:
    """Raise StoreError when a file exists already, before anything is done for it."""
    if path.exists():
        raise StoreError(f"{path}: exists already and is not overwritten; name another file")


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a CSV file that does not exist yet, mode 0600; no link is followed.

    What a spreadsheet would take for a formula gets an apostrophe before it (OWASP, "CSV Injection").
    Raises StoreError.
    """
    names = list(columns)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise StoreError(f"{path}: exists already and is not overwritten; name another file") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}", reason="disk") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([safe_cell(name) for name in names])
            writer.writerows([safe_cell(row.get(name, "")) for name in names] for row in rows)
    except OSError as error:
        path.unlink()
        raise StoreError(f"{path}: cannot be written: {error.strerror}", reason="disk") from None


def _row(problem: dict[str, Any]) -> dict[str, str]:
    line, facts = problem.get("line"), problem["facts"]
    others = [*facts.get("keys", ()), *([f"… and {facts['more']:,} more"] if facts.get("more") else [])]
    return {
        **{name: problem[name] or "" for name in ("key", "state", "reason", "remedy")},
        "since": stamp(problem["since"]),
        "line": "" if line is None else str(line),
        "other_keys": ", ".join(others),
        "qomon_ids": ", ".join(map(str, facts.get("ids", ()))),
        "fields": ", ".join(one["field"] for one in facts.get("fields", ())),
    }


def _values(problem: dict[str, Any]) -> dict[str, str]:
    facts = problem["facts"]
    row = {
        "differences": " / ".join(differences_in_words(facts)),
        "hints": " / ".join(hints(facts)),
        "answer": problem.get("detail") or "",
    }
    for name, value in flat(problem.get("content") or {}):
        row[name] = f"{row[name]}, {value}" if name in row else value
    return row


def safe_cell(text: str) -> str:
    """Return a cell in which no spreadsheet sees a formula."""
    return FORMULA_START.sub(r"\1'", text)
