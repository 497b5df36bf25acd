"""Synthetic people to start with, the same for the same seed; mails in `.example` reach nobody."""

import random
from collections.abc import Iterator
from datetime import date

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


def sample_contacts(number: int, seed: int) -> Iterator[dict[str, object]]:
    """Yield so many contacts in the upsert's shape, each with its own mail."""
    draw = random.Random(f"{seed} contacts")  # noqa: S311 - synthetic people
    for count in range(1, number + 1):
        firstname, surname = draw.choice(_FIRSTNAMES), draw.choice(_SURNAMES)
        postalcode, city = draw.choice(_TOWNS)
        yield {
            "firstname": firstname,
            "surname": surname,
            "mail": f"person{count}@sample.example",
            "mobile": f"+336{draw.randrange(10**8):08}",
            "birthdate": date(
                draw.randrange(1940, 2006), draw.randrange(1, 13), draw.randrange(1, 29)
            ).isoformat(),
            "address": {
                "housenumber": str(draw.randrange(1, 200)),
                "street": draw.choice(_STREETS),
                "postalcode": postalcode,
                "city": city,
                "country": "France",
            },
        }
