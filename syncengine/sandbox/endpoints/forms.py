"""`GET /v1/forms/type/{type}` and `GET /forms/{id}`: which questions a space has, and their options.

Source: Qomon guide, "Forms overview". Each costs 1 token (observed for the list).
"""

import orjson

from syncengine.sandbox.contact import Complaint
from syncengine.sandbox.endpoints.call import Call, Route
from syncengine.sandbox.form import TYPES
from syncengine.sandbox.wire import Answer, problem


def by_type(call: Call) -> Answer:
    """Answer `{"status": "success", "data": {"forms": [...] | null}}`, 422 for no type (our choice)."""
    wanted = call.parts["type"]
    if wanted not in TYPES:
        complaint = Complaint("path.type", f'expected value to be one of "{", ".join(TYPES)}"', wanted)
        return problem(422, "validation failed", call.request.path, (complaint,))
    call.entry.outcome = "read"
    forms = [form.as_json() for form in call.space.forms.of_type(wanted)]
    return Answer(200, orjson.dumps({"status": "success", "data": {"forms": forms or None}}))


def one(call: Call) -> Answer:
    """Answer `{"status": "success", "data": {"form": {...}}}`, 404 when no form has the number.

    With a type in place of the number it is the deprecated twin of the list, and says so in a header.
    """
    given = call.parts["id"]
    if not (given.isascii() and given.isdigit()):
        answer = by_type(
            Call(call.space, call.request, call.document, {"type": given}, call.entry, call.fault)
        )
        answer.lines += "Deprecation: true\r\n"
        return answer
    form = call.space.forms.by_id(int(given)) if len(given) < 20 else None
    if form is None:
        call.entry.outcome = "missing"
        return problem(404, f"no form has id {given}", call.request.path)
    call.entry.outcome = "read"
    return Answer(200, orjson.dumps({"status": "success", "data": {"form": form.as_json()}}))


ROUTES = (
    Route("GET", "/v1/forms/type/{type}", "forms", 1, by_type),
    Route("GET", "/forms/{id}", "form", 1, one),
)
