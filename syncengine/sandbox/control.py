"""The sandbox's own routes under `/_sandbox/`: look at it, let its staff act, reset it.

They need no key, take no tokens, meet no faults and are not in the history. `?space=<group_id>` chooses the
space, the first without it.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from syncengine.sandbox.contact import Complaint, merge
from syncengine.sandbox.openapi import document
from syncengine.sandbox.orders import contact_complaints, order_complaints
from syncengine.sandbox.space import Space
from syncengine.sandbox.spaces import Spaces
from syncengine.sandbox.staff import CannotActError
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

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces
        self.routes: dict[str, dict[str, Callable[[Request, Space], object]]] = {
            "stats": {"GET": self._stats},
            "contacts": {"GET": self._contacts, "POST": self._put, "DELETE": self._delete},
            "forms": {"GET": self._forms},
            "history": {"GET": self._history},
            "openapi.json": {"GET": self._openapi},
            "reset": {"POST": self._reset},
            "settle": {"POST": self._settle},
            "staff": {"GET": self._acts, "POST": self._act},
        }

    def answer(self, request: Request) -> Answer:
        """Return the answer: 200 with JSON, or a problem."""
        methods = self.routes.get(request.path.removeprefix(PREFIX))
        if methods is None:
            return problem(404, "no such route", request.path)
        act = methods.get(request.method)
        if act is None:
            allow = f"Allow: {', '.join(methods)}\r\n"
            return problem(405, f"{request.method} is not allowed here", request.path, lines=allow)
        self._spaces.apply(time.monotonic())
        try:
            return Answer(200, orjson.dumps(act(request, self._space(request))))
        except _Refusal as refusal:
            return problem(refusal.status, str(refusal), request.path, refusal.complaints)
        except CannotActError as error:
            return problem(error.status, str(error), request.path)

    def _space(self, request: Request) -> Space:
        query = dict(parse_qsl(request.query))
        if "space" not in query:
            return self._spaces.first
        space = self._spaces.space(_number(query, "space", 0))
        if space is None:
            raise _Refusal(404, f"there is no space {query['space']}")
        return space

    def _stats(self, _: Request, space: Space) -> object:
        return space.stats.as_json() | {"contacts": space.book.count(), "queued": len(space.pending)}

    def _contacts(self, request: Request, space: Space) -> object:
        query = dict(parse_qsl(request.query))
        offset, limit = _number(query, "offset", 0), _number(query, "limit", _PAGE, _MOST)
        mail = space.book.fold(query["mail"]) if "mail" in query else None
        rows = space.book.contacts(offset, limit + 1, mail)
        return {"contacts": rows[:limit], "next": offset + limit if len(rows) > limit else None}

    def _forms(self, _: Request, space: Space) -> object:
        return {"forms": list(space.forms), "digest": space.forms.digest}

    def _openapi(self, _: Request, space: Space) -> object:
        return document(space.options)

    def _history(self, request: Request, space: Space) -> object:
        query = dict(parse_qsl(request.query))
        after, limit = _number(query, "after", 0), _number(query, "limit", _PAGE, _MOST)
        rows = space.book.history(after, limit + 1)
        return {"requests": rows[:limit], "next": rows[limit - 1]["seq"] if len(rows) > limit else None}

    def _reset(self, _: Request, space: Space) -> object:
        self._spaces.reset(space)
        return {"status": "success"}

    def _settle(self, _: Request, space: Space) -> object:
        return {"applied": space.pending.apply(float("inf"))}

    def _put(self, request: Request, space: Space) -> object:
        book, now = space.book, time.time()
        forms, unknowns = space.forms, space.options.unknowns
        people = _member(request, "contacts")
        if not isinstance(people, list):
            raise _Refusal(422, "contacts must be an array of objects")
        _refuse(
            complaint
            for number, fields in enumerate(people)
            for complaint in contact_complaints(fields, f"body.contacts[{number}]", forms, unknowns)
        )
        ids = []
        for number, fields in enumerate(people):
            stored = book.stored(fields["id"]) if fields.get("id") else None
            if fields.get("id") and stored is None:
                raise _Refusal(404, f"contacts[{number}]: no contact has id {fields['id']}")
            if stored is None:
                ids.append(book.create(merge({}, fields, forms, unknowns, now), now))
            else:
                merged = merge(stored.fields, fields, forms, unknowns, now)
                book.update(stored.id, merged, now, by_staff=True)
                ids.append(stored.id)
        return {"ids": ids}

    def _delete(self, request: Request, space: Space) -> object:
        number = _number(dict(parse_qsl(request.query)), "id", 0)
        if not space.book.delete(number):
            raise _Refusal(404, f"no contact has id {number}")
        return {"status": "success"}

    def _acts(self, request: Request, space: Space) -> object:
        query = dict(parse_qsl(request.query))
        after, limit = _number(query, "after", 0), _number(query, "limit", _PAGE, _MOST)
        rows = self._spaces.staff(space).acts(after, limit + 1)
        return {"acts": rows[:limit], "next": rows[limit - 1]["seq"] if len(rows) > limit else None}

    def _act(self, request: Request, space: Space) -> object:
        act = _member(request, "act")
        order = orjson.loads(request.body)
        _refuse(order_complaints(order, space.forms, space.options.unknowns))
        return self._spaces.staff(space).act(act, order)


def _member(request: Request, name: str) -> Any:
    """Return a member that the body, a JSON object, must have."""
    try:
        return orjson.loads(request.body)[name]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise _Refusal(400, f"the body must be an object with {name}") from None


def _refuse(complaints: Iterable[Complaint]) -> None:
    found = list(complaints)
    if found:
        raise _Refusal(422, "validation failed", found)


def _number(query: dict[str, str], name: str, default: int, most: int = 2**62) -> int:
    text = query.get(name, str(default))
    if (
        not (text.isascii() and text.isdigit())
        or int(text[:20]) > most
        or (name == "limit" and int(text) < 1)
    ):
        raise _Refusal(400, f"{name} must be a whole number of at most {most}")
    return int(text)
