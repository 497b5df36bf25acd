"""The second night and later: by id, only what changed; staff's fields stay theirs; nobody is forgotten."""

from pathlib import Path
from typing import Any

import pytest
from test_engine_world import SURNAME, World, fast_clock, person, whose, world
from test_proof_night import StaffAtWork, forms_file, ids, open_problems, story, tier

from syncengine.plan import make_plan
from syncengine.problems import CONSENT_KEPT, DEAD_ID
from syncengine.store.acts import release, rematch, retry
from syncengine.store.opened import open_store

pytestmark = pytest.mark.usefixtures("no_leaks")


def staff(w: World, number: int, **fields: Any) -> dict[str, Any]:
    return {"act": "edit", "id": ids(w)[f"m{number:05}"], "set": fields}


def sent(w: World) -> list[dict[str, Any]]:
    return [entry["data"] for entry in w.last]


async def stored(w: World, number: int) -> dict[str, Any]:
    id_ = ids(w)[f"m{number:05}"]
    return next(contact for contact in await w.contacts() if contact["id"] == id_)


async def test_an_edit_of_one_field_arrives_as_the_id_and_that_field(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write([person(0, phone="0611111111"), person(1)])
        await w.sync()
        w.write([person(0, phone="0622222222"), person(1)])
        report = await w.sync()
        assert sent(w) == [{"id": ids(w)["m00000"], "phone": "0622222222"}]
        assert (report.outcome, report.confirmed) == ("done", 1)


async def test_contacts_are_sent_whole_when_that_is_wanted(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True, run={"send": "whole"}) as w:
        w.write([person(0)])
        await w.sync()
        w.write([person(0, phone="0622222222")])
        await w.sync()
        assert sent(w) == [
            {
                "id": ids(w)["m00000"],
                "phone": "0622222222",
                "mail": "p0@canary.example",
                "firstname": "Vorname0",
                "surname": f"{SURNAME}0",
            }
        ]


async def test_a_field_that_staff_changed_stays_theirs_until_the_source_changes_it(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write([person(0, phone="0611111111", mobile="1")])
        await w.sync()
        await w.client.send("POST", "/_sandbox/staff", staff(w, 0, phone="0699999999"))
        w.write([person(0, phone="0611111111", mobile="2")])
        report = await w.sync()
        assert sent(w) == [{"id": ids(w)["m00000"], "mobile": "2"}]
        assert (report.differs, report.exit) == (1, 3)
        assert (await stored(w, 0))["phone"] == "0699999999"
        (problem,) = open_problems(w, values=True)
        assert problem["reason"] == "other values in Qomon: phone"

        report = await w.sync()  # no nightly loop of the same failure, and it is not forgotten
        assert (report.selected, sent(w), report.problems_open, report.exit) == (0, [], 1, 3)

        w.write([person(0, phone="0633333333", mobile="2")])
        report = await w.sync()
        assert sent(w) == [{"id": ids(w)["m00000"], "phone": "0633333333"}]
        assert (report.outcome, report.problems_open) == ("done", 0)


async def test_who_says_that_the_source_is_right_sends_the_field_again(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write([person(0, phone="0611111111", mobile="1")])
        await w.sync()
        await w.client.send("POST", "/_sandbox/staff", staff(w, 0, phone="0699999999"))
        w.write([person(0, phone="0611111111", mobile="2")])
        await w.sync()
        with open_store(w.store) as store:
            assert retry(store) == 1
        report = await w.sync()
        assert sent(w) == [{"id": ids(w)["m00000"], "phone": "0611111111"}]
        assert (report.outcome, (await stored(w, 0))["phone"]) == ("done", "0611111111")


async def test_a_dropped_change_and_a_later_one_both_arrive_in_the_end(tmp_path: Path) -> None:
    """Phone dropped, then the city changed."""
    table = '[[fault]]\nendpoint = "upsert"\nkind = "drop"\nafter = 3\ncount = 1\n'
    async with world(tmp_path, faults=table, verify=True, clock=fast_clock(10)) as w:
        w.verify_settings = {"deadline": 0.5}
        base = [person(number) for number in range(2)]
        w.write(base)
        await w.sync()
        w.write([person(0, phone="0611111111"), person(1, phone="0622222222")])
        report = await w.sync()
        assert (report.dropped, report.confirmed, report.exit) == (1, 1, 3)
        (problem,) = open_problems(w)
        number = int(problem["key"][1:])
        assert (problem["state"], problem["reason"]) == ("dropped", "accepted, then not applied")

        report = await w.sync()
        assert (report.selected, report.problems_open) == (0, 1)

        rows = [
            person(n, phone=f"06{n + 1}{n + 1}{n + 1}{n + 1}{n + 1}{n + 1}{n + 1}{n + 1}") for n in range(2)
        ]
        rows[number]["address"] = {"city": "Lyon"}
        w.write(rows)
        report = await w.sync()
        assert sent(w) == [
            {"id": ids(w)[problem["key"]], "phone": rows[number]["phone"], "address": {"city": "Lyon"}}
        ]
        assert (report.outcome, report.problems_open) == ("done", 0)


async def test_a_dropped_contact_is_looked_for_once_more_and_found_if_it_came_late(tmp_path: Path) -> None:
    table = (
        '[[fault]]\nendpoint = "upsert"\nkind = "late"\nseconds = 3600\nwhere = { firstname = "Vorname1" }\n'
    )
    async with world(tmp_path, faults=table, verify=True, clock=fast_clock(10)) as w:
        w.verify_settings = {"deadline": 0.5}
        w.write(person(number) for number in range(3))
        report = await w.sync()
        # Checking the report settled the queue: it was applied an hour late, so to say.
        assert (report.dropped, report.confirmed) == (1, 2)
        report = await w.sync()
        assert report.earlier == {"confirmed": 1, "differs": 0, "dropped": 0, "unconfirmed": 0}
        assert (report.outcome, report.problems_open, sent(w)) == ("done", 0, [])


async def test_a_dead_id_is_named_and_released_by_rematch(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True, clock=fast_clock(10)) as w:
        w.verify_settings = {"deadline": 0.5}
        w.write(person(number) for number in range(3))
        await w.sync()
        await w.client.send("POST", "/_sandbox/staff", {"act": "delete", "id": ids(w)["m00001"]})
        w.write(person(number, phone="0611111111") for number in range(3))
        report = await w.sync()
        assert (report.confirmed, report.dropped, report.exit) == (2, 1, 3), report.as_json()
        (problem,) = open_problems(w)
        assert (problem["key"], problem["reason"]) == ("m00001", "its Qomon id does not exist any more")
        assert "--rematch" in problem["remedy"]

        with open_store(w.store) as store:
            assert [one.key for one in rematch(store, ["m00001"])] == ["m00001"]
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 1)
        assert "id" not in sent(w)[0]
        assert len(await w.contacts()) == 3


async def test_whoever_has_a_dead_id_stays_held_whatever_the_source_makes_of_it(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True, clock=fast_clock(10)) as w:
        w.verify_settings = {"deadline": 0.5}
        w.write(person(number) for number in range(3))
        await w.sync()
        await w.client.send("POST", "/_sandbox/staff", {"act": "delete", "id": ids(w)["m00001"]})
        first = [person(number, phone="0611111111") for number in range(3)]
        w.write(first)
        await w.sync()
        (before,) = open_problems(w)

        for rows in ([person(0), person(1, phone="0622222222"), person(2)], first, [person(1)]):
            w.write(rows)
            planned = make_plan(w.settings(), now=0.0)
            report = await w.sync()
            assert "Vorname1" not in whose(w.last)
            assert ids(w)["m00001"] not in [data.get("id") for data in sent(w)]
            assert (report.held, planned.holds[DEAD_ID], planned.held) == (1, 1, 1)
            (problem,) = open_problems(w)
            assert problem["state"] == "held"
            assert (problem["reason"], problem["remedy"]) == (before["reason"], before["remedy"])
            report = await w.sync()
            assert (report.selected, report.problems_open, report.exit) == (0, 1, 3)

        with open_store(w.store) as store:
            assert "--rematch" in release(store, ["m00001"])[0].why
            assert [one.rematched for one in rematch(store, ["m00001", "m00001"])] == [True, False]
        report = await w.sync()
        assert (report.outcome, report.confirmed) == ("done", 1)
        assert whose(w.last) == ["Vorname1"]
        assert "id" not in sent(w)[0]


async def test_tags_only_add_and_what_the_source_took_away_is_told(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write([person(0, tags=["a", "b"])])
        await w.sync()
        w.write([person(0, tags=["a"])])
        report = await w.sync()
        assert (report.outcome, report.confirmed, report.sent, sent(w)) == ("done", 1, 0, [])
        assert story(w, "m00000")["kept"] == {"tags": [{"name": "b"}]}
        w.write([person(0, tags=["a", "c"])])
        await w.sync()
        assert sent(w) == [{"id": ids(w)["m00000"], "tags": [{"name": "a"}, {"name": "c"}]}]


async def test_an_address_is_one_value(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True) as w:
        w.write([person(0, address={"city": "Lyon", "postalcode": "69001"})])
        await w.sync()
        w.write([person(0, address={"city": "Lyon", "postalcode": "69002"})])
        await w.sync()
        assert sent(w)[0]["address"] == {"city": "Lyon", "postalcode": "69002"}


async def test_a_consent_that_the_source_withdrew_is_a_problem_while_qomon_shows_it(tmp_path: Path) -> None:
    consent = {"consents": [{"label": "Newsletter", "value": "yes"}]}
    async with world(tmp_path, verify=True, forms=forms_file(tmp_path)) as w:
        w.write([person(0, **consent), person(1)])
        await w.sync()
        w.write([person(0), person(1)])
        report = await w.sync()
        assert (report.sent, report.differs, report.exit) == (0, 1, 3)
        (problem,) = open_problems(w)
        assert problem["reason"] == "consent withdrawn in the source, still given in Qomon"
        w.write([person(0, phone="0611111111"), person(1)])
        report = await w.sync()
        assert (report.differs, report.problems_open) == (1, 1)  # another change does not hide it
        withdrawn = {"consents": [{"label": "Newsletter", "value": "no"}]}
        await w.client.send("POST", "/_sandbox/staff", staff(w, 0, **withdrawn))
        with open_store(w.store) as store:
            retry(store)
        report = await w.sync()
        assert (report.outcome, report.problems_open) == ("done", 0)


WITHDRAWN = {
    "consent": {"consents": [{"label": "Newsletter", "value": "yes"}]},
    "black list": {"black_list": True},
}
"""What the source withdraws; on the first night it was accepted, and nobody read back."""


@pytest.mark.parametrize("given", WITHDRAWN.values(), ids=WITHDRAWN)
@pytest.mark.parametrize("nights_unread", [0, 1, 2])
@pytest.mark.parametrize("is_known", [False, True])
async def test_a_consent_withdrawn_before_a_read_showed_it_is_a_problem_too(
    tmp_path: Path, given: dict[str, Any], *, nights_unread: int, is_known: bool
) -> None:
    async with world(tmp_path, verify=True, forms=forms_file(tmp_path)) as w:
        if is_known:
            w.write([person(0), person(1)])
            await w.sync()
        w.write([person(0, **given), person(1)])
        await w.sync(verify=False)
        for night in range(nights_unread):
            w.write([person(0, phone=f"061111111{night}"), person(1)])
            assert (await w.sync(verify=False)).accepted == 1
        w.write([person(0), person(1)])
        report = await w.sync()
        assert (report.problems_open, report.exit) == (1, 3)
        (problem,) = open_problems(w)
        assert (problem["key"], problem["reason"]) == ("m00000", CONSENT_KEPT)
        assert w.sql("SELECT count(unseen) FROM contacts") == [(0,)]


@pytest.mark.parametrize("given", WITHDRAWN.values(), ids=WITHDRAWN)
async def test_a_consent_that_qomon_never_applied_is_not_kept_there(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    table = '[[fault]]\nendpoint = "upsert"\nkind = "drop"\ncount = 1\n'
    async with world(tmp_path, verify=True, forms=forms_file(tmp_path), faults=table) as w:
        w.write([person(0, **given)])
        await w.sync(verify=False)
        w.write([person(0, phone="0611111111")])
        await w.sync(verify=False)
        assert w.sql("SELECT count(unseen) FROM contacts") == [(1,)]
        w.write([person(0)])
        report = await w.sync()
        assert (report.outcome, report.problems_open) == ("done", 0)
        assert w.sql("SELECT count(unseen) FROM contacts") == [(0,)]


async def test_renamed_options_are_noticed_by_the_first_drop_and_the_rest_is_held(tmp_path: Path) -> None:
    async with world(
        tmp_path,
        verify=True,
        forms=forms_file(tmp_path),
        burst=50,
        rate=200.0,
        run={"in_flight": 4, "max_failed_share": 1.0},
        clock=fast_clock(10),
    ) as w:
        w.verify_settings = {"deadline": 0.5}
        w.write(person(number, **(tier("gold") if number % 2 else {})) for number in range(1500))

        async def rename() -> None:
            await w.saw(lambda stats: stats["requests"].get("upsert", 0) >= 200)
            act = {"act": "rename_option", "form_id": 12, "option_id": 1, "label": "or", "value": "O"}
            await w.client.send("POST", "/_sandbox/staff", act)

        report = await w.sync_beside(rename)
        assert report.dropped > 0
        assert report.held > 0
        assert report.confirmed + report.dropped + report.held + report.remaining == 1500
        held = [problem for problem in open_problems(w) if problem["state"] == "held"]
        assert {problem["reason"] for problem in held} == {
            "Qomon would drop it: custom_fields 'Tier' (#12) has no such option (its options: or, silver)"
        }


async def test_staff_at_work_is_seen(tmp_path: Path) -> None:
    async with world(tmp_path, verify=True, lag=0.3, search_lag=1.0, forms=forms_file(tmp_path)) as w:
        w.write([person(0, **tier("gold"))])
        staff_at_work = StaffAtWork(w, {"p0@canary.example"})
        staff_at_work.edited.add("somebody")
        report = await w.sync_beside(staff_at_work.edit_whom_they_see)
        assert report.differs == 1
