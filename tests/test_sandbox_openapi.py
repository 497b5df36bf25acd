"""The sandbox's OpenAPI document: valid, complete, and true of what is really answered."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import OpenAPIV31SpecValidator
from test_sandbox_client import Client, Reply, running

from syncengine.sandbox.api import ROUTES
from syncengine.sandbox.openapi import OPERATIONS
from syncengine.sandbox.unknowns import Unknowns

ADA = {
    "firstname": "Ada",
    "surname": "Roux",
    "mail": "ada@example.org",
    "birthdate": "1990-05-01",
    "address": {"city": "Lyon", "postalcode": "69003"},
    "tags": [{"name": "member"}],
    "notes": [{"content": "called", "pinned": True}],
    "black_list": True,
    "custom_fields": [{"label": "Size", "value": "S"}, {"label": "Job", "value": "baker"}],
    "consents": [{"label": "Newsletter", "value": "refus"}],
}
WRITE = {
    "firstname": "Ada",
    "surname": "Roux",
    "birthdate": "1990-05-01T00:00:00Z",
    "birth_city": "Lyon",
    "address": {"city": "Lyon", "housenumber": "7"},
    "tags": [{"name": "member", "color": "#fff", "appearance_count": 3}],
    "notes": [{"data": "called"}],
    "custom_fields": [{"form_id": 1, "form_ref_id": 1001, "data": "baker"}],
    "action_ids": [4],
    "user_contact_id": 5,
    "phone_invalid": True,
}


def search(query: object = None, **more: object) -> dict[str, Any]:
    asked = {"query": query or {"$all": []}, "per_page": 10} | more
    return {"data": {"advanced_search": asked}}


def condition(**content: object) -> dict[str, Any]:
    return {"$all": [{"$at_least_one": [{"$condition": content}]}]}


class Document:
    """The document of a sandbox, and whether what it says is so."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def errors(self, schema: dict[str, Any], instance: object) -> list[str]:
        rooted = {"components": self.content["components"]} | schema
        checker = OAS31Validator(rooted, format_checker=oas31_format_checker)
        return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(instance)]

    def operation(self, method: str, path: str) -> dict[str, Any]:
        for pattern, methods in self.content["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), path) and method.lower() in methods:
                return dict(methods[method.lower()])
        raise AssertionError(f"{method} {path} is not in the document")

    def check(self, method: str, path: str, reply: Reply) -> None:
        """Hold an answer against what the document says of its status."""
        told = self.operation(method, path)["responses"][str(reply.status)]
        for name, header in told.get("headers", {}).items():
            schema = self.content["components"]["headers"][header["$ref"].rpartition("/")[2]]["schema"]
            text = reply.headers[name.lower()]
            assert self.errors(schema, int(text) if schema["type"] == "integer" else text) == []
        if "content" not in told:
            assert reply.body == b""
            return
        (kind, media), *_ = told["content"].items()
        assert reply.headers["content-type"] == kind
        assert self.errors(media["schema"], reply.content) == []

    def body_errors(self, method: str, path: str, body: object) -> list[str]:
        content = self.operation(method, path)["requestBody"]["content"]
        return self.errors(content["application/json"]["schema"], body)


async def document(client: Client) -> Document:
    reply = await client.send("GET", "/_sandbox/openapi.json")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    return Document(reply.content)


async def test_the_document_is_valid_openapi() -> None:
    async with running() as client:
        told = (await document(client)).content
    assert told["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(told).validate()
    for schema in told["components"]["schemas"].values():
        OAS31Validator.check_schema(schema)


async def test_the_document_holds_every_route_and_no_other() -> None:
    async with running() as client:
        told = (await document(client)).content
    listed = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert listed == {(route.method, route.path) for route in ROUTES}
    assert {route.name for route in ROUTES} == OPERATIONS.keys()


async def test_every_schema_is_used_and_every_reference_leads_somewhere() -> None:
    async with running() as client:
        told = (await document(client)).content
    used = set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(told)))
    there = {f"{kind}/{name}" for kind in ("schemas", "headers") for name in told["components"][kind]}
    assert used == there


async def test_prices_and_the_reset_header_are_those_of_this_sandbox() -> None:
    async with running(costs={"search": 3}, unknowns=Unknowns(reset_header="Reset")) as client:
        told = await document(client)
        for route in ROUTES:
            cost = 3 if route.name == "search" else route.cost
            assert told.operation(route.method, route.path)["x-token-cost"] == cost
        reply = await client.send("POST", "/search", search())
        assert reply.headers["x-ratelimit-cost"] == "3"
        told.check("POST", "/search", reply)
        assert "X-Ratelimit-Reset" in told.operation("POST", "/search")["responses"]["200"]["headers"]


# What is really answered

REQUESTS: tuple[tuple[str, str, object, int], ...] = (
    ("POST", "/contacts/upsert", {"kind": "contact", "data": ADA}, 202),
    ("POST", "/contacts/upsert", {"kind": "contact", "data": {"phone": 7}}, 422),
    ("POST", "/contacts/upsert", {"kind": "lead"}, 422),
    ("POST", "/contacts", {"data": {"contact": WRITE}}, 200),
    ("POST", "/contacts", {"data": {"contact": {"shoe": 1}}}, 422),
    ("GET", "/contacts/1", None, 200),
    ("GET", "/contacts/999999", None, 404),
    ("GET", "/contacts/one", None, 422),
    ("PATCH", "/contacts/2", {"data": {"contact": WRITE}}, 200),
    ("PATCH", "/contacts/999999", {"data": {"contact": WRITE}}, 404),
    ("PATCH", "/contacts/2", {"data": {}}, 422),
    ("DELETE", "/contacts/3", None, 200),
    ("DELETE", "/contacts/3", None, 404),
    ("DELETE", "/contacts/one", None, 422),
    ("POST", "/search", search(per_page=1000), 200),
    ("POST", "/search", search(per_page=1000, include_interactions=True, sort_attr="city"), 200),
    ("POST", "/search", search(condition(attr="mail", ope="eql", value="nobody@x.example")), 200),
    ("POST", "/search", search(condition(attr="shoe", ope="eql", value="7")), 422),
    ("POST", "/search", search({"$all": [{"$condition": {}}]}), 422),
    ("POST", "/kpi", {"data": {"advanced_search": {"query": {"$all": []}}}}, 200),
    ("POST", "/kpi", {}, 422),
    *(
        ("GET", f"{path}/{name}", None, 200)
        for path in ("/v1/forms/type", "/forms")
        for name in ("consent", "survey", "level_of_support", "custom_fields", "presence_status", "tasks")
    ),
    ("GET", "/v1/forms/type/frob", None, 422),
    ("GET", "/forms/1", None, 200),
    ("GET", "/forms/999", None, 404),
    ("GET", "/forms/frob", None, 422),
)


async def test_every_real_answer_is_as_the_document_says() -> None:
    async with running(contacts=300, search_lag=0.0) as client:
        told = await document(client)
        await client.accepted(ADA, ADA | {"mail": "b@example.org", "firstname": "Bo"})
        await client.send("POST", "/_sandbox/staff", {"act": "edit", "id": 2, "set": {"phone": "7"}})
        statuses = set()
        for method, path, body, status in REQUESTS:
            reply = await client.send(method, path, body)
            assert reply.status == status, (method, path, reply)
            told.check(method, path, reply)
            statuses.add((told.operation(method, path)["operationId"], status))
        for method, path in {(method, path) for method, path, _, _ in REQUESTS}:
            reply = await client.send(method, path, None, "a wrong key")
            assert reply.status == 401
            told.check(method, path, reply)
            if method in ("POST", "PATCH") and path != "/contacts/999999":
                reply = await client.raw(client.request(method, path, b"{"))
                assert reply.status == 400, (method, path, reply)
                told.check(method, path, reply)
                statuses.add((told.operation(method, path)["operationId"], 400))
        rows = (await client.send("POST", "/search", search(per_page=1000))).content["data"]["contacts"]
        for name in ("address", "tags", "notes", "formdatas", "custom_fields", "action_ids"):
            assert any(row[name] for row in rows), f"nobody has {name}"
            assert any(row[name] is None for row in rows) or name == "address", f"everybody has {name}"
        listed = {(name, int(status)) for name, status in responses(told)}
        assert statuses == {(name, status) for name, status in listed if status not in (401, 429)}


def responses(told: Document) -> Iterator[tuple[str, str]]:
    for methods in told.content["paths"].values():
        for operation in methods.values():
            for status in operation["responses"]:
                yield operation["operationId"], status


async def test_an_answer_over_the_limit_is_as_the_document_says() -> None:
    async with running(burst=1, rate=0.001) as client:
        told = await document(client)
        await client.upsert(ADA)
        for method, path, body, _ in REQUESTS:
            reply = await client.send(method, path, body)
            assert reply.status == 429
            told.check(method, path, reply)


async def test_the_check_of_answers_can_fail() -> None:
    async with running(contacts=1) as client:
        told = await document(client)
        reply = await client.send("GET", "/contacts/1")
    told.check("GET", "/contacts/1", reply)
    for change in ({"shoe": 7}, {"UpdatedAt": "today"}, {"phone": None}):
        content = {"status": "success", "data": {"contact": reply.content["data"]["contact"] | change}}
        with pytest.raises(AssertionError):
            told.check("GET", "/contacts/1", replace(reply, body=json.dumps(content).encode()))
    without = {name: text for name, text in reply.headers.items() if name != "x-ratelimit-cost"}
    with pytest.raises(KeyError):
        told.check("GET", "/contacts/1", replace(reply, headers=without))


@pytest.mark.parametrize(
    ("method", "path", "body", "is_right"),
    [(method, path, body, status < 400) for method, path, body, status in REQUESTS if body and status != 404],
)
async def test_bodies_are_right_for_the_document_where_they_are_for_the_sandbox(
    method: str, path: str, body: object, is_right: bool
) -> None:
    async with running() as client:
        told = await document(client)
    assert (told.body_errors(method, path, body) == []) == is_right
