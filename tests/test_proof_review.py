"""Ways in which a read-back could take one person, or one silence, for another: each happened once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from test_proof_virtual import MemoryQomon, MemorySpace, _seen
from test_store_kit import Wall, opened

from syncengine.budget import Budget
from syncengine.model import Change, Receipt, Result, Verdict
from syncengine.paying import Paying
from syncengine.problems import DEAD_ID, DROPPED, NO_LONGER
from syncengine.seen import Seen
from syncengine.store import sending
from syncengine.store.acts import release, rematch, retry
from syncengine.store.holding import hold_dead_ids, hold_where
from syncengine.store.proof import Settled, settle_seen
from syncengine.store.store import Store
from syncengine.store.unsettled import rows_of

AT = 1_700_000_000.0


def contact(first: str, **fields: Any) -> dict[str, Any]:
    return {"firstname": first, "surname": "Dupont", "mail": "family@canary.example", **fields}


def space() -> MemorySpace:
    return MemorySpace(MemoryQomon(lambda _change: None), Paying(Budget(rate=1.0, burst=1.0)))


def accept(store: Store, run: int, *, result: Result = Result.ACCEPTED) -> list[Change]:
    page = sending.due_page(store, "", 100)
    changes = sending.claim(store, page, run=run, space=space()).changes
    sending.settle(store, sending.Batch([Receipt(change, result, date=AT) for change in changes]), run=run)
    return changes


@contextmanager
def accepted(folder: Path, *people: tuple[str, Mapping[str, Any]]) -> Iterator[tuple[Store, int]]:
    """Open a store in which these people were just accepted."""
    with opened(folder / "state.db", Wall(AT)) as store:
        sending.put(store, people)
        run = store.begin_run("sync")
        accept(store, run)
        yield store, run


def settle(
    store: Store, run: int, seen: list[Seen], *, final: dict[int, bool] | None = None
) -> list[Settled]:
    return settle_seen(store, space(), seen, run=run, final=final)


def ids(store: Store) -> dict[str, int | None]:
    with store.reading() as connection:
        return dict(connection.execute("SELECT key, remote_id FROM contacts").fetchall())


def test_a_dropped_sibling_takes_nobodys_contact(tmp_path: Path) -> None:
    people = [("A", contact("Anna")), ("B", contact("Ben"))]
    with accepted(tmp_path, *people) as (store, run):
        seen = [_seen(7, contact("Ben"), AT + 2)]
        found = {one.n: one.verdict for one in settle(store, run, seen, final={1: False})}
        assert found == {1: Verdict.DROPPED, 2: Verdict.CONFIRMED}
        assert ids(store) == {"A": None, "B": 7}


def test_a_dropped_sibling_takes_nobody_who_is_not_in_the_source_either(tmp_path: Path) -> None:
    with accepted(tmp_path, ("A", contact("Anna")), ("B", contact("Ben"))) as (store, run):
        found = settle(store, run, [_seen(7, contact("Carl"), AT + 2)], final={1: False})
        assert [one.verdict for one in found] == [Verdict.DROPPED]
        assert ids(store) == {"A": None, "B": None}


def test_namesakes_with_other_mails_keep_their_own_ids(tmp_path: Path) -> None:
    people = [(key, contact("Jean", mail=f"{key.lower()}@canary.example")) for key in ("A", "B")]
    with accepted(tmp_path, *people) as (store, run):
        assert not settle(store, run, [_seen(9, {**people[1][1], "phone": "1"}, AT + 2)])[1:]
        assert ids(store) == {"A": None, "B": 9}
        settle(store, run, [_seen(8, people[0][1], AT + 2)])
        assert ids(store) == {"A": 8, "B": 9}


def test_a_namesake_whom_staff_made_meanwhile_is_not_taken_for_a_contact(tmp_path: Path) -> None:
    with accepted(tmp_path, ("A", contact("Jean"))) as (store, run):
        seen = [_seen(9, contact("Jean", mail="another@canary.example"), AT + 2)]
        assert settle(store, run, seen) == []
        assert ids(store) == {"A": None}


def test_whoever_is_seen_as_sent_goes_before_whoever_only_fits(tmp_path: Path) -> None:
    plain = {"firstname": "Jean", "surname": "Dupont"}
    people = [("A", plain | {"phone": "1"}), ("B", plain | {"birthdate": "1980-01-02T00:00:00Z"})]
    with opened(tmp_path / "state.db", Wall(AT)) as store:
        sending.put(store, people)
        run = store.begin_run("sync")
        accept(store, run)
        (found,) = settle(store, run, [_seen(9, people[1][1], AT + 2)])
        assert (found.n, found.verdict, ids(store)) == (2, Verdict.CONFIRMED, {"A": None, "B": 9})


def test_staff_that_renamed_somebody_does_not_make_them_dropped(tmp_path: Path) -> None:
    with accepted(tmp_path, ("A", contact("Anna"))) as (store, run):
        (found,) = settle(store, run, [_seen(7, contact("Anna", surname="Roux"), AT + 2)], final={1: False})
        assert (found.verdict, ids(store)) == (Verdict.DIFFERS, {"A": 7})


def test_what_was_equal_before_shows_no_progress_of_the_queue(tmp_path: Path) -> None:
    with accepted(tmp_path, ("A", contact("Anna"))) as (store, run):
        (found,) = settle(store, run, [_seen(7, contact("Anna"), AT - 500)])
        assert (found.verdict, found.shows_progress) == (Verdict.CONFIRMED, False)
        assert store.connection.execute("SELECT seen_date FROM space").fetchone() == (0.0,)


def test_after_lost_answers_of_two_contents_the_contact_goes_whole(tmp_path: Path) -> None:
    """A, then B without an answer, then C without one: a partial body could leave B's standing."""
    with accepted(tmp_path, ("A", contact("Anna", phone="1"))) as (store, run):
        settle(store, run, [_seen(7, contact("Anna", phone="1"), AT + 2)])
        for phone, mobile in (("2", "8"), ("1", "9")):
            sending.put(store, [("A", contact("Anna", phone=phone, mobile=mobile))])
            accept(store, run, result=Result.UNKNOWN)
        page = sending.due_page(store, "", 10)
        (change,) = sending.claim(store, page, run=run, space=space()).changes
        assert change.partial is None


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_content_that_was_accepted_and_never_seen_is_not_settled_without_a_send(
    tmp_path: Path, *, is_seen: bool
) -> None:
    """A seen, B accepted, back to A: Qomon may hold B."""
    with accepted(tmp_path, ("A", contact("Anna"))) as (store, run):
        settle(store, run, [_seen(7, contact("Anna"), AT + 2)])
        sending.put(store, [("A", contact("Anna", phone="2"))])
        accept(store, run)
        if is_seen:
            settle(store, run, [_seen(7, contact("Anna", phone="2"), AT + 2)])
        sending.put(store, [("A", contact("Anna"))])
        claimed = sending.claim(store, sending.due_page(store, "", 10), run=run, space=space())
        assert (len(claimed.changes), len(claimed.unneeded)) == ((0, 1) if is_seen else (1, 0))
        assert release(store, ["A"])[0].released is False


# --- what was accepted, and overwritten before a read showed it


def stored(store: Store, columns: str) -> tuple[Any, ...]:
    with store.reading() as connection:
        found: tuple[Any, ...] = connection.execute(f"SELECT {columns} FROM contacts").fetchone()
    return found


def applied(store: Store) -> dict[str, Any]:
    (content,) = stored(store, "coalesce(applied, content)")
    found: dict[str, Any] = orjson.loads(content)
    return found


@pytest.mark.parametrize("result", [Result.ACCEPTED, Result.UNKNOWN])
@pytest.mark.parametrize("is_applied", [True, False])
def test_what_an_unread_content_left_behind_counts_as_applied_once_it_is_seen(
    tmp_path: Path, result: Result, *, is_applied: bool
) -> None:
    """Phone accepted, then a content without it, itself accepted or without an answer."""
    with accepted(tmp_path, ("A", contact("Anna", phone="1"))) as (store, run):
        sending.put(store, [("A", contact("Anna", mobile="2"))])
        accept(store, run, result=result)
        left = {"phone": "1"} if is_applied else {}
        (found,) = settle(store, run, [_seen(7, contact("Anna", mobile="2", **left), AT + 2)])
        assert found.verdict is Verdict.CONFIRMED
        assert applied(store) == contact("Anna", mobile="2", **left)
        assert stored(store, "unseen, awaiting, in_doubt") == (None, 0, 0)


def test_of_several_unread_contents_whatever_none_carries_any_more_is_kept(tmp_path: Path) -> None:
    with accepted(tmp_path, ("A", contact("Anna", phone="1", mobile="2"))) as (store, run):
        assert stored(store, "unseen") == (None,)
        sending.put(store, [("A", contact("Anna", mobile="3"))])
        accept(store, run)
        assert orjson.loads(*stored(store, "unseen")) == {"phone": "1"}
        sending.put(store, [("A", contact("Anna", phone="4"))])
        accept(store, run)
        assert orjson.loads(*stored(store, "unseen")) == {"mobile": "3"}
        settle(store, run, [_seen(7, contact("Anna", phone="4", mobile="2"), AT + 2)])
        assert applied(store) == contact("Anna", phone="4")  # the mobile of the second was never applied


def test_an_unread_content_that_was_never_applied_hides_nothing_that_was(tmp_path: Path) -> None:
    """Phone 1 seen, then phone 2 accepted and dropped, then a content without one: Qomon still has 1."""
    with accepted(tmp_path, ("A", contact("Anna", phone="1"))) as (store, run):
        settle(store, run, [_seen(7, contact("Anna", phone="1"), AT + 2)])
        for fields in ({"phone": "2"}, {"mobile": "3"}):
            sending.put(store, [("A", contact("Anna", **fields))])
            accept(store, run)
        assert orjson.loads(*stored(store, "unseen")) == {"phone": "2"}
        settle(store, run, [_seen(7, contact("Anna", phone="1", mobile="3"), AT + 9)])
        assert applied(store) == contact("Anna", phone="1", mobile="3")


def test_whoever_is_read_between_two_sends_or_sent_the_same_again_leaves_nothing_unseen(
    tmp_path: Path,
) -> None:
    with accepted(tmp_path, ("A", contact("Anna", phone="1"))) as (store, run):
        sending.put(store, [("A", contact("Anna"))])
        accept(store, run, result=Result.UNKNOWN)
        sending.put(store, [("A", contact("Anna", phone="1"))])
        accept(store, run)
        assert stored(store, "unseen") == (None,)
        settle(store, run, [_seen(7, contact("Anna", phone="1"), AT + 2)])
        sending.put(store, [("A", contact("Anna", mobile="2"))])
        accept(store, run)
        assert stored(store, "unseen") == (None,)


def test_twins_keep_what_is_unseen_for_the_next_read(tmp_path: Path) -> None:
    with accepted(tmp_path, ("A", contact("Anna", phone="1"))) as (store, run):
        sending.put(store, [("A", contact("Anna"))])
        accept(store, run)
        two = [_seen(number, contact("Anna", phone="1"), AT + 2) for number in (7, 8)]
        settle(store, run, two)
        assert retry(store) == 1
        settle(store, run, two[:1])
        assert applied(store) == contact("Anna", phone="1")


# --- ids that are dead


@contextmanager
def dead(folder: Path) -> Iterator[tuple[Store, int]]:
    """Open a store in which a contact was seen, then changed and accepted, and nobody has its id any more."""
    with accepted(folder, ("A", contact("Anna"))) as (store, run):
        settle(store, run, [_seen(7, contact("Anna"), AT + 2)])
        sending.put(store, [("A", contact("Anna", phone="2"))])
        accept(store, run)
        settle(store, run, [], final={1: True})
        yield store, run


def claim(store: Store, run: int) -> list[Change]:
    return sending.claim(store, sending.due_page(store, "", 100), run=run, space=space()).changes


def test_an_edit_during_the_run_that_finds_the_id_dead_is_not_sent_to_it(tmp_path: Path) -> None:
    with dead(tmp_path) as (store, run):
        sending.put(store, [("A", contact("Anna", phone="3"))])
        assert len(sending.due_page(store, "", 100)) == 1
        assert claim(store, run) == []
        assert stored(store, "problem, problem_reason, problem_hash IS content_hash") == ("held", DEAD_ID, 1)
        assert sending.due_page(store, "", 100) == []


def test_a_person_releases_nobody_to_a_dead_id(tmp_path: Path) -> None:
    with dead(tmp_path) as (store, run):
        sending.put(store, [("A", contact("Anna", phone="3"))])
        with store.writing() as connection:
            hold_where(connection, NO_LONGER, "1", run=run, now=AT)
        assert release(store, ["A"])[0].released
        assert hold_dead_ids(store, run=run) == 1
        assert release(store, ["A"])[0].why == "nobody has its id any more; problems --rematch forgets the id"


def test_a_rematch_needs_no_sync_after_the_content_changed(tmp_path: Path) -> None:
    with dead(tmp_path) as (store, run):
        sending.put(store, [("A", contact("Anna", phone="3"))])
        assert rematch(store, ["A"])[0].rematched
        assert hold_dead_ids(store, run=run) == 0
        (change,) = claim(store, run)
        assert (change.remote_id, change.partial) == (None, None)


@pytest.mark.parametrize("is_alive", [True, False])
@pytest.mark.parametrize("is_held", [True, False])
def test_retry_looks_for_a_dead_id_and_a_sight_of_it_lets_its_contact_go(
    tmp_path: Path, *, is_alive: bool, is_held: bool
) -> None:
    with dead(tmp_path) as (store, run):
        if is_held:
            sending.put(store, [("A", contact("Anna", phone="3"))])
            assert hold_dead_ids(store, run=run) == 1
        assert retry(store) == 1
        assert stored(store, "awaiting") == (1,)
        assert hold_dead_ids(store, run=run) == int(is_held)
        seen = [_seen(7, contact("Anna"), AT - 9)] if is_alive else []
        settle(store, run, seen, final={1: not is_alive})
        if is_alive:
            assert stored(store, "dead_id, problem_reason") == (0, None if is_held else DROPPED)
            retry(store)
            assert orjson.loads(claim(store, run)[0].partial or b"")["phone"] == ("3" if is_held else "2")
        else:
            assert stored(store, "dead_id, problem_reason") == (1, DEAD_ID)
            assert claim(store, run) == []


# --- questions


def steps_of(store: Store, statements: list[str]) -> list[str]:
    return [
        step[3]
        for statement in statements
        for step in store.connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    ]


def test_contacts_that_nothing_identifies_are_found_by_an_index(tmp_path: Path) -> None:
    """Among a million who wait for a read: the question is asked for every chunk that is read."""
    bare = {"firstname": "Anna", "phone": "1"}
    people = [(f"K{number}", contact(f"Ben{number}")) for number in range(20)]
    with accepted(tmp_path, *people, ("A", bare), ("B", {"firstname": "Carl"})) as (store, run):
        sending.put(store, [("C", {"firstname": "Dora"})])
        accept(store, run, result=Result.UNKNOWN)
        statements: list[str] = []
        store.connection.set_trace_callback(statements.append)
        rows = rows_of(store.connection, [_seen(7, bare, AT + 2)], ())
        store.connection.set_trace_callback(None)
        assert [row.key for row in rows.values()] == ["A", "B", "C"]
        steps = steps_of(store, statements)
        scans = [step for step in steps if step.startswith(("SCAN contacts", "SCAN i", "SCAN c", "SCAN o"))]
        assert scans == ["SCAN contacts USING INDEX contacts_bare"], steps
        settle(store, run, [_seen(7, bare, AT + 2)])
        assert len(rows_of(store.connection, [_seen(8, bare, AT + 2)], ())) == 2


def test_dead_ids_are_found_by_an_index_that_holds_nobody_else(tmp_path: Path) -> None:
    with accepted(tmp_path, ("A", contact("Anna"))) as (store, run):
        statements: list[str] = []
        store.connection.set_trace_callback(statements.append)
        hold_dead_ids(store, run=run)
        store.connection.set_trace_callback(None)
        updates = [statement for statement in statements if statement.startswith("UPDATE")]
        assert steps_of(store, updates) == ["SCAN contacts USING INDEX contacts_dead"]
