"""Invented people for the demonstration, the same for the same seed; mails in `.example` reach nobody."""

from __future__ import annotations

import csv
import os
import random
from pathlib import Path

COLUMNS = (
    "member_id", "first_name", "last_name", "email", "mobile", "born", "street", "zip", "city", "groups",
)  # fmt: skip

_FIRST_NAMES = (
    "Ada", "Amina", "Björn", "Bruno", "Chloé", "Diego", "Elif", "Emma", "Farid", "Grace", "Hugo", "Inès",
    "Jonas", "Kofi", "Léa", "Louis", "Maya", "Noé", "Olga", "Paul", "Rosa", "Samir", "Tao", "Yara", "Zoé",
)  # fmt: skip
_STARTS = (
    "Ber",
    "Cor",
    "Del",
    "Fa",
    "Gar",
    "Hen",
    "Jou",
    "La",
    "Mar",
    "Nou",
    "Per",
    "Rou",
    "Sau",
    "Tes",
    "Vin",
)
_ENDS = ("bier", "chard", "dier", "geron", "lier", "mont", "nard", "quet", "rand", "sier", "tin", "vel")
_TOWNS = (
    ("01000", "Bourg-en-Bresse"), ("06000", "Nice"), ("13001", "Marseille"), ("31000", "Toulouse"),
    ("59000", "Lille"), ("69003", "Lyon"), ("75011", "Paris"), ("2A004", "Ajaccio"),
)  # fmt: skip
_STREETS = ("rue de la Paix", "avenue Jean Jaurès", "place du Marché", "rue Victor Hugo", "chemin Vert")
_GROUPS = ("members", "volunteers", "donors", "press")

Row = list[str]


def invent(count: int, seed: int = 2026) -> list[Row]:
    """Return so many people as rows of `COLUMNS`; no two share names and birthdate, or a mail."""
    draw = random.Random(seed)  # noqa: S311 - invented people
    people: list[Row] = []
    taken: set[tuple[str, str, str]] = set()
    while len(people) < count:
        first, last = draw.choice(_FIRST_NAMES), draw.choice(_STARTS) + draw.choice(_ENDS)
        born = f"{draw.randrange(1, 29):02}/{draw.randrange(1, 13):02}/{draw.randrange(1930, 2008)}"
        if (first, last, born) in taken:
            continue
        taken.add((first, last, born))
        number = len(people) + 1
        groups = sorted(draw.sample(_GROUPS, draw.randrange(1, 3)))
        mobile = f"+336{draw.randrange(10**8):08}"
        mail = f"person{number}@members.example"
        people.append([f"M{number:06}", first, last, mail, mobile, born, *_address(draw), "|".join(groups)])
    return people


def edit(people: list[Row], changes: int, joins: int, seed: int = 7) -> None:
    """Give `changes` people a new address and mobile, and let `joins` new ones in."""
    draw = random.Random(seed)  # noqa: S311 - invented people
    for row in draw.sample(people, changes):
        row[4] = f"+337{draw.randrange(10**8):08}"
        row[6:9] = _address(draw)
    people += invent(len(people) + joins)[len(people) :]


def _address(draw: random.Random) -> Row:
    return [f"{draw.randrange(1, 200)} {draw.choice(_STREETS)}", *draw.choice(_TOWNS)]


def write(path: Path, people: list[Row]) -> None:
    """Write the people as CSV, in place of what was there."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(people)
    draft.rename(path)
