"""What of a contact goes when only what changed is sent, and what the destination then holds of ours. Pure.

Contents are contacts in the upsert's shape, canonical; what a field is, is seen from its value: an object is
an address, an array of `{value}` answers of one kind, of `{name}` tags, of `{content}` notes, all else plain.

What an upsert does to each is not documented, so each is sent in the way that is right whatever it does: an
address is one value, tags only add, answers go form by form, and notes are nobody's here: a note is sent once
and by its digest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, TypeAlias

Entry: TypeAlias = Mapping[str, Any]
"""One answer: `{label | id, value}`."""
IsMultiple: TypeAlias = Callable[[str, dict[str, Any]], bool]
"""(kind, answer) -> whether its form can have several answers at once."""
Meaning: TypeAlias = Callable[[str, Entry], tuple[Hashable, Hashable]]
"""(kind, answer) -> its form, and what it says: of answers that mean the same both are equal."""

_CLAIMS = frozenset({"id", "nationbuilderid"})
"""Who a contact is, not what it holds: ids are confirmed by reads, and never compared."""


def literally(_kind: str, entry: Entry) -> tuple[Hashable, Hashable]:
    """Take answers for the same when they are spelled the same."""
    return _named(entry), entry["value"]


def changed(applied: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a partial send has to carry, so that what was seen applied becomes `content`.

    A field that disappeared is no change, and neither is a text to be cleared that was never there. Without
    notes and ids, which are not compared.
    """
    carried: dict[str, Any] = {}
    for name, value in content.items():
        before = applied.get(name)
        if name in _CLAIMS or value == before:
            continue
        if isinstance(value, dict):
            if any(_differs((before or {}).get(part), text) for part, text in value.items()):
                carried[name] = dict(value)
        elif isinstance(value, list):
            if entries := _changed_entries(before or [], value):
                carried[name] = entries
        elif _differs(before, value):
            carried[name] = value
    return carried


def united(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return one partial send that carries what two of the same content do."""
    return merged(first, second, lambda _kind, _entry: True)


def merged(
    applied: Mapping[str, Any],
    content: Mapping[str, Any],
    is_multiple: IsMultiple,
    meaning: Meaning = literally,
) -> dict[str, Any]:
    """Return all of ours that the destination holds once `content` is applied over `applied`. Canonical.

    Plain values are overwritten, addresses merged part by part, tags and notes united; answers too, where
    their form can have several or nothing new goes to it, else ours replace those to the same form. A cleared
    text stays as an empty one, so that over nothing, or over a part of itself, `content` gives itself.
    """
    held = _not_replaced(applied, content, is_multiple, meaning)
    for name, value in content.items():
        if isinstance(value, dict):
            held[name] = {**held.get(name, {}), **value}
        elif isinstance(value, list):
            held[name] = ordered([*held.get(name, []), *value])
        else:
            held[name] = value
    return held


def kept(
    applied: Mapping[str, Any],
    content: Mapping[str, Any],
    is_multiple: IsMultiple,
    meaning: Meaning = literally,
) -> dict[str, Any]:
    """Return what of `applied` is not in `content` any more, and no upsert removes.

    Of answers that is all of a form that is not answered any more, and, where nothing replaced them, those
    that are not given any more. What amounts to nothing (an empty text, 0, false) is not kept, nor are notes.
    """
    held: dict[str, Any] = {}
    for name, value in _not_replaced(applied, content, is_multiple, meaning).items():
        if name in _CLAIMS or _is_notes(value):
            continue
        if isinstance(value, dict):
            value = {part: text for part, text in value.items() if text}  # noqa: PLW2901 - what is left
        if value:
            held[name] = value
    return held


def without(content: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Return a content without fields, named as differences are: `phone`, `address.city`, `forms.#12`."""
    left: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            value = {p: text for p, text in value.items() if f"{name}.{p}" not in fields}  # noqa: PLW2901
        elif isinstance(value, list) and value and "value" in value[0]:
            value = [e for e in value if f"{name}.{_shown(e)}" not in fields]  # noqa: PLW2901
        if name not in fields and value not in ({}, []):
            left[name] = value
    return left


def ordered(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tags, notes, or the answers of one kind in canonical order, without repeats."""
    if not entries:
        return []
    inner = next(name for name in ("value", "name", "content") if name in entries[0])
    places = {(_named(entry), entry[inner]): entry for entry in entries}
    return [places[place] for place in sorted(places)]


def _not_replaced(
    applied: Mapping[str, Any], content: Mapping[str, Any], is_multiple: IsMultiple, meaning: Meaning
) -> dict[str, Any]:
    """Return what of `applied` stays as it is when `content` comes over it, without what both have."""
    stays: dict[str, Any] = {}
    for name, value in applied.items():
        ours = content.get(name)
        if ours is None:
            stays[name] = value
        elif isinstance(value, dict):
            stays[name] = {part: text for part, text in value.items() if part not in ours}
        elif isinstance(value, list):
            if value and "value" in value[0]:
                stays[name] = _answers_not_replaced(name, value, ours, is_multiple, meaning)
            else:
                stays[name] = [entry for entry in value if entry not in ours]
    return stays


def _answers_not_replaced(
    kind: str,
    before: list[dict[str, Any]],
    ours: list[dict[str, Any]],
    is_multiple: IsMultiple,
    meaning: Meaning,
) -> list[dict[str, Any]]:
    said = {meaning(kind, entry) for entry in ours}
    answered = {form for form, _ in said}
    sent = {form for form, _ in said - {meaning(kind, entry) for entry in before}}
    stays = []
    for entry in before:
        form, says = meaning(kind, entry)
        is_replaced = form in sent and not is_multiple(kind, entry)
        if form not in answered or not (is_replaced or (form, says) in said):
            stays.append(entry)
    return stays


def _changed_entries(before: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tags or answers that go: all tags or none, all answers to a form or none."""
    if _is_notes(ours):
        return []
    new = [entry for entry in ours if entry not in before]
    if new and "value" in new[0]:
        forms = {_named(entry) for entry in new}
        return [entry for entry in ours if _named(entry) in forms]
    return ours if new else []


def _differs(before: object, value: object) -> bool:
    return value != before and not (before is None and value == "")


def _is_notes(value: object) -> bool:
    return isinstance(value, list) and bool(value) and "content" in value[0]


def _named(entry: Entry) -> tuple[bool, str, int]:
    """Return how an answer names its form, in canonical order: forms by label before those by id."""
    return "id" in entry, entry.get("label", ""), entry.get("id", 0)


def _shown(entry: Entry) -> str:
    """Return how a field's name shows the form of an answer."""
    return f"#{entry['id']}" if "id" in entry else str(entry["label"])
