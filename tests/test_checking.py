"""Whom the store alone tells to hold: collisions, keys that name another person, changed identities."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_store_kit import (
    claim_due,
    contents,
    crash,
    due_keys,
    load_rows,
    opened,
    person,
    row,
    send_due,
    settle_all,
)

from syncengine.collisions import LISTED, Person, collide, traits_of
from syncengine.identity import IdentityClass
from syncengine.model import Result
from syncengine.problems import COLLIDES, IDENTITY_CHANGED, MOVED_KEY, remedy
from syncengine.store import acts, holding, sending
from syncengine.store.checking import (
    Collisions,
    Suspect,
    changed_identities,
    hold,
    hold_collisions,
    hold_moved_keys,
    moved_keys,
)
from syncengine.store.store import Store

RUN = 7


def put(store: Store, contacts: Mapping[str, dict[str, Any]]) -> None:
    sending.put(store, contacts.items())


def learn(store: Store, *keys: str) -> None:
    """Take note of ids, as a read does."""
    with store.writing() as connection:
        for key in keys:
            connection.execute(
                "UPDATE contacts SET remote_id = 1000 + n, identity = ? WHERE key = ?",
                (IdentityClass.CONFIRMED.value, key),
            )


def held(store: Store) -> dict[str, list[str]]:
    """Return who is held for a collision, and with whom."""
    rows = contents(store, "problem, problem_hash IS content_hash, problem_reason, problem_facts")
    return {
        key: orjson.loads(facts)["keys"]
        for key, (state, is_open, reason, facts) in rows.items()
        if state == "held" and is_open and reason == COLLIDES
    }


def check(store: Store, how: str = "hold", **sizes: Any) -> dict[str, list[str]]:
    before = held(store)
    count = hold_collisions(store, how, run=RUN, **sizes)
    found = held(store)
    assert count == len(found) - len(before)
    return found


HOMONYMS = {
    "A": {"surname": "Martin", "firstname": "Jean", "mail": "jean@example.org"},
    "B": {"surname": "MARTIN", "firstname": " jéan", "mail": "martin@example.net"},
}


def test_two_people_of_one_name_with_different_mails_are_held(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {**HOMONYMS, "C": person("C")})
        assert check(store) == {"A": ["B"], "B": ["A"]}
        assert due_keys(store) == ["C"]
        facts, detail, since, run = contents(
            store, "problem_facts, problem_detail, problem_since, problem_run"
        )["A"]
        assert (orjson.loads(facts), detail, since, run) == (
            {"keys": ["B"], "more": 0},
            None,
            store.now(),
            RUN,
        )


def test_homonyms_whose_birthdates_differ_are_not_held(tmp_path: Path) -> None:
    born = [{"birthdate": f"19{year}-03-05T00:00:00Z"} for year in (50, 87)]
    with opened(tmp_path / "state.db") as store:
        put(store, {key: {**HOMONYMS[key], **birth} for key, birth in zip("AB", born, strict=True)})
        assert check(store) == {}


def test_a_family_on_one_mailbox_goes_and_the_nameless_one_on_it_is_held_with_all(tmp_path: Path) -> None:
    family = {
        key: person(key, mail="family@example.org", firstname=name, surname="Martin")
        for key, name in (("A", "Jean"), ("B", "Anne"), ("C", "Zoë"))
    }
    with opened(tmp_path / "state.db") as store:
        put(store, family)
        assert check(store) == {}
        put(store, {"D": {"mail": "FAMILY@example.org"}})
        assert check(store) == {"A": ["D"], "B": ["D"], "C": ["D"], "D": ["A", "B", "C"]}


def test_a_family_already_sent_is_left_alone_and_the_nameless_one_is_held(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {key: person(key, mail="family@example.org") for key in "ABC"})
        send_due(store)
        put(store, {"D": {"mail": "family@example.org"}})
        for how in ("hold", "first"):
            acts.retry(store)
            assert check(store, how) == {"D": ["A", "B", "C"]}


def test_renumbered_keys_collide_with_themselves(tmp_path: Path) -> None:
    """Without ids the source's new keys are the same people again: sent, they would hit the old ones."""
    people = [row(f"A{number}") for number in range(5)]
    with opened(tmp_path / "state.db") as store:
        load_rows(store, people, snapshot=True)
        send_due(store)
        load_rows(store, [{**cells, "id": f"B{cells['id']}"} for cells in people], snapshot=True)
        assert check(store) == {f"BA{number}": [f"A{number}"] for number in range(5)}
        assert due_keys(store) == []


def test_who_never_left_and_never_will_collides_with_nobody(tmp_path: Path) -> None:
    """Renumbered before the first send: the old keys are missing, and nobody will send them."""
    people = [row(f"A{number}") for number in range(5)]
    with opened(tmp_path / "state.db") as store:
        load_rows(store, people, snapshot=True)
        load_rows(store, [{**cells, "id": f"B{cells['id']}"} for cells in people], snapshot=True)
        assert check(store) == {}
        acts.release(store, ["A1"])  # it will be sent after all
        assert check(store) == {"BA1": ["A1"]}
        assert due_keys(store) == ["A1", "BA0", "BA2", "BA3", "BA4"]


@pytest.mark.parametrize("result", [Result.UNKNOWN, Result.ACCEPTED])
def test_who_is_missing_but_may_be_in_qomon_still_collides(tmp_path: Path, result: Result) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A")], snapshot=True)
        send_due(store, result)
        load_rows(store, [{**row("A"), "id": "B"}], snapshot=True)
        for how in ("hold", "first"):
            acts.retry(store)
            assert check(store, how) == {"B": ["A"]}


def test_contacts_with_an_id_go_and_hold_those_without(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, HOMONYMS)
        learn(store, "B")
        for how in ("hold", "first"):
            acts.retry(store)
            assert check(store, how) == {"A": ["B"]}
        assert due_keys(store) == ["B"]


def test_first_lets_the_first_key_go_and_the_rest_stays_held_for_good(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, dict.fromkeys("CAB", HOMONYMS["A"]))
        assert check(store, "first") == {"B": ["A", "C"], "C": ["A", "B"]}
        assert send_due(store) == 1
        put(store, {"A": {**HOMONYMS["A"], "phone": "1"}, "0": HOMONYMS["B"]})
        acts.retry(store)
        assert set(check(store, "first")) == {"0", "B", "C"}
        assert due_keys(store) == ["A"]


def test_first_lets_whoever_is_in_doubt_or_in_flight_go_before_the_first_key(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {"C": HOMONYMS["A"]})
        run = store.begin_run("sync")
        changes = claim_due(store, run)
        put(store, {"A": HOMONYMS["A"]})
        for how in ("hold", "first"):
            acts.retry(store)
            assert check(store, how) == {"A": ["C"]}  # C is in flight: too late to hold it
        settle_all(store, run, changes, Result.UNKNOWN)
        assert check(store, "first") == {"A": ["C"]}
        acts.retry(store)
        assert check(store, "first") == {"A": ["C"]}
        assert check(store) == {"A": ["C"], "C": ["A"]}


def test_a_released_contact_goes_and_still_holds_others(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, HOMONYMS)
        check(store)
        acts.release(store, ["A"])
        assert check(store) == {"B": ["A"]}
        assert due_keys(store) == ["A"]
        put(store, {"A": {**HOMONYMS["A"], "phone": "1"}})  # released for that content only
        assert set(check(store)) == {"A", "B"}


def test_who_is_held_for_something_else_collides_all_the_same(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {"A": {"surname": "Martin"}, "B": {"surname": "Martin", "mail": "m@example.org"}})
        classes = {IdentityClass.NAMES_ONLY: "names alone"}
        assert holding.hold_without_identity(store, classes, run=RUN) == 1
        assert check(store) == {"B": ["A"]}


def test_without_anybody_due_nobody_is_held_and_nothing_is_read(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, dict.fromkeys("AB", HOMONYMS["A"]))
        send_due(store)
        statements: list[str] = []
        store.connection.set_trace_callback(statements.append)
        assert check(store) == {}
        assert sum("json_each" in statement for statement in statements) == 0


# --- groups and pages


def test_a_shared_mailbox_above_the_cap_holds_all_and_says_so(tmp_path: Path) -> None:
    crowd = {f"K{number:02d}": person(f"K{number:02d}", mail="all@example.org") for number in range(30)}
    with opened(tmp_path / "state.db") as store:
        put(store, {**crowd, "L": person("L")})
        learn(store, "K07")
        assert check(store, cap=30) == {}
        found = check(store, "first", cap=29, page=7)
        assert set(found) == crowd.keys() - {"K07"}
        assert due_keys(store) == ["K07", "L"]
        told = {key: orjson.loads(contents(store, "problem_facts")[key][0]) for key in found}
        hint = "more than 29 contacts share its mail; they were not compared one by one"
        assert told["K03"] == {
            "keys": [key for key in sorted(crowd) if key != "K03"][:LISTED],
            "more": 9,
            "hint": hint,
        }
        assert {(len(facts["keys"]), facts["more"], facts["hint"]) for facts in told.values()} == {
            (20, 9, hint)
        }


def test_a_mailbox_above_the_cap_whose_people_will_not_be_sent_is_no_crowd(tmp_path: Path) -> None:
    crowd = [row(f"A{number}", mail="all@example.org") for number in range(9)]
    with opened(tmp_path / "state.db") as store:
        load_rows(store, crowd, snapshot=True)
        load_rows(store, [row("B", mail="all@example.org")], snapshot=True, allow_shrink=True)
        assert check(store, cap=5) == {}
        assert due_keys(store) == ["B"]


people = st.fixed_dictionaries(
    {},
    optional={
        "mail": st.sampled_from(["a@b.org", "c@d.org", "e@f.org"]),
        "surname": st.sampled_from(["Martin", "Müller", "MULLER"]),
        "firstname": st.sampled_from(["Ada", "Zoë"]),
        "birthdate": st.sampled_from(["1815-12-10T00:00:00Z", "1852-11-27T00:00:00Z"]),
        "address": st.fixed_dictionaries(
            {},
            optional={
                "city": st.sampled_from(["Lyon", "Paris"]),
                "postalcode": st.sampled_from(["69001", "75001"]),
                "street": st.sampled_from(["Rue", "Quai"]),
            },
        ),
    },
)
SENT, IN_DOUBT, WITH_ID, MISSING, RELEASED, REJECTED = (
    "sent",
    "in doubt",
    "id",
    "missing",
    "released",
    "rejected",
)
stored = st.tuples(
    people,
    st.sets(st.sampled_from([SENT, IN_DOUBT, WITH_ID, MISSING, RELEASED, REJECTED]), max_size=2),
    st.booleans(),
)


def _store_them(store: Store, crowd: Mapping[str, tuple[dict[str, Any], set[str], bool]]) -> None:
    """Store people; those that are not due are accepted with exactly this content, or rejected."""
    put(store, {key: content for key, (content, _, _) in crowd.items()})
    with store.writing() as connection:
        for key, (_, marks, is_due) in crowd.items():
            changes = []
            if SENT in marks:
                changes.append("accepted_at = 1, accepted_hash = " + ("x'00'" if is_due else "content_hash"))
            if IN_DOUBT in marks:
                changes.append("in_doubt = 1")
            if WITH_ID in marks:
                changes.append("remote_id = n, identity = 5")
            if MISSING in marks:
                changes.append("missing = 1")
            if RELEASED in marks:
                changes.append("released_hash = content_hash")
            if REJECTED in marks:
                changes.append("problem = 'rejected', problem_hash = content_hash")
            if changes:
                connection.execute(f"UPDATE contacts SET {', '.join(changes)} WHERE key = ?", (key,))


def _pair_by_pair(
    crowd: Mapping[str, tuple[dict[str, Any], set[str], bool]], due: Iterable[str], how: str
) -> dict[str, list[str]]:
    """Decide as the contract says it, with a look at every pair."""
    everybody = {
        key: Person(key, traits_of(content), WITH_ID in marks, bool({SENT, IN_DOUBT} & marks))
        for key, (content, marks, _) in crowd.items()
    }
    expected = {}
    for key in due:
        one, marks = everybody[key], crowd[key][1]
        if marks & {WITH_ID, RELEASED, MISSING}:
            continue
        others = [
            other
            for other in everybody.values()
            if other.key != key
            and collide(one.traits, other.traits)
            and (
                other.has_id
                or other.was_accepted
                or MISSING not in crowd[other.key][1]
                or RELEASED in crowd[other.key][1]
            )
        ]
        is_first = all(one.rank < other.rank for other in others)
        if others and not (how == "first" and is_first):
            expected[key] = sorted(other.key for other in others)
    return expected


@given(
    crowd=st.lists(stored, min_size=1, max_size=14),
    how=st.sampled_from(["hold", "first"]),
    page=st.integers(1, 6),
    members=st.sampled_from([1, 5, 1000]),
)
@hypothesis_settings(
    derandomize=True, deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow]
)
def test_whoever_a_look_at_every_pair_finds_is_held_whatever_the_pages(
    crowd: list[tuple[dict[str, Any], set[str], bool]], how: str, page: int, members: int
) -> None:
    memory = Path("/dev/shm")
    named = {f"K{number:02d}": one for number, one in enumerate(crowd)}
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name,
        opened(Path(name) / "state.db") as store,
    ):
        _store_them(store, named)
        expected = _pair_by_pair(named, due_keys(store), how)
        assert check(store, how, page=page, members=members) == expected


def test_a_group_is_held_across_pages_and_listed_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {f"K{number:02d}": person("x") for number in range(25)})
        found = check(store, page=4, members=3)
        assert len(found) == 25
        assert found["K24"] == [f"K{number:02d}" for number in range(20)]
        assert found["K02"] == [f"K{number:02d}" for number in range(21) if number != 2]


def test_only_the_keys_asked_about_and_those_they_meet_are_looked_at(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        _accepted(store, {"M": person("M"), "N": person("N")})
        put(store, {"M": person("Y"), "N": person("Z")})
        put(store, {**HOMONYMS, "C": person("C"), "D": person("C"), "E": person("E")})
        assert hold_collisions(store, "hold", run=RUN, keys=["E"]) == 0
        assert hold_collisions(store, "hold", run=RUN, keys=["E", "C"]) == 2
        assert held(store) == {"C": ["D"], "D": ["C"]}
        assert hold_moved_keys(store, run=RUN, keys=["A", "M"]) == 1
        assert due_keys(store) == ["A", "B", "E", "N"]


def test_every_question_about_others_is_answered_by_an_index(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {**HOMONYMS, "C": person("C")})
        statements: list[str] = []
        store.connection.set_trace_callback(statements.append)
        Collisions(store.connection, "hold", cap=1).held([Suspect("A", "jean@example.org", "martin\x1fjean")])
        store.connection.set_trace_callback(None)
        assert len(statements) >= 4
        for statement in statements:
            plan = store.connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            steps = [step[3] for step in plan if " p" in step[3] or "contacts" in step[3]]
            assert steps
            for step in steps:
                assert "SEARCH contacts USING" in step, (statement, step)
                assert "INDEX contacts_mail" in step or "INDEX contacts_name" in step


# --- a key that names another person


def _accepted(store: Store, contacts: Mapping[str, dict[str, Any]]) -> None:
    put(store, contacts)
    send_due(store)
    learn(store, *contacts)


def test_a_key_that_names_another_person_is_held(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        _accepted(store, {key: person(key) for key in "ABCD"})
        put(
            store,
            {
                "A": person("Z"),
                "B": person("B", mail="new@example.org"),
                "C": person("C", surname="Married"),
                "E": person("E"),
            },
        )
        assert hold_moved_keys(store, run=RUN) == 1
        assert due_keys(store) == ["B", "C", "E"]
        state, reason, facts, run = contents(store, "problem, problem_reason, problem_facts, problem_run")[
            "A"
        ]
        assert (state, reason, facts, run) == ("held", MOVED_KEY, None, RUN)
        assert moved_keys(store) == (1, 4)
        assert hold_moved_keys(store, run=RUN) == 0


def test_a_moved_key_that_was_released_goes(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        _accepted(store, {"A": person("A")})
        put(store, {"A": person("Z")})
        hold_moved_keys(store, run=RUN)
        acts.release(store, ["A"])
        assert hold_moved_keys(store, run=RUN) == 0
        assert due_keys(store) == ["A"]
        assert moved_keys(store) == (0, 1)


def test_a_key_is_compared_with_what_was_seen_applied_before_what_was_accepted(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        _accepted(store, {"A": person("A"), "B": person("B")})
        with store.writing() as connection:
            connection.execute("UPDATE contacts SET applied_hash = content_hash WHERE key = 'A'")
        put(store, {"A": person("A", mail="new@example.org"), "B": person("B", mail="new@example.net")})
        send_due(store)
        put(
            store,
            {
                "A": person("Z", mail="a@example.org"),  # the mail that was seen, not the one since accepted
                "B": person("Z", mail="new@example.net"),
            },
        )
        assert hold_moved_keys(store, run=RUN) == 0
        put(store, {"A": person("Z", mail="new@example.org")})
        assert hold_moved_keys(store, run=RUN) == 1
        assert due_keys(store) == ["B"]


def test_an_id_without_any_earlier_content_holds_nobody(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {"A": person("A")})
        learn(store, "A")
        assert hold_moved_keys(store, run=RUN) == 0
        assert moved_keys(store) == (0, 1)


# --- identity that changed before the id was known


def test_who_changed_identity_before_its_id_was_known_is_found_in_pages(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {key: person(key) for key in "ABCDEF"})
        send_due(store)
        learn(store, "F")
        put(
            store,
            {
                "A": person("A", mail="new@example.org"),
                "B": person("B", phone="1"),
                "C": person("C", firstname="Anne"),
                "D": person("D", birthdate="1815-12-10T00:00:00Z"),
                "F": person("F", surname="Other"),
                "G": person("G"),
            },
        )
        pages = []
        after = ""
        while page := changed_identities(store, after, 2):
            pages.append([one.key for one in page])
            after = page[-1].key
        assert pages == [["A", "C"], ["D"]]
        first = changed_identities(store, "", 1)[0]
        assert (first.n, first.accepted, first.content) == (
            contents(store, "n")["A"][0],
            person("A"),
            person("A", mail="new@example.org"),
        )
        assert "example" not in repr(first)


def test_hold_leaves_the_released_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        put(store, {key: person(key) for key in "ABC"})
        numbers = [n for (n,) in contents(store, "n").values()]
        assert hold(store, numbers[:1], IDENTITY_CHANGED, run=RUN) == 1
        acts.release(store, ["A"])
        assert hold(store, numbers[:2], IDENTITY_CHANGED, run=RUN, facts={"ids": [5]}) == 1
        assert hold(store, [], IDENTITY_CHANGED, run=RUN) == 0
        assert due_keys(store) == ["A", "C"]
        found = contents(store, "problem, problem_reason, problem_facts, problem_run")["B"]
        assert found == ("held", IDENTITY_CHANGED, '{"ids":[5]}', RUN)


def test_every_reason_has_its_remedy() -> None:
    for reason in (COLLIDES, MOVED_KEY, IDENTITY_CHANGED):
        assert remedy("held", reason) != remedy("held", "no such reason")


def test_who_a_killed_run_may_have_sent_counts_as_accepted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A")], snapshot=True)
        claim_due(store, store.begin_run("sync"))
        crash(store)
    with opened(path) as store:
        load_rows(store, [{**row("A"), "id": "0"}], snapshot=True)
        assert check(store, "first") == {"0": ["A"]}
