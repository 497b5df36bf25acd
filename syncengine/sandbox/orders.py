"""What a request to `/_sandbox/contacts` or `/_sandbox/staff` asks staff to do, with every mistake named.

Staff works with the forms and fields that there are: what an upsert would drop later is refused here.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from syncengine.sandbox.contact import LARGEST_ID, Complaint, cause_of_drop, complaints
from syncengine.sandbox.forms import Forms
from syncengine.sandbox.options import ACTS
from syncengine.sandbox.unknowns import Unknowns

MEMBERS: Mapping[str, tuple[str, ...]] = {
    "edit": ("id", "set"),
    "merge": ("ids",),
    "delete": ("id",),
    "rename_option": ("form_id", "option_id", "label", "value"),
    "remove_option": ("form_id", "option_id"),
}
"""Per act of staff what may be said about it; whatever is left out is drawn."""


def order_complaints(order: Mapping[str, Any], forms: Forms, unknowns: Unknowns) -> list[Complaint]:
    """Return what is wrong with `{"act": …}` and its further members."""
    act = order.get("act")
    if act not in ACTS:
        return [Complaint("body.act", f"expected value to be one of {', '.join(ACTS)}", act)]
    found = []
    for name, value in order.items():
        if name == "act":
            continue
        where = f"body.{name}"
        if name not in MEMBERS[act]:
            found.append(Complaint(where, "unexpected property", value))
        elif name == "set":
            found += contact_complaints(value, where, forms, unknowns)
        elif not _RULES[name][0](value):
            found.append(Complaint(where, f"expected {_RULES[name][1]}", value))
    return found


def contact_complaints(fields: object, where: str, forms: Forms, unknowns: Unknowns) -> Iterator[Complaint]:
    """Yield what is wrong with a contact in the upsert's shape: its types, else what would drop it."""
    if not isinstance(fields, dict):
        yield Complaint(where, "expected object", fields)
        return
    found = complaints(fields, where)
    yield from found
    cause = None if found else cause_of_drop(fields, forms, unknowns)
    if cause is not None:
        yield Complaint(where, cause, None)


def _is_id(value: object) -> bool:
    return type(value) is int and 0 < value <= LARGEST_ID


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and len(value) in (1, 2) and all(map(_is_id, value))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


_RULES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "id": (_is_id, "integer >= 1"),
    "ids": (_are_ids, "array of one or two integers >= 1"),
    "form_id": (_is_id, "integer >= 1"),
    "option_id": (_is_id, "integer >= 1"),
    "label": (_is_name, "string that is not empty"),
    "value": (_is_name, "string that is not empty"),
}
