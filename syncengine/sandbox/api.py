"""Qomon's side of the wire: routes, keys, tokens, faults; what a route does lies in `endpoints`.

Unknown routes and methods are refused first, then a wrong key; neither costs a token. A request that finds
no token is answered 429 and takes none. Whatever comes after that costs its tokens, a 422 too.
"""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from syncengine.sandbox.book import Entry
from syncengine.sandbox.disturbing import disturbed, lets_through
from syncengine.sandbox.endpoints import contacts, forms, search, upsert
from syncengine.sandbox.endpoints.call import UNREAD, Call, Route
from syncengine.sandbox.faults import Fault
from syncengine.sandbox.index import Index
from syncengine.sandbox.spaces import Key, Spaces
from syncengine.sandbox.wire import Answer, Request, problem

ROUTES = upsert.ROUTES + contacts.ROUTES + search.ROUTES + forms.ROUTES


class Api:
    """Answers every request that is not the sandbox's own."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces
        self._costs = spaces.first.options.costs
        for space in spaces:
            Index(space, time.time()).open()
        self._whole: dict[str, dict[str, Route]] = {}
        self._parted: dict[tuple[str, ...], dict[str, Route]] = {}
        for route in ROUTES:
            if "{" in route.path:
                self._parted.setdefault(tuple(route.path.split("/")), {})[route.method] = route
            else:
                self._whole.setdefault(route.path, {})[route.method] = route

    def answer(self, request: Request) -> Answer:
        """Return the answer and put the request into history and stats."""
        key = self._spaces.key(request.authorization)
        space = key.space if key else self._spaces.first
        methods, parts = self._find(request.path)
        route = methods.get(request.method)
        name = route.name if route else next((other.name for other in methods.values()), "unknown")
        entry = Entry(space.next_seq(), time.time(), name, None, None, len(request.body))
        if request.broken:
            answer = problem(request.broken, "the request cannot be read", request.path)
        elif not methods:
            answer = problem(404, "no such route", request.path)
        elif route is None:
            allow = f"Allow: {', '.join(methods)}\r\n"
            answer = problem(405, f"{request.method} is not allowed here", request.path, lines=allow)
        else:
            answer = self._routed(request, route, parts, key, entry)
        entry.status = answer.status_sent
        stats = space.stats
        stats.requests[name] += 1
        stats.statuses[str(entry.status or "none")] += 1
        stats.outcomes[entry.outcome] += 1
        if name == "upsert":
            stats.first_upsert = stats.first_upsert or entry.at
            stats.last_upsert = entry.at
        space.book.record(entry)
        answer.delay += space.options.latency
        return answer

    def _find(self, path: str) -> tuple[Mapping[str, Route], Mapping[str, str]]:
        """Return the routes of a path by method, and the variable parts of the path."""
        methods = self._whole.get(path)
        if methods is not None:
            return methods, {}
        segments = path.split("/")
        for pattern, found in self._parted.items():
            if len(pattern) == len(segments) and all(
                wanted == given or (wanted.startswith("{") and given)
                for wanted, given in zip(pattern, segments, strict=True)
            ):
                pairs = zip(pattern, segments, strict=True)
                return found, {name[1:-1]: text for name, text in pairs if name.startswith("{")}
        return {}, {}

    def _routed(
        self,
        request: Request,
        route: Route,
        parts: Mapping[str, str],
        key: Key | None,
        entry: Entry,
    ) -> Answer:
        document = _read(request.body)
        fields = document.get("data") if isinstance(document, dict) else None
        if isinstance(fields, dict):
            entry.body = request.body
        if key is None or key.is_revoked:
            entry.outcome = "unauthorized"
            return _unauthorized(request)
        space = key.space
        cost = self._costs.get(route.name, route.cost)
        if not key.bucket.has(cost):
            entry.outcome = "throttled"
            wait = space.options.retry_after
            lines = key.bucket.headers(0) + (f"Retry-After: {wait}\r\n" if wait else "")
            return problem(429, "rate limit exceeded", request.path, lines=lines)
        fault = space.faults.draw(route.name, _contact(route, fields))
        call = Call(space, request, document, parts, entry, fault)
        if fault is None:
            answer = route.act(call)
            answer.lines += _charge(key, cost)
            return answer
        space.stats.faults[fault.kind] += 1
        entry.fault = fault.kind
        return _faulty(fault, call, route, key, cost)


def _read(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return UNREAD


def _contact(route: Route, data: Any) -> dict[str, Any] | None:
    """Return the contact a request sends, which its endpoint may still refuse; None when it sends none."""
    if route.name in ("create", "replace") and isinstance(data, dict):
        data = data.get("contact")
    elif route.name != "upsert":
        return None
    return data if isinstance(data, dict) else None


def _charge(key: Key, cost: int) -> str:
    key.bucket.take(cost)
    key.space.stats.tokens += cost
    return key.bucket.headers(cost)


def _faulty(fault: Fault, call: Call, route: Route, key: Key, cost: int) -> Answer:
    """Answer a request that a fault has hit; what ends before the bucket costs nothing."""
    if lets_through(fault):
        answer = route.act(call)
    else:
        call.entry.outcome = "fault"
        answer = Answer(202)
    if fault.kind == "reset_before":
        return Answer(202, manner="reset")
    if fault.kind == "revoke":
        key.is_revoked = True
        return _unauthorized(call.request)
    is_free = fault.kind == "status" and fault.parameters["status"] in (401, 429)
    lines = _charge(key, 0 if is_free else cost)
    return disturbed(fault, call.request.path, answer, lines)


def _unauthorized(request: Request) -> Answer:
    return problem(
        401, "the access token is missing or not valid", request.path, lines="WWW-Authenticate: Bearer\r\n"
    )
