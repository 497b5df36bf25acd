"""forget, retry, release, rematch; and the exports that forget names."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from test_store_kit import (
    SUFFIXES,
    child,
    claim_due,
    contents,
    crash,
    due_keys,
    load_rows,
    opened,
    person,
    raw_bytes,
    row,
    send_due,
    settle_all,
)

from syncengine.errors import StoreError
from syncengine.hashing import content_hash
from syncengine.identity import IdentityClass
from syncengine.model import Attempt, Result
from syncengine.partial import changed
from syncengine.problems import CONSENT_KEPT, DEAD_ID, DROPPED, MAIL_ONLY, TWINS, UNPROVEN_ID, differs_in
from syncengine.store import acts, driver, holding, sending
from syncengine.store.notes import note_digests
from syncengine.store.opened import open_store
from syncengine.store.store import Store


@pytest.fixture(params=["wal", "truncate"])
def journal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    mode: str = request.param
    monkeypatch.setattr(driver, "journal_mode", lambda: mode)
    return mode


@pytest.mark.parametrize("seed", range(3))
def test_forget_leaves_no_byte_of_the_people_in_any_file(tmp_path: Path, journal: str, seed: int) -> None:
    """Also not the copies that a page split leaves behind, where secure_delete does not reach."""
    chance = random.Random(seed)
    keys = [f"KEY{chance.getrandbits(40):010x}" for _ in range(1500)]
    path = tmp_path / "state.db"
    marks = {key: [f"{mark}{key}".lower().encode() for mark in ("", "last", "old")] for key in keys}
    with opened(path) as store:
        for start in range(0, len(keys), 100):
            sending.put(store, [(key, person(key, note=f"old{key}")) for key in keys[start : start + 100]])
        run = store.begin_run("sync")
        for result in (Result.ACCEPTED, Result.UNKNOWN, Result.REJECTED):
            changes = claim_due(store, run, 500)
            sending.settle(
                store,
                sending.Batch(attempts=[Attempt(c, 1.0, "unknown", None, c.key) for c in changes]),
                run=run,
            )
            settle_all(store, run, changes, result)
        sending.put(store, [(key, person(key, phone="0" * chance.randrange(300))) for key in keys[::2]])
        rows = [row(key, born="no date") for key in keys[:9]] + [row(f"K{n}") for n in range(60)]
        load_rows(store, rows)
        (tmp_path / "people.csv").unlink()
        victims = [*keys[:9], *chance.sample(keys[9:], 60)]
        before = raw_bytes(path).lower()
        assert all(mark in before for key in victims for mark in marks[key][:2])
        forgotten = acts.forget(store, victims)
        assert all(one.was_known for one in forgotten)
        found = raw_bytes(path).lower()
        left = [key for key in victims if any(mark in found for mark in marks[key])]
        assert left == []
        assert send_due(store) > 0
    found = b"".join(file.read_bytes() for file in tmp_path.iterdir()).lower()
    assert [key for key in victims if any(mark in found for mark in marks[key])] == []


def test_forget_erases_what_a_killed_load_left_staged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A"), row("B")])
        with store.writing() as connection:
            connection.execute(
                "INSERT INTO loads (path, started, state, snapshot, mapping) "
                "VALUES ('p', 0, 'staging', 0, '')"
            )
            connection.execute(
                "INSERT INTO staged (line, key, content_hash, identity, mail, name, content) "
                "VALUES (1, 'A', x'00', 4, 'stagedmail', '', x'7b7d')"
            )
            connection.execute("INSERT INTO repeats VALUES ('A-repeat', 1, NULL)")
        crash(store)
    with open_store(path) as store:
        acts.forget(store, ["A"])
        found = raw_bytes(path)
        assert b"stagedmail" not in found
        assert b"A-repeat" not in found
        assert b"lasta" not in found.lower()


FORGET = """
import os, sys, pathlib
from syncengine.store import acts, store as store_module
from syncengine.store.opened import open_store
def kill(*a): os.kill(os.getpid(), 9)
if sys.argv[2] == "before": store_module.Store.rewrite = kill
if sys.argv[2] == "during": store_module.put_in_place = kill
with open_store(pathlib.Path(sys.argv[1])) as store:
    acts.forget(store, ["A"])
"""


@pytest.mark.parametrize("moment", ["before", "during", "never"])
def test_a_killed_forget_is_finished_by_calling_it_again(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A"), row("B")])
    _, errors = child(FORGET, path, moment).communicate()
    assert not errors
    with opened(path) as store:
        assert list(contents(store)) == ["B"]
        assert not path.with_name("state.db.new").exists()
        acts.forget(store, ["A"])
        assert b"lasta" not in raw_bytes(path).lower()
        assert store.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert load_rows(store, [row("A"), row("B")]).forgotten == 1


def test_a_reader_that_stays_makes_forget_fail_loudly_not_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "BUSY_SECONDS", 0.2)
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B")])
        reader = driver.open_for_reading(store.path)
        with pytest.raises(StoreError, match="another program keeps the file locked"):
            acts.forget(store, ["A"])
        reader.close()
        assert acts.forget(store, ["A"])[0].was_known is False
        assert b"lasta" not in raw_bytes(store.path).lower()
        assert send_due(store) == 1


def test_forget_says_what_qomon_still_holds_and_names_the_exports(tmp_path: Path) -> None:
    now = 1_700_000_000
    before, after, gone = (tmp_path / name for name in ("before.csv", "after.csv", "gone.csv"))
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B")])
        for file, at in ((before, now - 10), (after, now + 10), (gone, now + 10)):
            file.touch()
            os.utime(file, (at, at))
            acts.note_export(store.path, file)
        gone.unlink()
        with acts.export_list(store.path).open("ab") as torn:
            torn.write(b'{"path": "half')
        run = store.begin_run("sync")
        settle_all(store, run, claim_due(store, run, 1))
        first, second, third = acts.forget(store, ["A", "B", "nobody", "A"])
        assert first == acts.Forgotten(
            "A", was_known=True, was_sent=True, remote_id=None, exports=[str(after)]
        )
        assert (second.was_sent, second.exports) == (False, [str(after)])
        assert third == acts.Forgotten("nobody", was_known=False, was_sent=False, remote_id=None, exports=[])


def test_a_forgotten_key_is_remembered_only_as_a_keyed_digest(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("SECRETKEY")])
        acts.forget(store, ["SECRETKEY"])
        digests = store.connection.execute("SELECT digest FROM tombstones").fetchall()
        assert [len(digest) for (digest,) in digests] == [16]
        assert b"SECRETKEY" not in raw_bytes(store.path)
    with opened(tmp_path / "other.db") as other:
        acts.forget(other, ["SECRETKEY"])
        assert other.connection.execute("SELECT digest FROM tombstones").fetchall() != digests


def test_retry_selects_by_key_and_by_the_beginning_of_the_reason(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B"), row("C", first="", last=""), row("D", first="", last="")])
        holding.hold_without_identity(store, {IdentityClass.MAIL_ONLY: MAIL_ONLY}, run=1)
        send_due(store, Result.REJECTED)
        assert due_keys(store) == []
        assert acts.retry(store, ["A", "nobody"]) == 1
        assert due_keys(store) == ["A"]
        assert acts.retry(store, reason="mail") == 2
        assert acts.retry(store, ["C"]) == 0
        assert acts.retry(store) == 1
        assert due_keys(store) == ["A", "B", "C", "D"]


def test_release_lets_a_held_contact_go_once_for_this_content_only(tmp_path: Path) -> None:
    classes = {IdentityClass.MAIL_ONLY: MAIL_ONLY, IdentityClass.UNPROVEN: UNPROVEN_ID}
    with opened(tmp_path / "state.db") as store:
        sending.put(store, [("A", {"mail": "a@example.org"}), ("I", {"id": 7, "mail": "i@example.org"})])
        load_rows(store, [row("B")])
        holding.hold_without_identity(store, classes, run=1)
        first, claimed, not_held, nobody = acts.release(store, ["A", "I", "B", "nobody"])
        assert first.released
        assert "only after a read" in claimed.why
        assert not_held.why == nobody.why == "it is not held"
        holding.hold_without_identity(store, classes, run=2)
        assert due_keys(store) == ["A", "B"]
        sending.put(store, [("A", {"mail": "a@example.org", "phone": "1"})])
        holding.hold_without_identity(store, classes, run=3)
        assert due_keys(store) == ["B"]
        acts.release(store, ["A"])
        send_due(store, Result.IN_DOUBT)
        assert due_keys(store) == []  # once: what it left in doubt is held again
        assert SUFFIXES[0] == ""


# --- what a read showed


def seen_applied(store: Store, key: str, remote_id: int = 7) -> None:
    """Write down that a read has shown a contact as sent."""
    with store.writing() as connection:
        connection.execute(
            "UPDATE contacts SET applied_hash = content_hash, applied = NULL, confirmed_hash = content_hash, "
            "confirmed_at = ?, remote_id = ?, identity = ?, awaiting = 0 WHERE key = ?",
            (store.now(), remote_id, IdentityClass.CONFIRMED.value, key),
        )


def open_problem(store: Store, key: str, state: str, reason: str, **facts: Any) -> None:
    """Write down a problem of a contact's present content, as the read-back does."""
    with store.writing() as connection:
        (n,) = connection.execute("SELECT n FROM contacts WHERE key = ?", (key,)).fetchone()
        holding.set_problem(connection, [n], state, reason, run=1, now=store.now(), facts=facts)
        connection.execute(
            "UPDATE contacts SET awaiting = 0, confirmed_hash = NULL, dead_id = ? WHERE n = ?",
            (reason == DEAD_ID, n),
        )


def differ(store: Store, key: str, *differences: tuple[str, Any, Any]) -> None:
    """Write down that a contact is seen with other values: field, sent, seen."""
    fields = [{"field": name, "sent": sent, "seen": seen} for name, sent, seen in differences]
    open_problem(store, key, "differs", differs_in(one["field"] for one in fields), fields=fields)


RICH = person(
    "A",
    phone="99",
    firstname="",
    address={"city": "Lyon", "street": "1 rue Haute", "addition": ""},
    tags=[{"name": "gold"}, {"name": "red"}],
    custom_fields=[
        {"label": "Job", "value": "a"},
        {"label": "Team", "value": "b"},
        {"id": 12, "value": "c"},
        {"id": 12, "value": "d"},
    ],
)


@pytest.mark.parametrize(
    ("difference", "goes"),
    [
        (("phone", "99", "+3399"), {"phone": "99"}),
        (("phone", "99", None), {"phone": "99"}),
        (("firstname", "", "Ada"), {"firstname": ""}),
        (("address.city", "Lyon", None), {"address": RICH["address"]}),
        (("address.addition", "", "Bât. B"), {"address": RICH["address"]}),
        (("tags", ["gold", "red"], ["red"]), {"tags": RICH["tags"]}),
        (("custom_fields.Job", ["a"], ["z"]), {"custom_fields": RICH["custom_fields"][:1]}),
        (("custom_fields.#12", ["c", "d"], ["c"]), {"custom_fields": RICH["custom_fields"][2:]}),
    ],
)
def test_retry_sends_exactly_the_differing_fields_again(
    tmp_path: Path, difference: tuple[str, Any, Any], goes: dict[str, Any]
) -> None:
    with opened(tmp_path / "state.db") as store:
        sending.put(store, [("A", RICH), ("B", person("B", phone="1"))])
        send_due(store)
        for number, key in enumerate("AB"):
            seen_applied(store, key, number)
        differ(store, "A", difference)
        differ(store, "B", ("phone", "1", "2"))
        assert due_keys(store) == []
        assert acts.retry(store, ["A"]) == 1
        assert due_keys(store) == ["A"]
        columns = "applied, applied_hash, accepted, accepted_hash, remote_id, problem"
        applied, applied_hash, accepted, accepted_hash, remote_id, problem = contents(store, columns)["A"]
        assert changed(orjson.loads(applied), RICH) == goes
        assert (accepted, accepted_hash) == (applied, applied_hash) == (applied, content_hash(applied))
        assert (remote_id, problem) == (0, None)


def test_retry_sends_the_notes_again_that_are_not_seen_and_no_other(tmp_path: Path) -> None:
    content = person("A", notes=[{"content": "arrived"}, {"content": "lost"}])
    with opened(tmp_path / "state.db") as store:
        sending.put(store, [("A", content)])
        send_due(store)
        seen_applied(store, "A")
        differ(store, "A", ("notes", ["arrived", "lost"], ["arrived"]))
        acts.retry(store)
        kept = [bytes(row[0]) for row in store.connection.execute("SELECT note FROM notes_sent").fetchall()]
        assert kept == note_digests(orjson.dumps(content))[:1]
        assert due_keys(store) == ["A"]


@pytest.mark.parametrize("reason", [TWINS, CONSENT_KEPT])
def test_retry_reads_again_what_no_send_can_settle(tmp_path: Path, reason: str) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A")])
        send_due(store)
        open_problem(store, "A", "differs", reason, ids=[1, 2])
        assert acts.retry(store, reason=reason) == 1
        assert due_keys(store) == []
        assert contents(store, "awaiting, problem, problem_facts")["A"] == (1, None, None)


def test_retry_makes_a_dropped_contact_due(tmp_path: Path) -> None:
    """Also one of which all was seen before: then nothing of it counts as seen any more."""
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B")])
        send_due(store)
        seen_applied(store, "B")
        with store.writing() as connection:
            connection.execute("UPDATE contacts SET accepted_hash = NULL WHERE key = 'A'")
        open_problem(store, "A", "dropped", DROPPED)
        open_problem(store, "B", "dropped", DROPPED)
        assert acts.retry(store) == 2
        assert due_keys(store) == ["A", "B"]
        assert contents(store, "applied_hash, remote_id")["B"] == (None, 7)


def test_retry_proves_a_dead_id_again_before_anything_is_sent_to_it(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A", phone="1")])
        send_due(store)
        seen_applied(store, "A")
        load_rows(store, [row("A", phone="2")])
        send_due(store)
        with store.writing() as connection:
            connection.execute("UPDATE contacts SET accepted_hash = applied_hash, accepted = applied")
        open_problem(store, "A", "dropped", DEAD_ID)
        assert acts.retry(store) == 1
        assert due_keys(store) == []
        assert contents(store, "awaiting, accepted_hash = content_hash")["A"] == (1, 1)


def test_rematch_forgets_a_dead_id_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A"), row("B"), row("C", mail="")])
        send_due(store)
        for number, key in enumerate("ABC"):
            seen_applied(store, key, number)
        open_problem(store, "A", "dropped", DEAD_ID)
        open_problem(store, "B", "dropped", DROPPED)
        open_problem(store, "C", "dropped", DEAD_ID)
        first, second, nobody = acts.rematch(store, ["A", "B", "nobody"])
        assert first == acts.Rematched("A", rematched=True, why="")
        assert second.why == nobody.why == "no dead id is known of it"
        assert acts.rematch(store, ["C"])[0].rematched
        assert due_keys(store) == ["A", "C"]
        gone = "remote_id, applied, applied_hash, confirmed_hash, accepted, accepted_hash, accepted_at"
        found = contents(store, f"identity, awaiting, look_again, {gone}")
        assert found["A"] == (IdentityClass.MAIL.value, 0, 0, *[None] * 7)
        assert found["C"] == (IdentityClass.NAMES_ONLY.value, 0, 0, *[None] * 7)
        assert contents(store, "remote_id, problem")["B"] == (1, "dropped")


def test_what_was_done_by_hand_is_part_of_the_story(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A")])
        send_due(store)
        seen_applied(store, "A", 4711)
        open_problem(store, "A", "dropped", DEAD_ID)
        acts.retry(store)
        open_problem(store, "A", "dropped", DEAD_ID)
        acts.rematch(store, ["A"])
        by_hand = store.connection.execute("SELECT result, detail FROM receipts WHERE run = 0 ORDER BY id")
        assert by_hand.fetchall() == [
            ("retried", f"by hand, was: {DEAD_ID}"),
            ("rematched", "by hand, its id was 4711"),
        ]


def test_forget_names_the_id_under_which_qomon_holds_the_person(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A")])
        send_due(store)
        seen_applied(store, "A", 4711)
        assert acts.forget(store, ["A"])[0].remote_id == 4711


@pytest.mark.parametrize("reason", ["could be the same person as another key", "Qomon would drop it: x"])
def test_a_released_contact_passes_the_same_hold_once(tmp_path: Path, reason: str) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("A")])
        with store.writing() as connection:
            holding.hold_where(connection, reason, "key = 'A'", run=1, now=0)
        assert acts.release(store, ["A"])[0].released
        with store.writing() as connection:
            assert holding.hold_where(connection, reason, "key = 'A'", run=2, now=0) == 0
        assert send_due(store) == 1
        with store.writing() as connection:
            assert holding.hold_where(connection, reason, "key = 'A'", run=3, now=0) == 1
