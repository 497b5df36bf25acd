"""`POST /search` and `POST /kpi`: a page of contacts, and how many there are.

Source: Qomon guide, "Search overview". Each costs 1 token, a page of 1,000 too (observed; of kpi a guess).
"""

import time

import orjson

from syncengine.sandbox.conditions import Surroundings
from syncengine.sandbox.contact import Complaint
from syncengine.sandbox.endpoints.call import UNREAD, Call, Route
from syncengine.sandbox.index import Index
from syncengine.sandbox.search import Reader, Search
from syncengine.sandbox.shapes import shown
from syncengine.sandbox.wire import Answer, problem


def search(call: Call) -> Answer:
    """Answer `{"status": "success", "data": {"contacts": [...] | null}}`: no total, null for none (observed).

    422 for what `Reader.read` refuses and for a page that ends beyond `unknowns.search_depth` rows.
    """
    now = time.time()
    read = _read(call, now, ("query", "per_page"))
    if isinstance(read, Answer):
        return read
    depth = call.space.options.unknowns.search_depth
    if (read.page + 1) * read.per_page > depth:
        wrong = Complaint("body.data.advanced_search.page", f"expected to end within {depth} rows", read.page)
        return problem(422, "validation failed", call.request.path, (wrong,))
    rows = [shown(stored, call.space) for stored in Index(call.space, now).page(read)]
    if read.has_interactions:
        for row in rows:
            row["interactions"] = None  # answers written by the API make none (observed)
    return _success(call, {"contacts": rows or None})


def kpi(call: Call) -> Answer:
    """Answer `{"status": "success", "data": {"total": n}}` for the body of a search, its paging apart."""
    now = time.time()
    read = _read(call, now, ("query",))
    if isinstance(read, Answer):
        return read
    return _success(call, {"total": Index(call.space, now).count(read.query)})


def _read(call: Call, now: float, required: tuple[str, ...]) -> Search | Answer:
    if call.document is UNREAD:
        return problem(400, "the body is not JSON", call.request.path)
    space = call.space
    around = Surroundings(now, lambda number: _is_custom_field(call, number), space.book.fold)
    reader = Reader(around, space.options.unknowns.search_conditions)
    read = reader.read(call.document, required)
    return read or problem(422, "validation failed", call.request.path, reader.complaints)


def _is_custom_field(call: Call, number: int) -> bool:
    form = call.space.forms.by_id(number)
    return form is not None and form.type == "custom_fields"


def _success(call: Call, data: object) -> Answer:
    call.entry.outcome = "read"
    return Answer(200, orjson.dumps({"status": "success", "data": data}))


ROUTES = (Route("POST", "/search", "search", 1, search), Route("POST", "/kpi", "kpi", 1, kpi))
