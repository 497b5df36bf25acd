"""The sandbox's own routes under `/_sandbox/`: look at it, edit it as staff would, reset it.

They need no key, take no tokens, meet no faults and are not in the history.
"""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from syncengine.sandbox.contact import Complaint, complaints, merge, unknown_field
from syncengine.sandbox.matching import fold
from syncengine.sandbox.space import Space
from syncengine.sandbox.wire import Answer, Request, problem

PREFIX = "/_sandbox/"
_PAGE = 1000  # rows of an answer when no limit is asked for
_MOST = 10_000


class _Refusal(Exception):  # noqa: N818 - it carries an answer, not an error of ours
    def __init__(self, status: int, detail: str, found: list[Complaint] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.complaints = found or []


class Control:
    """Answers the requests under `/_sandbox/`; whatever is due is applied before anything is shown."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._routes: dict[str, dict[str, Callable[[Request], object]]] = {
            "stats": {"GET": self._stats},
            "contacts": {"GET": self._contacts, "POST": self._put, "DELETE": self._delete},
            "history": {"GET": self._history},
            "reset": {"POST": self._reset},
            "settle": {"POST": self._settle},
        }

    def answer(self, request: Request) -> Answer:
        """Return the answer: 200 with JSON, or a problem."""
        methods = self._routes.get(request.path.removeprefix(PREFIX))
        if methods is None:
            return problem(404, "no such route", request.path)
        act = methods.get(request.method)
        if act is None:
            allow = f"Allow: {', '.join(methods)}\r\n"
            return problem(405, f"{request.method} is not allowed here", request.path, lines=allow)
        self._space.pending.apply(time.monotonic())
        try:
            return Answer(200, orjson.dumps(act(request)))
        except _Refusal as refusal:
            return problem(refusal.status, str(refusal), request.path, refusal.complaints)

    def _stats(self, _: Request) -> object:
        return self._space.stats.as_json() | {
            "contacts": self._space.book.count(),
            "queued": len(self._space.pending),
        }

    def _contacts(self, request: Request) -> object:
        query = dict(parse_qsl(request.query))
        offset, limit = _number(query, "offset", 0), _number(query, "limit", _PAGE, _MOST)
        mail = fold(query["mail"]) if "mail" in query else None
        rows = self._space.book.contacts(offset, limit + 1, mail)
        return {"contacts": rows[:limit], "next": offset + limit if len(rows) > limit else None}

    def _history(self, request: Request) -> object:
        query = dict(parse_qsl(request.query))
        after, limit = _number(query, "after", 0), _number(query, "limit", _PAGE, _MOST)
        rows = self._space.book.history(after, limit + 1)
        return {"requests": rows[:limit], "next": rows[limit - 1]["seq"] if len(rows) > limit else None}

    def _reset(self, _: Request) -> object:
        self._space.reset()
        return {"status": "success"}

    def _settle(self, _: Request) -> object:
        return {"applied": self._space.pending.apply(float("inf"))}

    def _put(self, request: Request) -> object:
        book, now = self._space.book, time.time()
        people = _people(request)
        ids = []
        for number, fields in enumerate(people):
            stored = book.by_id(fields["id"]) if fields.get("id") else None
            if fields.get("id") and stored is None:
                raise _Refusal(404, f"contacts[{number}]: no contact has id {fields['id']}")
            if stored is None:
                ids.append(book.create(merge({}, fields), now))
            else:
                book.update(stored[0], merge(stored[1], fields), now, by_staff=True)
                ids.append(stored[0])
        return {"ids": ids}

    def _delete(self, request: Request) -> object:
        number = _number(dict(parse_qsl(request.query)), "id", 0)
        if not self._space.book.delete(number):
            raise _Refusal(404, f"no contact has id {number}")
        return {"status": "success"}


def _people(request: Request) -> list[dict[str, Any]]:
    try:
        people = orjson.loads(request.body)["contacts"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise _Refusal(400, 'the body must be {"contacts": [...]}') from None
    if not isinstance(people, list) or not all(isinstance(fields, dict) for fields in people):
        raise _Refusal(422, "contacts must be an array of objects")
    found: list[Complaint] = []
    for number, fields in enumerate(people):
        found += complaints(fields, f"body.contacts[{number}]")
        if not found and unknown_field(fields) is not None:
            found.append(Complaint(f"body.contacts[{number}].{unknown_field(fields)}", "unknown field", None))
    if found:
        raise _Refusal(422, "validation failed", found)
    return people


def _number(query: dict[str, str], name: str, default: int, most: int = 2**62) -> int:
    text = query.get(name, str(default))
    if (
        not (text.isascii() and text.isdigit())
        or int(text[:20]) > most
        or (name == "limit" and int(text) < 1)
    ):
        raise _Refusal(400, f"{name} must be a whole number of at most {most}")
    return int(text)
