"""Guesses from a file's header and first rows: its key, and which column is meant for which Qomon field.

A guess that the first rows contradict is not made; whoever reads the configuration decides.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from syncengine.errors import SourceError
from syncengine.qomon.fields import find_field, suggest_field
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
    "ref", "reference", "number",
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
    """What a column is probably meant for. `doubt`: why the rule is only a comment, empty for none."""

    column: str
    field: str
    form: str | None = None
    split: str | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a file looks like. `key_doubt`: what to check about the key, empty for nothing."""

    key: str
    key_doubt: str
    fields: tuple[Guess, ...]
    others: tuple[str, ...]


def guess(path: Path) -> Guesses:
    """Read the header and the first rows of a CSV or TSV file. Raises SourceError."""
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
    taken: set[str] = set()
    for column in columns:
        field = suggest_field(column)
        if column == key and field != "mail":
            continue
        if field is not None and field not in taken:
            taken.add(field)
            fields.append(_field(column, field, [cell for cell in cells[column] if cell]))
    mapped = {guess.column for guess in fields}
    others = tuple(column for column in columns if column not in mapped and column != key)
    return Guesses(key, doubt, tuple(fields), others)


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

    letters = {_letters(column): column for column in reversed(columns)}
    named = [letters[name] for name in KEYS if name in letters]
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


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
