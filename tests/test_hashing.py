"""The content hash: stable, blind to order and composition, and fixed by a golden file."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.hashing import HASH_BYTES, HASH_VERSION, canonical, content_hash
from syncengine.mapping import compile_mapping
from syncengine.sections import FieldRule

GOLDEN = Path(__file__).parent / "golden" / "hashes.json"
PEOPLE = 1000

fixed = settings(derandomize=True, deadline=None)

COLUMNS = (
    "key",
    "first",
    "last",
    "mail",
    "born",
    "zip",
    "city",
    "groups",
    "job",
    "optin",
    "black",
    "age",
    "note",
)
RULES: dict[str, Any] = {
    "firstname": {"column": "first"},
    "surname": {"column": "last", "blank": "clear"},
    "mail": {"column": "mail"},
    "birthdate": {"column": "born", "format": "%d/%m/%Y"},
    "address.postalcode": {"column": "zip"},
    "address.city": {"column": "city"},
    "address.country": {"constant": "France"},
    "tags": {"column": "groups", "split": "|"},
    "custom_fields.Job": {"column": "job"},
    "custom_fields.#12": {"column": "job"},
    "consents.Newsletter": {
        "column": "optin",
        "values": {"1": "consent_email", "0": "refus"},
        "other": "skip",
    },
    "black_list": {"column": "black"},
    "age_category": {"column": "age"},
    "notes": {"column": "note"},
}
SURNAMES = (
    "Dupré",
    "Dupre\u0301",
    " O'Neil ",
    "Łukasz",
    "李",
    "de la Cruz",
    "Ödön",
    "\U0001f600",
    "",
    "Na\u00efve\u200b",
)
JOBS = (
    "",
    "teacher",
    'say "hi"',
    "back\\slash",
    "line\r\nbreak",
    "tab\tbed",
    "\u2028",
    "DEL\x7f",
    "=1+1",
    "</script>",
)


def person(number: int) -> list[str]:
    """Return one row by a formula of its number alone: no random module, whose sequence may change."""
    dice = blake2b(str(number).encode(), digest_size=16).digest()
    return [
        f"M{number:05}",
        f"Fn{dice[0]}",
        SURNAMES[dice[1] % 10],
        f"P{number}@Example.org" if dice[2] % 4 else "",
        f"{1 + dice[3] % 28:02}/{1 + dice[4] % 12:02}/{1930 + dice[5] % 90}" if dice[6] % 3 else "",
        f"{dice[7] * 389:05}",
        ("Paris", "Lyon", "Saint-Étienne", "")[dice[8] % 4],
        "|".join(f"g{dice[n] % 7}" for n in range(9, 9 + dice[9] % 4)),
        JOBS[dice[12] % 10],
        ("1", "0", "", "?")[dice[13] % 4],
        ("oui", "no", "", "1")[dice[14] % 4],
        str(dice[15]),
        "" if dice[0] % 5 else f"note {dice[1]}",
    ]


def golden_hashes() -> Iterator[tuple[str, str]]:
    """Yield key and content hash of the fixed people, in hexadecimal.

    To fix them anew, after HASH_VERSION or MAPPING_VERSION was raised on purpose, write
    `json.dumps({"version": HASH_VERSION, "hashes": dict(golden_hashes())}, indent=0)` to the golden file.
    Nothing does so by itself.
    """
    fields = {name: FieldRule.model_validate(rule) for name, rule in RULES.items()}
    mapping = compile_mapping(fields, "key", COLUMNS)
    for number in range(PEOPLE):
        key, contact = mapping(person(number))
        yield key, content_hash(canonical(contact)).hex()


def test_the_golden_people_have_the_hashes_they_always_had() -> None:
    """A difference here would send every contact of every user again."""
    golden = json.loads(GOLDEN.read_text("utf-8"))
    assert golden["version"] == HASH_VERSION
    assert len(golden["hashes"]) == PEOPLE
    assert dict(golden_hashes()) == golden["hashes"]


def test_the_canonical_form_is_sorted_json_without_spaces() -> None:
    contact = {
        "surname": "é",
        "address": {"street": "x", "city": "y"},
        "age_category": 3,
        "black_list": False,
    }
    assert canonical(contact) == (
        '{"address":{"city":"y","street":"x"},"age_category":3,"black_list":false,"surname":"é"}'.encode()
    )


def test_the_hash_is_blake2b_of_16_bytes() -> None:
    assert content_hash(b"{}") == blake2b(b"{}", digest_size=16).digest()
    assert len(content_hash(b"")) == HASH_BYTES


contacts = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.dictionaries(st.sampled_from(["city", "street"]), st.just("x")),
    max_size=5,
)


@fixed
@given(contacts)
def test_the_order_of_fields_does_not_matter(contact: dict[str, Any]) -> None:
    backwards = dict(reversed(list(contact.items())))
    assert canonical(backwards) == canonical(contact)


@fixed
@given(contacts)
def test_what_is_canonical_is_the_contact_and_stays_canonical(contact: dict[str, Any]) -> None:
    content = canonical(contact)
    assert orjson.loads(content) == contact
    assert canonical(orjson.loads(content)) == content


@fixed
@given(contacts, contacts)
def test_different_contacts_have_different_hashes(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = canonical(one) == canonical(other)
    assert (content_hash(canonical(one)) == content_hash(canonical(other))) is same


@fixed
@given(st.text(st.characters(categories=["L", "M", "N", "Zs"]), max_size=12))
def test_composed_and_decomposed_twins_hash_alike(text: str) -> None:
    mapping = compile_mapping({}, "key", ("key", "surname", "tags"))
    hashes = set()
    for form in ("NFC", "NFD"):
        twin = unicodedata.normalize(form, text)
        hashes.add(content_hash(canonical(mapping(["k", twin, f"  {twin}"])[1])))
    assert len(hashes) == 1
