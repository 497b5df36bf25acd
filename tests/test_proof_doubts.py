"""Lost answers: whoever was sent without one is looked for; no twin from a retry, and nobody is lost.

And those who cannot be looked for: of them nothing is claimed, and they are not sent again.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import SURNAME, World, fast_clock, people, who, world
from test_qomon_space import refusing

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


# --- whom no search is taken for


def table(kind: str, *numbers: int) -> str:
    return "".join(
        f'[[fault]]\nendpoint = "upsert"\nkind = {kind}\nwhere = {{ firstname = "Vorname{number}" }}\n'
        for number in numbers
    )


def marks_of(number: int) -> list[bytes]:
    """Return what every search for a person has in it, whichever way it asks."""
    return [f'"p{number}@canary.example"'.encode(), f'"Vorname{number}"'.encode()]


async def sent(w: World) -> list[str]:
    """Return whom the sandbox was sent since the last look."""
    return [who(entry) for entry in await w.history() if entry["endpoint"] == "upsert"]


NOT_LOOKED_FOR = (
    "1 contact could not be looked for: Qomon refuses every search for them (HTTP 422), so whether they "
    "arrived is not known"
)


async def test_whoever_cannot_be_looked_for_is_not_called_dropped_and_the_others_are(tmp_path: Path) -> None:
    """Three are dropped, of whom one cannot be searched for; that one is in the canary, which goes on."""
    marks = marks_of(7)
    async with (
        world(tmp_path, faults=table('"drop"', 7, 8, 38), verify=True, clock=fast_clock(10)) as w,
        refusing(w.client, marks) as port,
    ):
        w.destination = {"base_url": f"http://127.0.0.1:{port}"}
        w.verify_settings = {"deadline": 0.5}
        w.write(people(40))
        async with w.engine() as engine:
            report = await engine.sync()
        counts = (report.confirmed, report.dropped, report.unconfirmed, report.exit)
        assert counts == (37, 2, 1, 3), report.as_json()
        assert report.message == NOT_LOOKED_FOR
        assert report.requests <= 80  # 40 upserts; once given up, nobody is asked for again
        assert report.seconds < 300  # nobody waits for what no patience brings
        async with w.engine() as engine:
            again = await engine.verify()
        assert (again.checked, again.unconfirmed, again.message, again.exit) == (0, 1, NOT_LOOKED_FOR, 3)
        marks.clear()
        async with w.engine() as engine:
            again = await engine.verify()
        assert (again.dropped, again.unconfirmed, again.message) == (1, 0, "")


async def test_a_canary_of_people_who_cannot_be_looked_for_stops_the_run(tmp_path: Path) -> None:
    numbers = range(5, 10)
    async with (
        world(tmp_path, faults=table('"drop"', *numbers), verify=True, clock=fast_clock(10)) as w,
        refusing(w.client, [mark for number in numbers for mark in marks_of(number)]) as port,
    ):
        w.destination = {"base_url": f"http://127.0.0.1:{port}"}
        w.verify_settings = {"deadline": 0.5}
        w.write(people(40))
        async with w.engine() as engine:
            report = await engine.sync()
        counts = (report.reason, report.dropped, report.unconfirmed, report.remaining)
        assert counts == ("breaker", 0, 5, 20), report.as_json()
        assert "could not be looked for" in report.message


async def test_whoever_is_in_doubt_and_cannot_be_looked_for_stays_due_and_is_not_sent_again(
    tmp_path: Path,
) -> None:
    marks = marks_of(3)
    async with (
        world(tmp_path, faults=table('"status"\nstatus = 503\ncount = 1', 3), verify=True) as w,
        refusing(w.client, marks) as port,
    ):
        w.destination = {"base_url": f"http://127.0.0.1:{port}"}
        w.write(people(10))
        async with w.engine() as engine:
            report = await engine.sync()
        counts = (report.confirmed, report.remaining, report.repeated, report.exit)
        assert counts == (9, 1, 0, 3), report.as_json()
        assert report.message == NOT_LOOKED_FOR
        assert (await sent(w)).count("Vorname3") == 1
        async with w.engine() as engine:
            report = await engine.sync()
        assert (report.remaining, report.message, await sent(w)) == (1, NOT_LOOKED_FOR, [])
        marks.clear()
        async with w.engine() as engine:
            report = await engine.sync()
        assert (report.outcome, report.confirmed, report.message) == ("done", 1, ""), report.as_json()
        assert await sent(w) == ["Vorname3"]
        assert len(await w.contacts()) == 10
