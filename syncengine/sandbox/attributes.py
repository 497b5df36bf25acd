"""What of a contact `/search` can ask for: each attribute with its texts, its scale and its column.

The names are those of the read model; they were seen in Qomon's guide, "Search overview", and in integrators'
queries. An attribute that is not here is refused with 422, which is our choice. Texts are never empty: a
blank value is no value.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from syncengine.sandbox.book import Stored, stamp
from syncengine.sandbox.contact import ADDRESS_PARTS
from syncengine.sandbox.operators import Scale, dates, numbers, texts

Texts = Callable[[Stored], Sequence[str]]


class Attribute(NamedTuple):
    """How to read an attribute.

    `column` has it in the table of contacts: a number or time as it is, a text folded and maybe together with
    others. `is_raw` says that a text is stored to the letter.
    """

    read: Texts
    scale: Scale
    column: str | None = None
    is_raw: bool = False


def answers_of(form_id: int, refs: frozenset[int] | None) -> Texts:
    """Return what reads the data of the answers to a form that are not deleted, of all or some refvalues."""

    def read(stored: Stored) -> Sequence[str]:
        return [
            answer["data"]
            for answer in stored.fields.get("answers") or ()
            if answer["form_id"] == form_id
            and answer["deleted_at"] is None
            and (refs is None or answer["form_ref_id"] in refs)
            and answer["data"]
        ]

    return read


def refs_of(form_id: int) -> Texts:
    """Return what reads the numbers of the refvalues of a form that are answered, as texts."""

    def read(stored: Stored) -> Sequence[str]:
        return [
            str(answer["form_ref_id"])
            for answer in stored.fields.get("answers") or ()
            if answer["form_id"] == form_id and answer["deleted_at"] is None
        ]

    return read


def _field(name: str) -> Texts:
    def read(stored: Stored) -> Sequence[str]:
        value = stored.fields.get(name)
        return (str(value),) if value is not None and value != "" else ()

    return read


def _part(name: str) -> Texts:
    def read(stored: Stored) -> Sequence[str]:
        text = (stored.fields.get("address") or {}).get(name)
        return (text,) if text else ()

    return read


def _tags(stored: Stored) -> Sequence[str]:
    return [tag["name"] for tag in stored.fields.get("tags") or () if tag["name"]]


def _black_list(stored: Stored) -> Sequence[str]:
    return ("true",) if stored.fields.get("black_list") else ("false",)


ATTRIBUTES: dict[str, Attribute] = {
    "id": Attribute(lambda stored: (str(stored.id),), numbers, "id"),
    "CreatedAt": Attribute(lambda stored: (stamp(stored.created),), dates, "created"),
    "UpdatedAt": Attribute(lambda stored: (stamp(stored.updated),), dates, "updated"),
    "lastchange": Attribute(lambda stored: (stamp(stored.lastchange),), dates, "lastchange"),
    "mail": Attribute(_field("mail"), texts, "mail", is_raw=True),
    "birthdate": Attribute(_field("birthdate"), dates),
    "birth_city": Attribute(_field("birthcity"), texts, is_raw=True),
    "birth_country": Attribute(_field("birthcountry"), texts, is_raw=True),
    "birth_dept": Attribute(_field("birthdept"), texts, is_raw=True),
    "age_category": Attribute(_field("age_category"), numbers),
    "nationbuilderid": Attribute(_field("nationbuilderid"), numbers),
    "black_list": Attribute(_black_list, texts),
    "tags": Attribute(_tags, texts, is_raw=True),
}
ATTRIBUTES |= {
    name: Attribute(_field(name), texts, "names", is_raw=True) for name in ("surname", "firstname")
}
ATTRIBUTES |= {
    name: Attribute(_field(name), texts, is_raw=True)
    for name in (
        "married_name", "gender", "phone", "mobile", "nationality", "external_id",
    )
}  # fmt: skip
ATTRIBUTES |= {
    f"address.{part}": Attribute(_part(part), texts, is_raw=True) for part in sorted(ADDRESS_PARTS)
}
OF_FORMS = ("form", "custom_fields")
"""The attributes that are about answers to a form; `custom_fields` knows only forms of that type."""
