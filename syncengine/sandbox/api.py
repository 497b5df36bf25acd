"""Qomon's side of the wire: routes, key, tokens, faults, and the upsert.

Unknown routes and methods are refused first, then a wrong key; neither costs a token. A request that finds
no token is answered 429 and takes none. Whatever comes after that costs its token, a 422 too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from syncengine.sandbox.book import Entry
from syncengine.sandbox.contact import Complaint, complaints
from syncengine.sandbox.disturbing import disturbed, lets_through
from syncengine.sandbox.faults import Fault
from syncengine.sandbox.space import Space
from syncengine.sandbox.wire import Answer, Request, problem

_UNREAD = object()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route's name in faults, stats and history, its price in tokens, and what it does."""

    name: str
    cost: int
    act: Callable[[Request, Any, Entry, Fault | None], Answer]


class Api:
    """Answers every request that is not the sandbox's own; `wake` is called when an upsert is queued."""

    def __init__(self, space: Space, wake: Callable[[], None]) -> None:
        self._space = space
        self._wake = wake
        self._routes: dict[str, dict[str, Endpoint]] = {
            "/contacts/upsert": {"POST": Endpoint("upsert", 1, self._upsert)},
        }

    def answer(self, request: Request) -> Answer:
        """Return the answer and put the request into history and stats."""
        space = self._space
        methods = self._routes.get(request.path, {})
        endpoint = methods.get(request.method)
        name = endpoint.name if endpoint else next((other.name for other in methods.values()), "unknown")
        entry = Entry(space.next_seq(), time.time(), name, None, None, len(request.body))
        if request.broken:
            answer = problem(request.broken, "the request cannot be read", request.path)
        elif not methods:
            answer = problem(404, "no such route", request.path)
        elif endpoint is None:
            allow = f"Allow: {', '.join(methods)}\r\n"
            answer = problem(405, f"{request.method} is not allowed here", request.path, lines=allow)
        else:
            answer = self._routed(request, endpoint, entry)
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

    def _routed(self, request: Request, endpoint: Endpoint, entry: Entry) -> Answer:
        space = self._space
        try:
            document = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            document = _UNREAD
        fields = document.get("data") if isinstance(document, dict) else None
        if isinstance(fields, dict):
            entry.body = request.body
        if space.is_revoked or request.authorization != f"Bearer {space.key}":
            entry.outcome = "unauthorized"
            return _unauthorized(request)
        if not space.bucket.has(endpoint.cost):
            entry.outcome = "throttled"
            wait = space.options.retry_after
            lines = space.bucket.headers(0) + (f"Retry-After: {wait}\r\n" if wait else "")
            return problem(429, "rate limit exceeded", request.path, lines=lines)
        fault = space.faults.draw(endpoint.name, fields if isinstance(fields, dict) else {})
        if fault is None:
            answer = endpoint.act(request, document, entry, None)
            answer.lines += self._charge(endpoint.cost)
            return answer
        space.stats.faults[fault.kind] += 1
        entry.fault = fault.kind
        return self._faulty(fault, request, endpoint, document, entry)

    def _charge(self, cost: int) -> str:
        self._space.bucket.take(cost)
        self._space.stats.tokens += cost
        return self._space.bucket.headers(cost)

    def _faulty(
        self, fault: Fault, request: Request, endpoint: Endpoint, document: Any, entry: Entry
    ) -> Answer:
        """Answer a request that a fault has hit; what ends before the bucket costs nothing."""
        if lets_through(fault):
            answer = endpoint.act(request, document, entry, fault)
        else:
            entry.outcome = "fault"
            answer = Answer(202)
        if fault.kind == "reset_before":
            return Answer(202, manner="reset")
        if fault.kind == "revoke":
            self._space.is_revoked = True
            return _unauthorized(request)
        is_free = fault.kind == "status" and fault.parameters["status"] in (401, 429)
        lines = self._charge(0 if is_free else endpoint.cost)
        return disturbed(fault, request.path, answer, lines)

    def _upsert(self, request: Request, document: Any, entry: Entry, fault: Fault | None) -> Answer:
        if document is _UNREAD:
            return problem(400, "the body is not JSON", request.path)
        found = _envelope_complaints(document)
        if found:
            return problem(422, "validation failed", request.path, found)
        late = fault.parameters["seconds"] if fault and fault.kind == "late" else 0.0
        self._space.pending.add(entry, time.monotonic() + self._space.options.lag + late)
        self._wake()
        return Answer(202)


def _unauthorized(request: Request) -> Answer:
    return problem(
        401, "the access token is missing or not valid", request.path, lines="WWW-Authenticate: Bearer\r\n"
    )


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
