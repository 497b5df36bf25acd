"""An OpenAPI 3.1 document of what the sandbox serves as Qomon: every route, and no other.

Method, path and price come from the routes themselves, the rest from `OPERATIONS`. The sandbox's own routes
under `/_sandbox/` are no part of Qomon's API and not in it.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from syncengine.sandbox.api import ROUTES
from syncengine.sandbox.endpoints.call import Route
from syncengine.sandbox.form import TYPES
from syncengine.sandbox.options import SandboxOptions
from syncengine.sandbox.schemas import SCHEMAS, Schema


class Operation(NamedTuple):
    """What a route takes and answers: names of schemas, the status of a success, those of its refusals.

    401 and 429 are refusals of every route.
    """

    summary: str
    source: str
    answers: tuple[str, ...] = ()
    body: str = ""
    status: int = 200
    refusals: tuple[int, ...] = ()


OPERATIONS = {
    "upsert": Operation(
        "Queue a contact to be created or updated; what becomes of it later is told nowhere",
        'Qomon API reference, "Upsert a contact"',
        body="Upsert",
        status=202,
        refusals=(400, 422),
    ),
    "create": Operation(
        "Create a contact, whoever else there is",
        'Qomon API reference, "Create a contact"',
        ("OneContact",),
        body="Write",
        refusals=(400, 422),
    ),
    "get": Operation(
        "One contact",
        'Qomon API reference, "Create a contact", for its shape',
        ("OneContact",),
        refusals=(404, 422),
    ),
    "replace": Operation(
        "Replace all of a contact: what is left out is cleared",
        'Qomon API reference, "Update contact by id"',
        ("OneContact",),
        body="Write",
        refusals=(400, 404, 422),
    ),
    "delete": Operation(
        "Delete a contact for good",
        "Qomon's index of its documentation names it, no page describes it",
        ("Success",),
        refusals=(404, 422),
    ),
    "search": Operation(
        "A page of contacts, without a total",
        'Qomon guide, "Search overview"',
        ("Contacts",),
        body="Search",
        refusals=(400, 422),
    ),
    "kpi": Operation(
        "How many contacts a search finds",
        'Qomon guide, "Search overview"',
        ("Total",),
        body="Kpi",
        refusals=(400, 422),
    ),
    "forms": Operation("The forms of one type", 'Qomon guide, "Forms"', ("Forms",), refusals=(422,)),
    "form": Operation(
        "One form by its number; with a type in its place all forms of the type, which is deprecated",
        'Qomon guide, "Forms"',
        ("OneForm", "Forms"),
        refusals=(404, 422),
    ),
}
"""By the name of the route."""

_NUMBER: Schema = {"type": "integer", "minimum": 0}
_PARTS: dict[tuple[str, str], Schema] = {
    ("/contacts/{id}", "id"): _NUMBER,
    ("/v1/forms/type/{type}", "type"): {"enum": list(TYPES)},
    ("/forms/{id}", "id"): {"anyOf": [_NUMBER, {"enum": list(TYPES)}]},
}
_LIMITS = ("Limit", "Remaining", "Cost")
_NO_TOKENS = (401,)  # refused before the bucket is looked at: no headers of it


def document(options: SandboxOptions) -> dict[str, Any]:
    """Return the document of a sandbox with these options: its prices, and its name of the reset header."""
    paths: dict[str, dict[str, Any]] = {}
    names = (*_LIMITS, options.unknowns.reset_header)
    for route in ROUTES:
        cost = options.costs.get(route.name, route.cost)
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, cost, names)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "A local Qomon",
            "version": "1",
            "summary": "What syncengine's sandbox serves of Qomon's public REST API.",
            "description": (
                "Made from public documentation and observation, not by Qomon. Where neither says anything "
                "the sandbox makes a choice; its README lists them."
            ),
        },
        "servers": [{"url": "/", "description": "the sandbox itself"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "headers": _headers(options.unknowns.reset_header),
            "schemas": SCHEMAS,
        },
    }


def _operation(route: Route, cost: int, headers: Sequence[str]) -> dict[str, Any]:
    told = OPERATIONS[route.name]
    answers = [{"$ref": f"#/components/schemas/{name}"} for name in told.answers]
    success: dict[str, Any] = {"description": HTTPStatus(told.status).phrase, "headers": _named(headers)}
    if answers:
        schema = answers[0] if len(answers) == 1 else {"oneOf": answers}
        success["content"] = {"application/json": {"schema": schema}}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": told.summary,
        "description": f"Source: Qomon {told.source}."
        if told.source[0] != "n"
        else f"Source: {told.source}.",
        "x-token-cost": cost,
        "responses": {
            str(told.status): success,
            **{str(status): _refusal(status, headers) for status in sorted({*told.refusals, 401, 429})},
        },
    }
    parts = re.findall(r"{(\w+)}", route.path)
    if parts:
        operation["parameters"] = [
            {"name": part, "in": "path", "required": True, "schema": _PARTS[route.path, part]}
            for part in parts
        ]
    if told.body:
        schema = {"$ref": f"#/components/schemas/{told.body}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _refusal(status: int, headers: Sequence[str]) -> dict[str, Any]:
    refusal: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status not in _NO_TOKENS:
        refusal["headers"] = _named(headers)
    return refusal


def _named(headers: Sequence[str]) -> dict[str, Any]:
    return {f"X-Ratelimit-{name}": {"$ref": f"#/components/headers/{name}"} for name in headers}


def _headers(reset: str) -> dict[str, Any]:
    whole: Schema = {"type": "integer", "minimum": 0}
    told: dict[str, tuple[str, Schema]] = {
        "Limit": (
            "tokens in a full bucket, and tokens per second",
            {"type": "string", "examples": ["burst:100;rate:10.0"]},
        ),
        "Remaining": ("tokens left", whole),
        "Cost": ("tokens this request took", whole),
        reset: ("seconds until the bucket is full", whole),
    }
    return {
        name: {"description": description, "required": True, "schema": schema}
        for name, (description, schema) in told.items()
    }
