"""Nights in which Qomon drops, staff edits and options do not exist: everybody is confirmed, or named."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_engine_world import SURNAME, World, person, world

from syncengine.store.views import explain, problems, reading

pytestmark = pytest.mark.usefixtures("no_leaks")

FORMS = """{"forms": [
  {"type": "custom_fields", "id": 12, "label": "Tier", "widget": "radio",
   "options": [{"id": 1, "label": "gold", "value": "G"}, {"id": 2, "label": "silver", "value": "S"}]},
  {"type": "consent", "id": 13, "label": "Newsletter", "widget": "radio",
   "options": [{"id": 3, "label": "By e-mail", "value": "yes"},
               {"id": 4, "label": "Refusal", "value": "no"}]},
  {"type": "custom_fields", "id": 14, "label": "Languages", "widget": "checkbox",
   "options": [{"id": 5, "label": "French", "value": "fr"}, {"id": 6, "label": "English", "value": "en"}]}
]}"""


def forms_file(folder: Path) -> Path:
    path = folder / "forms.json"
    path.write_text(FORMS)
    return path


def tier(value: str) -> dict[str, Any]:
    return {"custom_fields": [{"label": "Tier", "value": value}]}


def open_problems(w: World, **options: Any) -> list[dict[str, Any]]:
    with reading(w.store) as connection:
        return problems(connection, **options)


def story(w: World, key: str) -> dict[str, Any]:
    with reading(w.store) as connection:
        found = explain(connection, key, w.store)
    assert found is not None
    return found


def ids(w: World) -> dict[str, int]:
    return dict(w.sql("SELECT key, remote_id FROM contacts WHERE remote_id IS NOT NULL"))


class StaffAtWork:
    """Staff that edits some people as soon as Qomon has applied them, before they are read back."""

    def __init__(self, w: World, mails: set[str]) -> None:
        self._w = w
        self._left = set(mails)
        self.edited: set[str] = set()

    async def edit_whom_they_see(self) -> None:
        seen = 0
        while self._left:
            path = f"/_sandbox/contacts?offset={seen}&limit=10000"
            reply = (await self._w.client.send("GET", path)).content
            seen += len(reply["contacts"])
            for contact in reply["contacts"]:
                if contact["mail"] in self._left:
                    self._left.discard(contact["mail"])
                    self.edited.add(contact["mail"])
                    is_renamed = len(self.edited) % 10 == 0  # so that no matching rule finds it any more
                    changes = (
                        {"surname": f"{SURNAME} anders"} if is_renamed else {"mobile": "1", **tier("silver")}
                    )
                    act = {"act": "edit", "id": contact["id"], "set": changes}
                    await self._w.client.send("POST", "/_sandbox/staff", act)
            await asyncio.sleep(0.01)


async def test_everybody_is_confirmed_and_their_ids_are_learned(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write(person(number) for number in range(60))
        report = await w.sync()
        assert (report.outcome, report.exit, report.confirmed) == ("done", 0, 60)
        held = {contact["mail"]: contact["id"] for contact in await w.contacts()}
        assert ids(w) == {f"m{number:05}": held[f"p{number}@canary.example"] for number in range(60)}
        assert len(w.last) == 60
        assert report.requests - 60 <= 20


@pytest.mark.timeout(110)
async def test_a_night_of_ten_thousand_names_everybody_who_did_not_arrive_and_nobody_else(
    tmp_path: Path,
) -> None:
    """1 % answer with an option there is not, 2 % are dropped for no cause, 1 % are changed by staff."""
    seed = 4
    draw = random.Random(seed)
    count = 10_000
    numbers = draw.sample(range(count), 400)
    wrong, dropped, edited = set(numbers[:100]), set(numbers[100:300]), set(numbers[300:])
    faults = "".join(
        f'[[fault]]\nendpoint = "upsert"\nkind = "drop"\nwhere = {{ firstname = "Vorname{number}" }}\n'
        for number in sorted(dropped)
    )
    async with world(
        tmp_path,
        faults=faults,
        verify=True,
        forms=forms_file(tmp_path),
        lag=0.5,
        search_lag=2.0,  # so that staff comes before the read-back, also on a busy machine
        run={"in_flight": 32},
    ) as w:
        w.verify_settings = {"deadline": 5.0}
        w.write(person(number, **tier("Gold" if number in wrong else "G")) for number in range(count))
        staff = StaffAtWork(w, {f"p{number}@canary.example" for number in edited})
        report = await w.sync_beside(staff.edit_whom_they_see)

        assert (report.outcome, report.exit) == ("problems", 3), report.message
        assert staff.edited == {f"p{number}@canary.example" for number in edited}
        by_state = {
            state: {problem["key"] for problem in open_problems(w) if problem["state"] == state}
            for state in ("held", "dropped", "differs")
        }
        assert by_state == {
            "held": {f"m{number:05}" for number in wrong},
            "dropped": {f"m{number:05}" for number in dropped},
            "differs": {f"m{number:05}" for number in edited},
        }
        assert (report.held, report.dropped, report.differs, report.confirmed) == (100, 200, 100, 9600)
        sent = {entry["data"]["firstname"] for entry in w.last}
        assert not sent & {f"Vorname{number}" for number in wrong}
        held = {contact["mail"]: contact["id"] for contact in await w.contacts()}
        learned = ids(w)
        for number in set(range(count)) - wrong - dropped - edited:
            assert learned[f"m{number:05}"] == held[f"p{number}@canary.example"]
        reads = Counter(entry["endpoint"] for entry in w.history_of_last if entry["endpoint"] != "upsert")
        look_ups = 4 * (200 / 50 + 3)
        assert reads.total() - look_ups <= 0.005 * 9900 + 20, reads
        assert reads["get"] <= 0.005 * 9900
