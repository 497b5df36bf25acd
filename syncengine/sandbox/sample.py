"""Synthetic people to start with, the same for the same seed; mails in `.example` reach nobody.

They are as awkward as real ones: most came with imports, hundreds within one minute, the others one by one
over three years; later imports and staff have touched some. Every 25th shares the mail of the one before,
every 40th has their names and neither birthdate nor address. Some have answers, tags and notes.
"""

import bisect
import random
from collections.abc import Iterator, Sequence
from typing import Any

from syncengine.sandbox.answering import Answer, new_answer
from syncengine.sandbox.book import stamp
from syncengine.sandbox.forms import Form, Forms, Resolved

_FIRSTNAMES = (
    "Ada", "Amina", "Bruno", "Chloé", "Diego", "Elif", "Emma", "Farid", "Hugo", "Inès",
    "Jonas", "Léa", "Louis", "Maya", "Noé", "Olga", "Paul", "Rosa", "Samir", "Zoé",
)  # fmt: skip
_SURNAMES = (
    "Bernard", "Dubois", "Durand", "Fournier", "Garcia", "Girard", "Henry", "Klein",
    "Lambert", "Leroy", "Martin", "Moreau", "Petit", "Roux", "Weber",
)  # fmt: skip
_TOWNS = (
    ("75011", "Paris"),
    ("69003", "Lyon"),
    ("13001", "Marseille"),
    ("59000", "Lille"),
    ("31000", "Toulouse"),
)
_STREETS = ("rue de la Paix", "avenue Jean Jaurès", "place du Marché", "rue Victor Hugo", "chemin Vert")


_JOBS = ("Nurse", "Baker", "Teacher", "Farmer", "Retired", "Student")
_TAGS = ("member", "volunteer", "donor", "press")
_SPAN = 3 * 365.25 * 86400  # seconds
_IMPORT = 60.0  # seconds that an import takes
_PER_IMPORT = 1500  # contacts, about

Person = tuple[dict[str, Any], float, float, float]
"""A contact as the book keeps it, and when it was created, updated and last changed by staff."""


def sample_contacts(number: int, seed: int, forms: Forms, now: float) -> Iterator[Person]:
    """Yield so many contacts, the oldest first; no time is later than `now`."""
    draw = random.Random(f"{seed} contacts")  # noqa: S311 - synthetic people
    imports = sorted(now - _IMPORT - draw.random() * _SPAN for _ in range(2 + number // _PER_IMPORT))
    moments = sorted(_moment(draw, imports, now) for _ in range(number))
    fields: dict[str, Any] = {}
    for count, created in enumerate(moments, start=1):
        fields = _person(draw, count, fields)
        if draw.random() < 0.4:
            _enrich(draw, fields, forms, created)
        yield (fields, created, *_touched(draw, imports, created, now))


def _moment(draw: random.Random, imports: Sequence[float], now: float) -> float:
    if draw.random() < 0.7:
        return draw.choice(imports) + draw.random() * _IMPORT
    return now - draw.random() * _SPAN


def _touched(
    draw: random.Random, imports: Sequence[float], created: float, now: float
) -> tuple[float, float]:
    """Return when a contact was updated and when staff last changed it: an import does not count as staff."""
    kind = draw.random()
    if kind < 0.2:
        edited = created + draw.random() * (now - created)
        return edited, edited
    later = bisect.bisect_right(imports, created)
    if kind < 0.5 and later < len(imports):
        return imports[draw.randrange(later, len(imports))] + draw.random() * _IMPORT, created
    return created, created


def _person(draw: random.Random, count: int, before: dict[str, Any]) -> dict[str, Any]:
    firstname, surname = draw.choice(_FIRSTNAMES), draw.choice(_SURNAMES)
    postalcode, city = draw.choice(_TOWNS)
    birthdate = f"{draw.randrange(1940, 2006)}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}"
    mobile = f"+336{draw.randrange(10**8):08}"
    address = {
        "housenumber": str(draw.randrange(1, 200)),
        "street": draw.choice(_STREETS),
        "postalcode": postalcode,
        "city": city,
        "country": "France",
    }
    mail = before["mail"] if count % 25 == 0 else f"person{count}@sample.example"
    if count % 40 == 0:
        names = {"firstname": before["firstname"], "surname": before["surname"]}
        return names | {"mail": mail, "mobile": mobile}
    return {
        "firstname": firstname,
        "surname": surname,
        "mail": mail,
        "mobile": mobile,
        "birthdate": f"{birthdate}T00:00:00Z",
        "address": address,
    }


def _enrich(draw: random.Random, fields: dict[str, Any], forms: Forms, now: float) -> None:
    """Add a tag and, to some, a note; answer some forms."""
    fields["tags"] = [{"name": draw.choice(_TAGS)}]
    if draw.random() < 0.25:
        note = {"id": 1, "content": "met at the market", "pinned": False, "created_at": stamp(now)}
        fields["notes"] = [note]
    asked = [form for form in forms if draw.random() < 0.2]
    if asked:
        fields["answers"] = [_answer(draw, form, forms, now) for form in asked]


def _answer(draw: random.Random, form: Form, forms: Forms, now: float) -> Answer:
    option = draw.choice(form.options)
    data = option.value
    if form.widget == "text":
        data = draw.choice(_JOBS)
    elif form.widget == "numeric":
        data = str(draw.randrange(100))
    elif form.widget == "date":
        data = (
            f"20{draw.randrange(10, 26)}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}T00:00:00.000Z"
        )
    return new_answer(forms, Resolved(form, option, data), now)
