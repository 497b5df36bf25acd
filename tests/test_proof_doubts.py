"""Lost answers: whoever was sent without one is looked for; no twin from a retry, and nobody is lost."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import SURNAME, fast_clock, world

pytestmark = pytest.mark.usefixtures("no_leaks")

ALLOWED = {"none": "send", "mail_only": "send", "names_only": "send"}
LOST = '[[fault]]\nendpoint = "upsert"\nkind = "reset_after"\nshare = 0.2\n'


def of_every_class(number: int) -> dict[str, Any]:
    """Return a person of one of the five identity classes without an id, by turns."""
    key = {"member_id": f"m{number:05}", "phone": f"+3361{number:07}"}
    names = {"firstname": f"Vorname{number}", "surname": f"{SURNAME}{number}"}
    return (
        key
        | (
            names | {"mail": f"p{number}@canary.example"},
            names | {"birthdate": "1980-01-02"},
            {"mail": f"p{number}@canary.example"},
            names,
            {"firstname": f"Vorname{number}"},
        )[number % 5]
    )


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
async def test_a_lost_answer_makes_no_twin_and_loses_nobody(tmp_path: Path, count: int) -> None:
    """Every fifth answer is lost after the request was processed; then every fifth of the second night's."""
    async with world(
        tmp_path,
        faults=LOST,
        identity=ALLOWED,
        verify=True,
        seed=3,
        run={"settle": 5.0, "in_flight": 32, "max_failed_share": 1.0},
        clock=fast_clock(20),
    ) as w:
        rows = [of_every_class(number) for number in range(count)]
        w.write(rows)
        report = await w.sync()
        assert report.reason is None, report.message
        held = w.sql("SELECT count(*) FROM contacts WHERE problem = 'held'")[0][0]
        assert report.confirmed + report.unconfirmed + held == count
        assert report.unconfirmed == 0 == report.remaining
        stored = Counter(contact["phone"] for contact in await w.contacts())
        assert stored == Counter(row["phone"] for row in rows)
        assert all(n % 5 == 4 for (n,) in w.sql("SELECT n - 1 FROM contacts WHERE problem = 'held'"))
        assert report.doubts["seen"] > count / 25
        assert not report.doubts.get("again")

        draw = random.Random(7)
        changed = draw.sample(range(count), count // 5)
        for number in changed:
            rows[number]["nationality"] = "FR"
        w.write(rows)
        report = await w.sync()
        assert report.reason is None, report.message
        contacts = await w.contacts()
        assert Counter(contact["phone"] for contact in contacts) == Counter(row["phone"] for row in rows)
        told = {contact["phone"] for contact in contacts if contact.get("nationality") == "FR"}
        missed = {rows[n]["phone"] for n in changed} - told
        assert {
            phone for (phone,) in w.sql("SELECT content ->> 'phone' FROM contacts WHERE problem = 'held'")
        } >= missed
