"""The JSON schemas of what the sandbox takes and gives as Qomon, for its OpenAPI document.

Sources: Qomon API reference, "Upsert a contact", "Create a contact" and "Update contact by id", and guides,
"Search overview" and "Forms". The names of the schemas are ours.
"""

from collections.abc import Iterable
from typing import Any

from syncengine.sandbox.attributes import ATTRIBUTES, OF_FORMS
from syncengine.sandbox.contact import ADDRESS_PARTS, ADVANCED, LARGEST_ID, TEXTS
from syncengine.sandbox.form import WIDGETS
from syncengine.sandbox.operators import OPERATORS
from syncengine.sandbox.search import MOST_PER_PAGE, SORT_KEYS

Schema = dict[str, Any]

_WRITTEN = ("firstname", "surname", "married_name", "mail", "phone", "mobile", "nationality")
_BIRTH = ("birth_city", "birth_country", "birth_dept")


def _object(properties: Schema, *required: str, is_closed: bool = True, **more: object) -> Schema:
    made: Schema = {"type": "object", "properties": properties} | more
    if required:
        made["required"] = list(required)
    if is_closed:
        made["additionalProperties"] = False
    return made


def _shown(properties: Schema, description: str = "") -> Schema:
    """Return the schema of what is read: every member is always there."""
    more = {"description": description} if description else {}
    return _object(properties, *properties, is_closed=True, **more)


def _named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _texts_or_null(names: Iterable[str]) -> Schema:
    return dict.fromkeys(sorted(names), _NULLABLE_TEXT)


def _enveloped(name: str, schema: Schema) -> Schema:
    data = _shown({name: schema})
    return _shown({"status": {"const": "success"}, "data": data})


def _level(of: Schema, description: str) -> Schema:
    words = [_object({word: _list_of(of)}, word) for word in ("$all", "$at_least_one")]
    return {"description": description, "oneOf": words}


_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_ID: Schema = {"type": "integer", "minimum": 0, "maximum": LARGEST_ID}
_NULLABLE_TEXT: Schema = {"type": ["string", "null"]}
_NULLABLE_ID: Schema = {"type": ["integer", "null"], "minimum": 0, "maximum": LARGEST_ID}
_NULLABLE_FLAG: Schema = {"type": ["boolean", "null"]}
_NULLABLE_NUMBER: Schema = {"type": ["number", "null"]}
_MAIL: Schema = {"type": ["string", "null"], "format": "email"}

_UPSERT: dict[str, Schema] = {
    "Upsert": _object({"kind": {"const": "contact"}, "data": _named("UpsertContact")}, "kind", "data"),
    "UpsertContact": _object(
        _texts_or_null(TEXTS)
        | {
            "id": _NULLABLE_ID,
            "nationbuilderid": _NULLABLE_NUMBER,
            "mail": _MAIL,
            "age_category": _NULLABLE_NUMBER,
            "black_list": _NULLABLE_FLAG,
            "address": _or_null(
                _object(_texts_or_null(ADDRESS_PARTS) | {"id": _NULLABLE_ID}, is_closed=False)
            ),
            "tags": _or_null(_list_of(_object({"name": _TEXT}, "name"))),
            "notes": _or_null(
                _list_of(_object({"content": _NULLABLE_TEXT, "id": _NULLABLE_ID, "pinned": _NULLABLE_FLAG}))
            ),
        }
        | {kind: _or_null(_list_of(_named("UpsertAnswer"))) for kind in ADVANCED},
        is_closed=False,
        description=(
            "What is left out is kept. A further member, a form or an option that does not exist is accepted "
            "with 202; then the contact is dropped, whole and without a word."
        ),
    ),
    "UpsertAnswer": _object(
        {"id": _NULLABLE_ID, "label": _NULLABLE_TEXT, "value": _TEXT, "date": {}, "donedate": {}},
        "value",
        description=(
            "The form by its id, or by its label if that is unique; the value or the label of an option, or "
            "the text of a free form. A date is taken and not used."
        ),
    ),
}
_WRITE: dict[str, Schema] = {
    "Write": _object({"data": _object({"contact": _named("WriteContact")}, "contact")}, "data"),
    "WriteContact": _object(
        _texts_or_null((*_WRITTEN, *_BIRTH))
        | {
            "mail": _MAIL,
            "age_category": _NULLABLE_NUMBER,
            "birthdate": {"type": ["string", "null"], "format": "date-time"},
            "black_list": _NULLABLE_FLAG,
            "phone_invalid": _NULLABLE_FLAG,
            "mobile_invalid": _NULLABLE_FLAG,
            "user_contact_id": _NULLABLE_ID,
            "action_ids": _or_null(_list_of(_ID)),
            "address": _or_null(
                _object(_texts_or_null(ADDRESS_PARTS - {"citycode", "latitude", "longitude"}))
            ),
            "tags": _or_null(_list_of(_named("WriteTag"))),
            "notes": _or_null(_list_of(_named("WriteNote"))),
            "custom_fields": _or_null(_list_of(_named("WriteAnswer"))),
            "formdatas": _or_null(_list_of(_named("WriteAnswer"))),
        },
        description="Spelled otherwise than in the upsert. In a replace, what is left out is cleared.",
    ),
    "WriteTag": _object({"name": _TEXT, "color": _NULLABLE_TEXT, "appearance_count": _NULLABLE_ID}, "name"),
    "WriteNote": _object(
        {"data": _TEXT, "user": {"type": ["object", "null"]}}
        | dict.fromkeys(("pinned", "only_super_admin"), _NULLABLE_FLAG)
        | dict.fromkeys(("id", "contact_id", "group_id"), _NULLABLE_ID)
        | dict.fromkeys(("created_at", "updated_at"), _NULLABLE_TEXT),
        "data",
    ),
    "WriteAnswer": _object(
        {"form_id": _ID, "form_ref_id": _NULLABLE_ID, "survey_id": _NULLABLE_ID, "id": _NULLABLE_ID}
        | dict.fromkeys(("data", "date", "created_at", "updated_at", "deleted_at"), _NULLABLE_TEXT),
        "form_id",
        description="A choice by `form_ref_id`, else by its value in `data`; a free form takes a text there.",
    ),
}
_READ: dict[str, Schema] = {
    "Contact": _object(
        {
            "id": _ID,
            "group_id": _ID,
            "CreatedAt": _TIME,
            "UpdatedAt": _TIME,
            "lastchange": _TIME,
            "lastchangeuserid": _NULLABLE_ID,
            "birthdate": _NULLABLE_TEXT,
            "age_category": {"type": "number"},
            "black_list": _FLAG,
            "phone_invalid": _FLAG,
            "mobile_invalid": _FLAG,
            "user_contact_id": _ID,
            "address": _or_null(_named("Address")),
            "tags": _or_null(
                _list_of(_shown({"name": _TEXT, "color": _TEXT, "appearance_count": {"type": "integer"}}))
            ),
            "action_ids": _or_null(_list_of(_ID)),
            "notes": _or_null(
                _list_of(
                    _shown(
                        {"id": _ID, "data": _TEXT, "pinned": _FLAG, "created_at": _TIME}
                        | {"only_super_admin": _FLAG}
                    )
                )
            ),
            "formdatas": _or_null(_list_of(_named("Answer"))),
            "custom_fields": _or_null(_list_of(_named("Answer"))),
            "interactions": {
                "type": "null",
                "description": "Only when `include_interactions` asks for them.",
            },
        }
        | dict.fromkeys((*_WRITTEN, *_BIRTH, "gender", "external_id"), _TEXT),
    ),
    "Address": _shown(
        dict.fromkeys(sorted(ADDRESS_PARTS), _TEXT)
        | {"id": _ID, "location": _TEXT, "score": {"type": "number"}, "invalid": _FLAG}
    ),
    "Answer": _shown(
        {"id": _ID, "form_id": _ID, "form_ref_id": _ID, "data": _TEXT}
        | {"date": _TIME, "created_at": _TIME, "updated_at": _TIME, "deleted_at": _or_null(_TIME)},
        description="An answer to a form; one with `deleted_at` counts no more.",
    ),
    "OneContact": _enveloped("contact", _named("Contact")),
    "Contacts": _enveloped("contacts", _or_null(_list_of(_named("Contact")))),
    "Total": _enveloped("total", _ID),
    "Success": _shown({"status": {"const": "success"}}),
    "Form": _shown(
        {
            "id": _ID,
            "label": _TEXT,
            "type": {"enum": list(WIDGETS)},
            "refvalues": _list_of(_shown({"id": _ID, "form_id": _ID, "label": _TEXT, "value": _TEXT})),
        }
    ),
    "OneForm": _enveloped("form", _named("Form")),
    "Forms": _enveloped("forms", _or_null(_list_of(_named("Form")))),
}
_READ["Contact"]["required"] = [name for name in _READ["Contact"]["properties"] if name != "interactions"]
_PAGING: Schema = {
    "per_page": {"type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE},
    "page": {"type": "integer", "minimum": 0, "default": 0},
    "sort_attr": {"enum": [*SORT_KEYS, None]},
    "sort_asc": _FLAG,
    "include_interactions": _FLAG,
}
_TEXT_OR_TEXTS: Schema = {"anyOf": [_TEXT, _list_of(_TEXT), {"type": "null"}]}


def _asked(*required: str) -> Schema:
    search = _object({"query": _named("Query")} | _PAGING, *required)
    return _object({"data": _object({"advanced_search": search}, "advanced_search")}, "data")


_SEARCH: dict[str, Schema] = {
    "Search": _asked("query", "per_page"),
    "Kpi": _asked("query"),
    "Query": _level(_named("Group"), 'Exactly two levels; `{"$all": []}` finds everything.'),
    "Group": _level(_object({"$condition": _named("Condition")}, "$condition"), "The second level."),
    "Condition": _object(
        {
            "attr": {"enum": [*ATTRIBUTES, *OF_FORMS]},
            "ope": {"enum": list(OPERATORS)},
            "value": _TEXT_OR_TEXTS,
            "from": _NULLABLE_TEXT,
            "to": _NULLABLE_TEXT,
            "form_id": {"type": "integer"},
            "form_ref_ids": _list_of({"type": "integer"}),
        },
        "attr",
        "ope",
        description=(
            "`range` takes `from` and `to`; a condition on a form takes `form_id` and `form_ref_ids`. Dates "
            "take ISO 8601 or `now-1d/d` and its like."
        ),
    ),
}
_ERRORS: dict[str, Schema] = {
    "Problem": _shown(
        {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "instance": _TEXT,
            "errors": _list_of(_shown({"location": _TEXT, "message": _TEXT, "value": {}})),
        }
    ),
}
SCHEMAS: dict[str, Schema] = _UPSERT | _WRITE | _READ | _SEARCH | _ERRORS
"""All of them, by name."""
