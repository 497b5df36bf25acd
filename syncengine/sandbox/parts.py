"""Parts of a contact and what an upsert makes of them: address, tags, notes, phone numbers.

Nothing of this is documented: each function takes the answer to its unknown. None changes what it is given.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from syncengine.sandbox.book import stamp
from syncengine.sandbox.unknowns import Unknowns


def addressed(stored: Mapping[str, str], sent: Mapping[str, Any], unknowns: Unknowns) -> dict[str, str]:
    """Return an address, written part by part or as a whole; its `id` is Qomon's own and left out."""
    address = dict(stored) if unknowns.address == "merge" else {}
    for part, text in sent.items():
        if text is None:
            if unknowns.null == "clear":
                address.pop(part, None)
        elif part != "id" and (text or unknowns.empty == "store"):
            address[part] = text
    if unknowns.geocoding == "on" and address.get("city"):
        address |= _geocoded(address)
    return address


def _geocoded(address: Mapping[str, str]) -> dict[str, str]:
    """Return the city in another spelling, and a place in or near France: the same for the same city."""
    city = " ".join(address["city"].split()).title()
    draw = zlib.crc32(f"{address.get('postalcode', '')} {city}".encode())
    return {
        "city": city,
        "latitude": f"{43 + draw % 7000 / 1000:.3f}",
        "longitude": f"{draw // 7000 % 7000 / 1000:.3f}",
    }


def e164(text: str) -> str:
    """Return a phone number in E.164, one without a country in that of France; no number stays as it is."""
    digits = re.sub(r"[^\d+]", "", text, flags=re.ASCII)
    if digits.startswith("00"):
        return f"+{digits[2:]}"
    if digits.startswith("0") and len(digits) == 10:
        return f"+33{digits[1:]}"
    return digits or text


def tagged(
    stored: Sequence[dict[str, Any]], sent: Sequence[dict[str, Any]], how: str
) -> list[dict[str, Any]]:
    """Return the tags of a contact, each name once: `how` is "add" or "replace"."""
    by_name = {tag["name"]: tag for tag in stored} if how == "add" else {}
    for tag in sent:
        by_name.setdefault(tag["name"], {"name": tag["name"]})
    return list(by_name.values())


def noted(
    stored: Sequence[dict[str, Any]], sent: Sequence[dict[str, Any]], how: str, now: float
) -> list[dict[str, Any]]:
    """Return the notes of a contact: `how` is "append", "replace" or "once" (each text).

    They are numbered within the contact; an id that is sent is not used.
    """
    notes = [] if how == "replace" else list(stored)
    number = max((note["id"] for note in stored), default=0)
    for note in sent:
        content = note.get("content") or ""
        if how == "once" and any(other["content"] == content for other in notes):
            continue
        number += 1
        pinned = bool(note.get("pinned"))
        notes.append({"id": number, "content": content, "pinned": pinned, "created_at": stamp(now)})
    return notes


def renoted(
    stored: Sequence[dict[str, Any]], sent: Sequence[dict[str, Any]], how: str, now: float
) -> list[dict[str, Any]]:
    """Return the notes that a full replace leaves, `sent` in its spelling: all of them, and no others.

    `how`: "new" numbers and dates each anew, "kept" only those without the id of a note that is there.
    """
    had = {note["id"]: note for note in stored} if how == "kept" else {}
    number = max((note["id"] for note in stored), default=0)
    notes: list[dict[str, Any]] = []
    for note in sent:
        same = had.pop(note.get("id"), None)
        if same is None:
            number += 1
            same = {"id": number, "created_at": stamp(now)}
        content = {"content": note["data"], "pinned": bool(note.get("pinned"))}
        notes.append(same | content | {"only_super_admin": bool(note.get("only_super_admin"))})
    return notes
