"""Invented people, the same for a seed: a CSV file and the settings that read it."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random
from typing import Any

from syncengine import Engine, Settings
from syncengine.engine import SyncOptions

COLUMNS = [
    "member_id",
    "first_name",
    "last_name",
    "email",
    "phone",
    "born",
    "street",
    "zip",
    "city",
    "groups",
    "profession",
    "optin",
]
FIELDS = {
    "firstname": "first_name",
    "surname": "last_name",
    "mail": "email",
    "phone": "phone",
    "birthdate": {"column": "born", "format": "%d/%m/%Y"},
    "address.street": "street",
    "address.postalcode": "zip",
    "address.city": "city",
    "tags": {"column": "groups", "split": "|"},
    "custom_fields.Job": "profession",
    "consents.Newsletter": {"column": "optin", "values": {"1": "consent_email"}, "other": "skip"},
}


def write_people(path: Path, count: int, seed: int) -> None:
    """Write `count` rows, their keys in no order."""
    random = Random(seed)
    keys = list(range(count))
    random.shuffle(keys)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for key in keys:
            writer.writerow(
                [
                    f"M{key:08}",
                    f"Prénom{random.randrange(1000)}",
                    f"Nom{key}",
                    f"person{key}@example.org",
                    f"+336{random.randrange(10**8):08}",
                    f"{random.randrange(1, 29):02}/{key % 12 + 1:02}/{random.randrange(1930, 2005)}",
                    f"{random.randrange(1, 300)} rue de la Paix",
                    f"{random.randrange(1000, 96000):05}",
                    f"Ville{random.randrange(500)}",
                    "membre|donateur" if random.random() < 0.5 else "membre",
                    f"métier {random.randrange(50)}",
                    str(random.randrange(2)),
                ]
            )


def settings_for(folder: Path, base_url: str, *, in_flight: int = 16) -> Settings:
    """Return settings for `people.csv` and `state.db` in `folder`."""
    return Settings.from_mapping(
        {
            "state": {"path": str(folder / "state.db")},
            "source": {"path": str(folder / "people.csv"), "key": "member_id", "snapshot": True},
            "fields": FIELDS,
            "destination": {"base_url": base_url},
            "run": {"in_flight": in_flight},
        },
        environ={},
    )


UNREAD = "without read-back"
"""What `sync_once` measures, as it is printed."""


async def sync_once(settings: Settings, api_key: str) -> dict[str, Any]:
    """Load and send, without reading back; return the report's JSON.

    A run that got anything accepted then ends with problems, exit 3: nobody was seen in Qomon.
    """
    async with Engine(settings, environ={"QOMON_API_KEY": api_key}) as engine:
        return (await engine.sync(SyncOptions(verify=False))).as_json()
