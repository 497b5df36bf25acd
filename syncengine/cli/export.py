"""Problems as a CSV file: new, private, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from syncengine.cli.contents import flat
from syncengine.cli.words import stamp
from syncengine.errors import StoreError

COLUMNS = ("key", "state", "reason", "remedy", "since", "line")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_export(path: Path, problems: list[dict[str, Any]]) -> None:
    """Write problems to a file that does not exist yet, mode 0600; no link is followed.

    With values, further columns hold the content field by field. A cell that a spreadsheet would take for a
    formula gets a leading apostrophe (OWASP, "CSV Injection"). Raises StoreError.
    """
    rows = [_row(problem) | dict(flat(problem.get("content") or {})) for problem in problems]
    if any("detail" in problem for problem in problems):
        rows = [
            row | {"answer": problem.get("detail") or ""} for row, problem in zip(rows, problems, strict=True)
        ]
    names = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
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
    line = problem.get("line")
    texts = {name: problem[name] or "" for name in ("key", "state", "reason", "remedy")}
    return texts | {"since": stamp(problem["since"]), "line": "" if line is None else str(line)}


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
