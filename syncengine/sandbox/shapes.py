"""A contact as Qomon shows it, in a page of `/search` and alone.

Sources: Qomon API reference, "Create a contact", and guide, "Create and update contacts", for the names; the
answers to forms of custom fields stand under `custom_fields`, all others under `formdatas`, the deleted ones
among them with their `deleted_at`. Spelled otherwise than in the upsert: `birth_city` and its like, and a
note's text `data`. Times carry microseconds; a birthdate is a date-time.

Our choices: whoever has no text has an empty one, and an empty list is null, as an empty page is (observed).
"""

import re
from collections.abc import Mapping
from typing import Any

from syncengine.sandbox.book import Stored, stamp
from syncengine.sandbox.contact import ADDRESS_PARTS
from syncengine.sandbox.space import Space

RESPELLED = {"birth_city": "birthcity", "birth_country": "birthcountry", "birth_dept": "birthdept"}
"""The names of reads and synchronous writes for what the upsert spells otherwise."""
_TEXTS = {
    name: RESPELLED.get(name, name)
    for name in (
        "firstname", "surname", "married_name", "gender", "mail", "phone", "mobile", "nationality",
        "external_id", *RESPELLED,
    )
}  # fmt: skip
_PARTS: dict[str, Any] = dict.fromkeys(sorted(ADDRESS_PARTS), "")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def shown(stored: Stored, space: Space) -> dict[str, Any]:
    """Return the contact as `/search`, `GET`, `POST` and `PATCH` show it."""
    fields = stored.fields
    get = fields.get
    custom_fields: list[dict[str, Any]] = []
    formdatas: list[dict[str, Any]] = []
    for answer in get("answers") or ():
        form = space.forms.by_id(answer["form_id"])
        is_custom = form is not None and form.type == "custom_fields"
        (custom_fields if is_custom else formdatas).append(answer)
    row: dict[str, Any] = {
        "id": stored.id,
        "group_id": space.group_id,
        "CreatedAt": stamp(stored.created),
        "UpdatedAt": stamp(stored.updated),
        "lastchange": stamp(stored.lastchange),
        "lastchangeuserid": None,
    }
    for name, field in _TEXTS.items():
        row[name] = get(field) or ""
    row |= {
        "birthdate": _date_time(get("birthdate")),
        "age_category": get("age_category") or 0,
        "black_list": bool(get("black_list")),
        "phone_invalid": bool(get("phone_invalid")),
        "mobile_invalid": bool(get("mobile_invalid")),
        "user_contact_id": get("user_contact_id") or 0,
        "address": _address(stored.id, get("address")),
        "tags": [_tag(tag) for tag in get("tags") or ()] or None,
        "action_ids": get("action_ids") or None,
        "notes": [_note(note) for note in get("notes") or ()] or None,
        "formdatas": formdatas or None,
        "custom_fields": custom_fields or None,
    }
    return row


def _date_time(text: object) -> object:
    """Return a birthdate as a date-time; what is no plain day stays as it was sent."""
    if not isinstance(text, str) or not text:
        return None
    return f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text


def _address(number: int, parts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an address with what Qomon adds to it; it has the number of its contact."""
    if not parts:
        return None
    latitude, longitude = parts.get("latitude") or "", parts.get("longitude") or ""
    is_placed = latitude != "" and longitude != ""
    return {
        **_PARTS,
        **parts,
        "id": number,
        "location": f"{latitude},{longitude}" if is_placed else "",
        "score": 1.0 if is_placed else 0.0,
        "invalid": False,
    }


def _tag(tag: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": tag["name"], "color": "#808080", "appearance_count": 1}


def _note(note: Mapping[str, Any]) -> dict[str, Any]:
    row = {"only_super_admin": False, **note}
    row["data"] = row.pop("content")
    return row
