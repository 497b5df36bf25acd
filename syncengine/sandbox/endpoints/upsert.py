"""`POST /contacts/upsert`: what is refused at once, and the queue for the rest.

Source: Qomon API reference, "Upsert a contact".
"""

from syncengine.sandbox.contact import Complaint, complaints
from syncengine.sandbox.endpoints.call import UNREAD, Call, Route
from syncengine.sandbox.wire import Answer, problem


def upsert(call: Call) -> Answer:
    """Queue a contact: 202 with an empty body, whatever becomes of it later.

    What is refused at once is undocumented: wrong types and spellings by default; by unknown `refusals`
    nothing but what is no JSON, and the wrong types drop the contact like everything else.
    """
    if call.document is UNREAD:
        return problem(400, "the body is not JSON", call.request.path)
    fault, space = call.fault, call.space
    found = _envelope_complaints(call.document)
    if found and space.options.unknowns.refusals == "types":
        return problem(422, "validation failed", call.request.path, found)
    cause = f"{found[0].location}: {found[0].message}" if found else None
    late = fault.parameters["seconds"] if fault and fault.kind == "late" else 0.0
    space.pending.add(call.entry, space.options.lag + late, cause)
    space.wake()
    return Answer(202)


def _envelope_complaints(document: object) -> list[Complaint]:
    if not isinstance(document, dict):
        return [Complaint("body", "expected object", document)]
    found = [
        Complaint("body", f"expected required property {name} to be present", document)
        for name in ("kind", "data")
        if name not in document
    ]
    found += [
        Complaint(f"body.{name}", "unexpected property", value)
        for name, value in document.items()
        if name not in ("kind", "data")
    ]
    if document.get("kind", "contact") != "contact":
        found.append(Complaint("body.kind", 'expected value to be "contact"', document["kind"]))
    fields = document.get("data", {})
    if not isinstance(fields, dict):
        found.append(Complaint("body.data", "expected object", fields))
        return found
    return found + complaints(fields)


ROUTES = (Route("POST", "/contacts/upsert", "upsert", 1, upsert),)
