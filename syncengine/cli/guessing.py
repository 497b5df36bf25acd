"""Guesses from a file's header and first rows: its key, and which column is meant for which Qomon field.

A guess that the first rows contradict is not made; whoever reads the configuration decides.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from syncengine.cli.answering import match
from syncengine.cli.naming import field_name
from syncengine.errors import SourceError
from syncengine.qomon.fields import find_field, suggest_field
from syncengine.qomon.forms import Form, Forms
from syncengine.qomon.guesses import letters
from syncengine.qomon.values import clean, reader
from syncengine.sections import SourceSettings
from syncengine.sources import open_source
from syncengine.sources.delimited import DELIMITERS
from syncengine.sources.text import open_text

ROWS_LOOKED_AT = 5000
UNREADABLE_SHARE = 0.2
"""A guess that would refuse more than this share of the cells (and more than one) is wrong."""

KEYS = (
    "memberid", "membernumber", "memberno", "externalid", "personid", "contactid", "customerid", "donorid",
    "supporterid", "volunteerid", "adherentid", "idadherent", "numeroadherent", "numadherent",
    "mitgliedsnummer", "mitgliedid", "userid", "clientid", "recordid", "id", "uuid", "guid", "key",
    "ref", "reference", "number", "numero",
)  # fmt: skip
"""What people call the column that identifies a person, the best first."""

FORMATS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
SEPARATORS = ("|", ";", ",")
ASK_FIRST = {
    "notes": "a note is sent once per contact and text, and cannot be taken back",
    "black_list": "it stops all mail to the person",
    "age_category": "its numbers are your space's own",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """What a column is probably meant for. `doubt`: why the rule is only a comment, empty for none.

    `form`: of a date. `values` and `notes`: of answers to a space's form, see `cli.answering`.
    """

    column: str
    field: str
    form: str | None = None
    split: str | None = None
    doubt: str = ""
    values: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a file looks like. `key_doubt`: what to check about the key, empty for nothing.

    `others`: columns without a field; `forms`: those of the space that no column answers, by field.
    """

    key: str
    key_doubt: str
    fields: tuple[Guess, ...]
    others: tuple[str, ...]
    forms: tuple[tuple[str, Form], ...] = ()


def guess(path: Path, forms: Forms | None = None) -> Guesses:
    """Read the header and the first rows of a CSV or TSV file. Raises SourceError.

    `forms`: of the space, for columns that answer them.
    """
    columns = _header(path)
    source = open_source(SourceSettings(path=path, key=columns[0]))
    if source.columns is None:
        raise SourceError("is no CSV or TSV file; run syncengine init without it", path=str(path))
    columns = source.columns
    rows = [row for _, row in islice(source.rows(), ROWS_LOOKED_AT) if isinstance(row, list)]
    cells = {
        name: [row[place].strip() for row in rows if len(row) == len(columns)]
        for place, name in enumerate(columns)
    }
    key, doubt = _key(columns, cells)
    fields: list[Guess] = []
    for column in columns:
        if column == key and suggest_field(column) != "mail":
            continue
        found = _guess(column, [cell for cell in cells[column] if cell], forms)
        if found is not None and found.field not in {one.field for one in fields}:
            fields.append(found)
    mapped = {one.column: one.field for one in fields}
    others = tuple(column for column in columns if column not in mapped and column != key)
    named = [] if forms is None else [(field_name(form, forms), form) for form in forms]
    unanswered = tuple((name, form) for name, form in named if name not in mapped.values())
    return Guesses(key, doubt, tuple(fields), others, unanswered)


def _guess(column: str, cells: list[str], forms: Forms | None) -> Guess | None:
    """Guess a field of the contact itself; a form where there is none, or only one to ask about first."""
    field = suggest_field(column)
    is_plain = field is not None and field not in ASK_FIRST and find_field(field).kind != "advanced"
    if forms is not None and not is_plain:
        answers = match(column, cells, forms)
        if answers is not None:
            return Guess(
                column,
                answers.field,
                split=answers.split,
                doubt=answers.doubt,
                values=answers.values,
                notes=answers.notes,
            )
        if field is not None and field not in ASK_FIRST:
            return Guess(column, field, doubt="the space has no such form")
    return None if field is None else _field(column, field, cells)


def _header(path: Path) -> tuple[str, ...]:
    with open_text(path).open(newline="") as stream:
        line = next((line for line in iter(lambda: stream.readline(1 << 20), "") if line.strip()), "")
    found = [next(csv.reader([line.lstrip("\ufeff")], delimiter=delimiter), []) for delimiter in DELIMITERS]
    names = [name.strip() for name in max(found, key=len)]
    if not names or not names[0]:
        raise SourceError("has no header line that names its columns", path=str(path))
    return tuple(names)


def _key(columns: Sequence[str], cells: dict[str, list[str]]) -> tuple[str, str]:
    """Return the column that identifies a person, and what to check about it."""

    def is_unique(column: str) -> bool:
        return all(cells[column]) and len(set(cells[column])) == len(cells[column])

    known = {letters(column): column for column in reversed(columns)}
    named = [known[name] for name in KEYS if name in known]
    named += [column for column in columns if column.lower().endswith(("_id", " id", "-id"))]
    for column in named:
        if is_unique(column):
            return column, ""
    mails = [column for column in columns if suggest_field(column) == "mail"]
    for column in [*mails, *columns]:
        if is_unique(column) and (column in mails or suggest_field(column) is None):
            return column, "a guess: a key must never change and never pass to another person"
    named = [*named, *mails, *columns]
    return named[0], "its values are not unique: name the column that identifies a person"


def _field(column: str, field: str, cells: list[str]) -> Guess:
    if field in ASK_FIRST:
        return Guess(column, field, doubt=ASK_FIRST[field])
    kind = find_field(field).kind
    if kind == "tags":
        split = next((sign for sign in SEPARATORS if any(sign in cell for cell in cells)), None)
        return Guess(column, field, split=split)
    most = max(1.0, UNREADABLE_SHARE * len(cells))
    failed = _unreadable(cells, reader(kind))
    if not cells or failed < min(most + 1, len(cells)):
        return Guess(column, field)
    if kind != "date":
        return Guess(column, field, doubt="many of its values cannot be read as such")
    counts = {form: _unreadable(cells, reader(kind, form)) for form in FORMATS}
    best = min(counts.values())
    forms = [form for form, count in counts.items() if count == best]
    if best > most or best == len(cells):
        return Guess(column, field, form=FORMATS[0], doubt="no usual date format fits its values")
    if len(forms) == 1:
        return Guess(column, field, form=forms[0])
    return Guess(column, field, form=forms[0], doubt=f"its first values fit {' and '.join(forms)}")


def _unreadable(cells: list[str], read: Callable[[str], object]) -> int:
    """Return how many cells cannot be read."""
    failed = 0
    for cell in cells:
        try:
            read(clean(cell))
        except ValueError:
            failed += 1
    return failed
