"""A contact in the shape of Qomon's upsert: its fields, what is refused at once, and how an update merges.

Source: Qomon API reference, "Upsert a contact", and guide, "Create and update contacts". Where they are
silent the choice is written at `merge`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

TEXTS = frozenset(
    (
        "firstname", "surname", "married_name", "mail", "phone", "mobile",
        "birthdate", "birthcity", "birthcountry", "birthdept", "nationality",
    )
)  # fmt: skip
ADDRESS_PARTS = frozenset(
    (
        "housenumber", "street", "addition", "building", "floor", "door", "infos", "postalcode", "city",
        "citycode", "county", "state", "country", "pollingstation", "latitude", "longitude",
    )
)  # fmt: skip
ADVANCED = ("consents", "status", "forms", "custom_fields", "actions", "name_presences")
LARGEST_ID = 2**63 - 1

_MAIL = re.compile(r"[^@\s]+@[^@\s]+")


class Complaint(NamedTuple):
    """One entry of a problem's `errors`: where in the request, what is wrong, and the value found there."""

    location: str
    message: str
    value: object


def complaints(fields: Mapping[str, Any], where: str = "body.data") -> list[Complaint]:
    """Return what is wrong with the types and spellings of `fields`, which lie at `where` in the request.

    Unknown fields are no complaint: Qomon accepts them and drops the record later. `null` counts as left out.
    """
    found: list[Complaint] = []
    for name, value in fields.items():
        if value is None or (type(value) is str and name in TEXTS and name != "mail"):
            continue
        rule = _RULES.get(name)
        if rule is not None:
            found += rule(f"{where}.{name}", value)
    return found


def unknown_field(fields: Mapping[str, Any]) -> str | None:
    """Return the first field Qomon does not know, `address.…` included, else None."""
    if not fields.keys() <= _RULES.keys():
        return next(name for name in fields if name not in _RULES)
    for part in fields.get("address") or ():
        if part not in ADDRESS_PARTS and part != "id":
            return f"address.{part}"
    return None


def merge(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contact that `sent` makes of `stored`; neither is changed.

    Fields left out are kept (observed in live spaces). Our choices where Qomon says nothing: an empty text
    is stored; `address` merges part by part; tags are added, each name once; a note is appended; an
    advanced answer replaces the earlier answers to the same form, named by id or by label, and several
    answers to one form in a request are all kept.
    """
    merged = dict(stored)
    for name, value in sent.items():
        if value is None or name == "id":
            continue
        if name == "address":
            merged[name] = stored.get(name, {}) | {
                part: text for part, text in value.items() if text is not None
            }
        elif name == "tags":
            merged[name] = _added_tags(stored.get(name, []), value)
        elif name == "notes":
            merged[name] = _appended_notes(stored.get(name, []), value)
        elif name in ADVANCED:
            merged[name] = _answered(stored.get(name, []), value)
        else:
            merged[name] = value
    return merged


def _added_tags(stored: list[dict[str, Any]], sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {tag["name"]: tag for tag in stored}
    for tag in sent:
        by_name.setdefault(tag["name"], {"name": tag["name"]})
    return list(by_name.values())


def _appended_notes(stored: list[dict[str, Any]], sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    added = [
        {"id": number, "content": note.get("content") or "", "pinned": bool(note.get("pinned"))}
        for number, note in enumerate(sent, start=len(stored) + 1)
    ]
    return stored + added


def _answered(stored: list[dict[str, Any]], sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = {answer["id"] for answer in sent if answer.get("id")}
    labels = {answer["label"] for answer in sent if answer.get("label")}
    kept = [answer for answer in stored if answer.get("id") not in ids and answer.get("label") not in labels]
    for answer in sent:
        if answer not in kept:
            kept.append(answer)
    return kept


def _text(where: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, str):
        yield Complaint(where, "expected string", value)


def _mail(where: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, str):
        yield Complaint(where, "expected string", value)
    elif not _MAIL.fullmatch(value.strip()):
        yield Complaint(where, "expected string to be RFC 5322 email", value)


def _id(where: str, value: object) -> Iterator[Complaint]:
    if type(value) is not int:
        yield Complaint(where, "expected integer", value)
    elif not 0 <= value <= LARGEST_ID:
        yield Complaint(where, f"expected number >= 0 and <= {LARGEST_ID}", value)


def _number(where: str, value: object) -> Iterator[Complaint]:
    if type(value) is not int and type(value) is not float:
        yield Complaint(where, "expected number", value)


def _flag(where: str, value: object) -> Iterator[Complaint]:
    if not isinstance(value, bool):
        yield Complaint(where, "expected boolean", value)


def _address(where: str, value: object) -> Iterable[Complaint]:
    if not isinstance(value, dict):
        yield Complaint(where, "expected object", value)
        return
    for part, text in value.items():
        if part == "id":
            if text is not None:
                yield from _id(f"{where}.id", text)
        elif text is not None and type(text) is not str:
            yield Complaint(f"{where}.{part}", "expected string", text)


def _list_of(required: tuple[str, ...], rules: Mapping[str, "Rule"]) -> "Rule":
    """Return the rule for an array of objects whose members follow `rules`, with `required` present."""

    def check(where: str, value: object) -> Iterator[Complaint]:
        if not isinstance(value, list):
            yield Complaint(where, "expected array", value)
            return
        for number, entry in enumerate(value):
            at = f"{where}[{number}]"
            if not isinstance(entry, dict):
                yield Complaint(at, "expected object", entry)
                continue
            for name in required:
                if entry.get(name) is None:
                    yield Complaint(at, f"expected required property {name} to be present", entry)
            for name, member in entry.items():
                if name not in rules:
                    yield Complaint(f"{at}.{name}", "unexpected property", member)
                elif member is not None:
                    yield from rules[name](f"{at}.{name}", member)

    return check


Rule = Callable[[str, object], Iterable[Complaint]]

_RULES: dict[str, Rule] = dict.fromkeys(TEXTS, _text) | {
    "id": _id,
    "nationbuilderid": _number,
    "mail": _mail,
    "age_category": _number,
    "black_list": _flag,
    "address": _address,
    "tags": _list_of(("name",), {"name": _text}),
    "notes": _list_of((), {"content": _text, "id": _id, "pinned": _flag}),
}
_RULES |= dict.fromkeys(ADVANCED, _list_of(("value",), {"id": _id, "label": _text, "value": _text}))
