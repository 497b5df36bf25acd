"""Ways in which a read-back could take one person, or one silence, for another: each happened once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_proof_virtual import MemoryQomon, MemorySpace, _seen
from test_store_kit import Wall, opened

from syncengine.budget import Budget
from syncengine.model import Change, Receipt, Result, Verdict
from syncengine.paying import Paying
from syncengine.seen import Seen
from syncengine.store import sending
from syncengine.store.acts import release
from syncengine.store.proof import Settled, settle_seen
from syncengine.store.store import Store

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
