"""`GET`, `POST`, `PATCH` and `DELETE` of one contact: what is done while the client waits.

Sources: Qomon API reference, "Create a contact" and "Update contact by id". A write costs 5 tokens, a read 1
(observed), a deletion 1 (a guess). Nothing is matched: `POST` always creates. Our choices: a deletion is for
good; as after an upsert, `UpdatedAt` moves and `lastchange` does not, unless unknown `lastchange` says so.
"""

import time

import orjson

from syncengine.sandbox.answering import answered, recreated
from syncengine.sandbox.book import Stored
from syncengine.sandbox.contact import LARGEST_ID, Complaint
from syncengine.sandbox.endpoints.call import UNREAD, Call, Route
from syncengine.sandbox.shapes import shown
from syncengine.sandbox.wire import Answer, problem
from syncengine.sandbox.writing import Writing, unwritten


def get(call: Call) -> Answer:
    """Answer `{"status": "success", "data": {"contact": {...}}}`, 404 when there is none (observed)."""
    stored = _stored(call)
    return stored if isinstance(stored, Answer) else _success(call, stored, "read")


def create(call: Call) -> Answer:
    """Create a contact and answer 200 with it, its id included; 422 for what `Writing` complains of."""
    writing = _writing(call)
    if isinstance(writing, Answer):
        return writing
    space, now = call.space, time.time()
    fields = writing.fields((), now)
    if writing.answers:
        fields["answers"] = answered((), writing.answers, space.forms, space.options.unknowns, now)
    created = space.book.stored(space.book.create(fields, now))
    assert created
    return _success(call, created, "created")


def replace(call: Call) -> Answer:
    """Replace all of a contact and answer 200 with it: in spite of the verb, what is not sent is cleared.

    Its answers to forms are soft-deleted and made anew with new ids, see `answering.recreated`. 404 when
    there is no such contact, 422 for what `Writing` complains of.
    """
    stored = _stored(call)
    writing = _writing(call) if isinstance(stored, Stored) else stored
    if isinstance(writing, Answer):
        return writing
    assert isinstance(stored, Stored)
    space, now = call.space, time.time()
    unknowns = space.options.unknowns
    fields = writing.fields(stored.fields.get("notes") or (), now)
    if unknowns.unwritten == "keep":
        fields |= unwritten(stored.fields, fields)
    answers = recreated(stored.fields.get("answers") or (), writing.answers, space.forms, unknowns, now)
    if answers:
        fields["answers"] = answers
    space.book.update(stored.id, fields, now, by_staff=unknowns.lastchange == "moves")
    replaced = space.book.stored(stored.id)
    assert replaced
    return _success(call, replaced, "replaced")


def delete(call: Call) -> Answer:
    """Delete a contact and answer `{"status": "success"}`; its id is 404 from then on."""
    stored = _stored(call)
    if isinstance(stored, Answer):
        return stored
    call.space.book.delete(stored.id)
    call.entry.outcome, call.entry.contact_id = "deleted", stored.id
    return Answer(200, orjson.dumps({"status": "success"}))


def _stored(call: Call) -> Stored | Answer:
    given = call.parts["id"]
    if not (given.isascii() and given.isdigit() and len(given) < 20 and int(given) <= LARGEST_ID):
        wrong = Complaint("path.contactId", "expected integer", given)
        return problem(422, "validation failed", call.request.path, (wrong,))
    stored = call.space.book.stored(int(given))
    if stored is None:
        call.entry.outcome = "missing"
        return problem(404, f"no contact has id {int(given)}", call.request.path)
    return stored


def _writing(call: Call) -> Writing | Answer:
    if call.document is UNREAD:
        return problem(400, "the body is not JSON", call.request.path)
    writing = Writing(call.document, call.space.forms, call.space.options.unknowns)
    if writing.complaints:
        return problem(422, "validation failed", call.request.path, writing.complaints)
    return writing


def _success(call: Call, stored: Stored, outcome: str) -> Answer:
    call.entry.outcome, call.entry.contact_id = outcome, stored.id
    content = {"status": "success", "data": {"contact": shown(stored, call.space)}}
    return Answer(200, orjson.dumps(content))


ROUTES = (
    Route("POST", "/contacts", "create", 5, create),
    Route("GET", "/contacts/{id}", "get", 1, get),
    Route("PATCH", "/contacts/{id}", "replace", 5, replace),
    Route("DELETE", "/contacts/{id}", "delete", 1, delete),
)
