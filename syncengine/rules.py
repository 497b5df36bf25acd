"""One rule of `[fields]` -> the functions that put a cell's value into a contact.

The values are canonical: see `qomon.values` for texts, and here for sets, which are sorted and without
repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from syncengine.qomon.fields import Field, read_values
from syncengine.qomon.values import clean, reader
from syncengine.sections import FieldRule

Contact: TypeAlias = dict[str, Any]
Value: TypeAlias = str | int | bool
Write: TypeAlias = Callable[[Contact, str], None]
WriteItems: TypeAlias = Callable[[Contact, list[str]], None]


class Step(NamedTuple):
    """One compiled rule: `write` puts a cell into the contact, or into its address when `is_part`.

    `write_items` takes several values at once, None for a field that holds one. `text` is the name of a plain
    text in the contact or the address, empty for everything that is more than a cleaned cell.
    """

    column: str
    is_part: bool
    write: Write
    write_items: WriteItems | None
    text: str = ""


def compile_rule(field: Field, rule: FieldRule) -> Step:
    """Compile a rule that `qomon.fields.check_rule` has passed, for the field it returned."""
    column = rule.column or ""
    if field.kind in {"tags", "notes", "advanced"}:
        return _compile_items(field, rule)
    name = field.part or field.name
    clears = rule.blank == "clear"
    if field.kind in {"text", "part"} and rule.values is None and not clears:
        return Step(column, field.kind == "part", _text_writer(name), None, text=name)
    convert = _converter(field, rule)

    def write(target: Contact, cell: str) -> None:
        value = convert(cell)
        if value is not None:
            target[name] = value
        elif clears and not cell.strip():
            target[name] = ""

    return Step(column, field.kind == "part", write, None)


def _compile_items(field: Field, rule: FieldRule) -> Step:
    convert = _converter(field, rule)
    column, separator = rule.column or "", rule.split
    if field.kind == "advanced":
        write = _write_answer(field, convert)
        write_items = _write_all(write)
    else:
        write_items = _write_set(field, convert)

        def write(target: Contact, cell: str) -> None:
            write_items(target, [cell])

    if separator is None:
        return Step(column, False, write, write_items)

    def write_split(target: Contact, cell: str) -> None:
        write_items(target, cell.split(separator))

    return Step(column, False, write_split, write_items)


def _text_writer(name: str) -> Write:
    """Return the commonest writer, made fast: most cells are printable ASCII, which is always composed."""

    def write(target: Contact, cell: str) -> None:
        text = cell.strip() if cell.isascii() and cell.isprintable() else clean(cell)
        if text:
            target[name] = text

    return write


def _converter(field: Field, rule: FieldRule) -> Callable[[str], Value | None]:
    """Return the function from a cell to its value, None for nothing. It raises ValueError."""
    read = reader(field.kind, rule.format)
    if rule.values is None:

        def convert(cell: str) -> Value | None:
            text = cell.strip() if cell.isascii() and cell.isprintable() else clean(cell)
            return read(text) if text else None

        return convert
    table = read_values(rule.values, field.kind)
    skips = rule.other == "skip"

    def look_up(cell: str) -> Value | None:
        value = table.get(cell)
        if value is not None:
            return value
        text = clean(cell)
        value = table.get(text)
        if value is None and text and not skips:
            raise ValueError("a value that its rule does not list; add it to values")
        return value

    return look_up


def _write_answer(field: Field, convert: Callable[[str], Value | None]) -> Write:
    name, form = field.name, field.form
    form_key = "id" if isinstance(form, int) else "label"

    def write(target: Contact, cell: str) -> None:
        value = convert(cell)
        if value is not None:
            answer = {form_key: form, "value": value}
            if name in target:
                target[name].append(answer)
            else:
                target[name] = [answer]

    return write


def _write_set(field: Field, convert: Callable[[str], Value | None]) -> WriteItems:
    name, inner = field.name, "name" if field.kind == "tags" else "content"

    def write_items(target: Contact, cells: list[str]) -> None:
        found = {value for cell in cells if (value := convert(cell)) is not None}
        if found:
            target[name] = [{inner: value} for value in sorted(found)]

    return write_items


def _write_all(write: Write) -> WriteItems:
    def write_items(target: Contact, cells: list[str]) -> None:
        for cell in cells:
            write(target, cell)

    return write_items
