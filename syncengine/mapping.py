"""row -> contact: the configured rules, compiled once, applied to each row. Pure; nothing is read or kept.

A contact has the shape of the upsert's `data` and holds canonical values: text trimmed and composed (NFC),
sets sorted and without repeats, numbers as whole numbers, days as RFC 3339. Equal people hence give equal
bytes in `hashing.canonical`. A row that cannot be read exactly is refused, never guessed at.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias, cast

import orjson

from syncengine.complaints import nearest
from syncengine.errors import ConfigError, RowRefusedError, SourceError
from syncengine.hashing import canonical_key
from syncengine.partial import ordered
from syncengine.qomon.fields import (
    ADDRESS,
    ADDRESS_PARTS,
    ADVANCED,
    NOTES,
    TAGS,
    check_rule,
    find_field,
    known_field,
)
from syncengine.qomon.values import clean
from syncengine.rules import Contact, Step, Write, compile_rule
from syncengine.sections import FieldRule

MAPPING_VERSION = 1
"""Part of the digest: raised when the same rules begin to give other contacts."""

KEY_CAP = 512
"""Characters in a key."""

EMPTY_KEY = "empty key"
"""The reason of a row that stands for nobody."""

NAMES_KEPT = 1000
"""Distinct names of JSON fields that are remembered: a hostile file cannot fill the memory with them."""

_ABSENT = object()
_UNFIT_FOR_A_KEY = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class ContactMapping:
    """Callable: a row -> (key, contact). Made by `compile_mapping`.

    `digest` (hex) changes when the rules do.
    """

    def __init__(self, rules: Mapping[str, FieldRule], key: str, columns: tuple[str, ...] | None) -> None:
        """Compile rules whose columns are known to exist; ValueError for an impossible rule.

        Without `columns` and without rules, records are read by their own names.
        """
        self._key = key
        self._by_name = columns is None and not rules
        self.digest = _digest(rules, key, by_name=self._by_name)
        self._constants: list[tuple[bool, Write, str]] = []
        self._steps: list[Step] = []
        gathered = set(ADVANCED) if self._by_name else set()
        for name, rule in rules.items():
            field = check_rule(name, rule)
            step = compile_rule(field, rule)
            if rule.constant is None:
                self._steps.append(step)
            else:
                self._constants.append((step.is_part, step.write, rule.constant))
            if field.kind == "advanced":
                gathered.add(field.name)
        self._gathered = tuple(sorted(gathered))
        self._ignored: dict[str, None] = {}
        self._unseen: dict[str, None] = {}
        if columns is None:
            self._unseen = dict.fromkeys([key, *(step.column for step in self._steps)])
            self._named: dict[str, _Take | None] = {}
        else:
            self._width = len(columns)
            self._key_place = columns.index(key)
            steps = [(columns.index(step.column), step) for step in self._steps]
            # Plain texts, the commonest cells, are written without a call of their own.
            self._texts = [(n, s.column, s.text) for n, s in steps if s.text and not s.is_part]
            self._cells = [(n, s.column, s.write) for n, s in steps if not s.text and not s.is_part]
            self._part_texts = [(n, s.column, s.text) for n, s in steps if s.text and s.is_part]
            self._parts = [(n, s.column, s.write) for n, s in steps if not s.text and s.is_part]

    @property
    def is_empty(self) -> bool:
        """Whether no contact can have anything in it: there are no rules, and nothing maps by its name."""
        return not (self._steps or self._constants or self._by_name)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names in the file that are no Qomon field, when there are no rules; for JSON, those so far."""
        return tuple(self._ignored)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Configured names, the key's among them, that no JSON record had so far. Empty for CSV."""
        return tuple(self._unseen)

    def __call__(self, row: list[str] | dict[str, Any] | RowRefusedError) -> tuple[str, Contact]:
        """Return the row's key and contact. Raises RowRefusedError with reason and column."""
        if isinstance(row, list):
            if len(row) != self._width:
                raise RowRefusedError(f"{len(row)} cells instead of {self._width}")
            key = self._read_key(row[self._key_place])
            contact = self._from_cells(row)
        elif isinstance(row, dict):
            if self._unseen:
                for name in self._unseen.keys() & row.keys():
                    del self._unseen[name]
            key = self._read_key(row.get(self._key))
            contact = self._from_names(row) if self._by_name else self._from_record(row)
        else:
            raise row
        for kind in self._gathered:
            entries = contact.get(kind)
            if entries is not None and len(entries) > 1:
                contact[kind] = ordered(entries)
        return key, contact

    def key_of(self, row: list[str] | dict[str, Any] | RowRefusedError) -> str | None:
        """Return the key of a row that was refused, None when it has none that can be read."""
        try:
            if isinstance(row, list):
                return self._read_key(row[self._key_place])
            return self._read_key(row.get(self._key)) if isinstance(row, dict) else None
        except (RowRefusedError, IndexError):
            return None

    def _read_key(self, cell: object) -> str:
        if type(cell) is not str:
            if cell is not None and type(cell) is not int:
                raise RowRefusedError("a key is a text or a whole number", self._key)
            if cell is not None and cell.bit_length() > 64:
                raise RowRefusedError("a key of more than 64 bits has to be text", self._key)
            cell = "" if cell is None else str(cell)
        cell = canonical_key(cell)
        if not cell:
            raise RowRefusedError(EMPTY_KEY, self._key)
        if len(cell) > KEY_CAP:
            raise RowRefusedError(f"the key is longer than {KEY_CAP} characters", self._key)
        if not cell.isprintable() and _UNFIT_FOR_A_KEY.search(cell):
            raise RowRefusedError("the key holds a control character", self._key)
        return cell

    def _from_cells(self, row: list[str]) -> Contact:
        contact: Contact = {}
        address: Contact = {}
        column = None
        try:
            for target, texts, others in (
                (contact, self._texts, self._cells),
                (address, self._part_texts, self._parts),
            ):
                for place, column, name in texts:  # noqa: B007 - named in the refusal
                    cell = row[place]
                    text = cell.strip() if cell.isascii() and cell.isprintable() else clean(cell)
                    if text:
                        target[name] = text
                for place, column, write in others:  # noqa: B007
                    write(target, row[place])
        except ValueError as error:
            raise RowRefusedError(str(error), column) from None
        return self._complete(contact, address)

    def _from_record(self, record: Mapping[str, object]) -> Contact:
        """Apply the rules to a JSON record. A name it lacks is no blank: nothing is known of it."""
        contact: Contact = {}
        address: Contact = {}
        for step in self._steps:
            value = record.get(step.column, _ABSENT)
            if value is not _ABSENT:
                _write_value(step, address if step.is_part else contact, value)
        return self._complete(contact, address)

    def _from_names(self, record: Mapping[str, object]) -> Contact:
        """Read a JSON record in the upsert's shape."""
        contact: Contact = {}
        address: Contact = {}
        for name, value in record.items():
            take = self._named[name] if name in self._named else self._take_name(name)
            if take is not None:
                take(contact, address, value)
        return self._complete(contact, address)

    def _complete(self, contact: Contact, address: Contact) -> Contact:
        for is_part, write, constant in self._constants:
            write(address if is_part else contact, constant)
        if address:
            contact[ADDRESS] = address
        return contact

    def _take_name(self, name: str) -> _Take | None:
        take = _take_name(name, self._ignore)
        if take is None and name != self._key:
            self._ignore(name)
        if len(self._named) < NAMES_KEPT:
            self._named[name] = take
        return take

    def _ignore(self, name: str) -> None:
        if len(self._ignored) < NAMES_KEPT:
            self._ignored[name] = None


def compile_mapping(
    fields: Mapping[str, FieldRule],
    key: str,
    columns: tuple[str, ...] | None,
    *,
    path: str = "",
    proven: Collection[str] = (),
) -> ContactMapping:
    """Compile `[fields]` for a source with these columns (None: JSON records with names of their own).

    Without rules, Qomon's names map to themselves, except ids. `proven`: see `check_rule`. Raises SourceError
    without the key column, ConfigError for an impossible rule or a configured column the file lacks.
    """
    key = _plain(key)
    rules = {name: _with_plain_column(rule) for name, rule in fields.items()}
    for name, rule in rules.items():
        try:
            check_rule(name, rule, proven)
        except ValueError as error:
            raise ConfigError(f"[fields] {name}: {error}") from None
    if columns is None:
        return ContactMapping(rules, key, None)
    if key not in columns:
        raise SourceError(
            f"the header has no column {key!r}{nearest(key, list(columns))}; "
            "set [source] key to the column that identifies a person",
            path=path,
        )
    for name, rule in rules.items():
        if rule.column is not None and rule.column not in columns:
            where = f"{path} has" if path else "the file has"
            raise ConfigError(
                f"[fields] {name}: {where} no column {rule.column!r}{nearest(rule.column, list(columns))}"
            )
    if fields:
        return ContactMapping(rules, key, columns)
    rules = {column: FieldRule(column=column) for column in columns if _is_mapped_by_name(column)}
    mapping = ContactMapping(rules, key, columns)
    for column in columns:
        if column not in rules and column != key:
            mapping._ignore(column)  # noqa: SLF001 - the same module
    return mapping


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def _with_plain_column(rule: FieldRule) -> FieldRule:
    return rule if rule.column is None else rule.model_copy(update={"column": _plain(rule.column)})


def _is_mapped_by_name(name: str) -> bool:
    """Half of all exports have an `id` column that is not Qomon's: ids are never taken by their name."""
    field = known_field(name)
    return field is not None and field.kind != "id"


def _digest(rules: Mapping[str, FieldRule], key: str, *, by_name: bool) -> str:
    content = {
        "version": MAPPING_VERSION,
        "key": key,
        "rules": {name: rule.model_dump(exclude_defaults=True) for name, rule in rules.items()},
        "by_name": by_name,
    }
    return blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


# --- records in the upsert's shape


_Take: TypeAlias = Callable[[Contact, Contact, object], None]
"""(contact, address, value): puts what stands under one name of a record where it belongs."""


def _text_of(value: object) -> str:
    """Return a JSON value as the cell it would be in CSV."""
    kind = type(value)
    if kind is str:
        return cast("str", value)
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is float:
        raise ValueError("a float has no exact text; give it as text")
    raise ValueError("a nested value where a text is expected")


def _write_value(step: Step, target: Contact, value: object) -> None:
    try:
        if not isinstance(value, list):
            step.write(target, _text_of(value))
            return
        items = [_text_of(item) for item in value]
        if step.write_items is not None:
            step.write_items(target, items)
            return
    except ValueError as error:
        raise RowRefusedError(str(error), step.column) from None
    raise RowRefusedError("a list where one value is expected", step.column)


def _take_name(name: str, ignore: Callable[[str], None]) -> _Take | None:
    """Return what to do with a name of a record in the upsert's shape, None for a name that is ignored."""
    if name == ADDRESS:
        return _take_address(ignore)
    if name in ADVANCED:
        return _take_answers(name, ignore)
    if not _is_mapped_by_name(name):
        return None
    step = compile_rule(find_field(name), FieldRule(column=name))
    inner = {TAGS: "name", NOTES: "content"}.get(name)

    def take(contact: Contact, address: Contact, value: object) -> None:
        if inner is not None and isinstance(value, list):
            value = [_inner(item, inner, name, ignore) for item in value]
        target, place = (address, name.partition(".")[2]) if step.is_part else (contact, name)
        if place in target:
            raise RowRefusedError("given twice, nested and by its full name", name)
        _write_value(step, target, value)

    return take


def _inner(item: object, inner: str, name: str, ignore: Callable[[str], None]) -> object:
    """Return the text of `{name: …}` or `{content: …}`; other things than objects as they are."""
    if not isinstance(item, dict):
        return item
    for other in item:
        if other != inner:
            ignore(f"{name}.{other}")
    if inner not in item:
        raise RowRefusedError(f"an object without {inner!r}", name)
    return item[inner]


def _take_address(ignore: Callable[[str], None]) -> _Take:
    names = {part: f"{ADDRESS}.{part}" for part in ADDRESS_PARTS}
    steps = {
        part: compile_rule(check_rule(name, rule), rule)
        for part, name in names.items()
        for rule in [FieldRule(column=name)]
    }

    def take(_contact: Contact, address: Contact, value: object) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            raise RowRefusedError("an address is an object of its parts", ADDRESS)
        for part, text in value.items():
            step = steps.get(part)
            if step is None:
                ignore(f"{ADDRESS}.{part}")
            elif part in address:
                raise RowRefusedError("given twice, nested and by its full name", step.column)
            else:
                _write_value(step, address, text)

    return take


def _take_answers(kind: str, ignore: Callable[[str], None]) -> _Take:
    def take(contact: Contact, _address: Contact, value: object) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            raise RowRefusedError("an array of {label or id, value} is expected", kind)
        for entry in value:
            if not isinstance(entry, dict) or "value" not in entry or ("id" in entry) == ("label" in entry):
                raise RowRefusedError("each entry needs a value, and either a label or an id", kind)
            for other in entry.keys() - {"id", "label", "value"}:
                ignore(f"{kind}.{other}")
            form_key = "id" if "id" in entry else "label"
            try:
                form = clean(_text_of(entry[form_key]))
                field = find_field(f"{kind}.#{form}" if form_key == "id" else f"{kind}.{form}")
                text = clean(_text_of(entry["value"]))
            except ValueError as error:
                raise RowRefusedError(str(error), kind) from None
            if text:
                contact.setdefault(kind, []).append({form_key: field.form, "value": text})

    return take
