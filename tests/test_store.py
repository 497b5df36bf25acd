"""The state store's promises beside a small pure model: what is due, what is kept, what survives a crash."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_store_kit import Wall, load_rows, person, row

from syncengine.hashing import canonical, content_hash
from syncengine.identity import IdentityClass, identify
from syncengine.model import Change, Receipt, Result
from syncengine.outcome import NOT_FOUND_AGAIN
from syncengine.preflight import held_classes
from syncengine.problems import CRASHES, MAY_HAVE_BEEN_CREATED, NO_LONGER
from syncengine.sections import IdentitySettings
from syncengine.store import acts, counting, holding, sending, views
from syncengine.store.loading import rows_of_last_load
from syncengine.store.lock import RunLock
from syncengine.store.schema import STATE
from syncengine.store.store import Store

KEYS = [f"K{number}" for number in range(4)]
VERSIONS = ["", "1"]
STATES = {"in_flight", "held", "rejected", "changed", "accepted"}


@dataclass
class Known:
    """What the model knows of a contact: one of three contents, and one of three kinds of identity."""

    version: str
    kind: str
    accepted: tuple[str, str] | None = None
    was_accepted: bool = False
    intent: tuple[str, str] | None = None
    unknown: tuple[str, str] | None = None
    doubted: IdentityClass | None = None
    crashes: int = 0
    missing: bool = False
    problem: tuple[str, str] | None = None
    released: bool = False

    @property
    def content(self) -> tuple[str, str]:
        return (self.kind, self.version)

    @property
    def is_due(self) -> bool:
        return self.problem is None and (self.accepted != self.content or self.unknown is not None)

    @property
    def identity(self) -> IdentityClass:
        return identify(contact_of("x", self.kind, self.version)).identity

    def change(self, kind: str, version: str) -> None:
        if (kind, version) != self.content:
            self.kind, self.version = kind, version
            self.problem, self.released, self.missing = None, False, False

    def back(self) -> None:
        self.missing = False
        if self.problem == ("held", NO_LONGER):
            self.problem = None

    def doubt(self, sent: tuple[str, str] | None) -> None:
        """Note that `sent` got no answer: a release is used up, the weakest class counts."""
        assert sent is not None
        identity = identify(contact_of("x", *sent)).identity
        self.unknown, self.released = sent, False
        self.doubted = identity if self.doubted is None else min(self.doubted, identity)

    @property
    def is_lost(self) -> bool:
        """Whether nothing could find again what was sent, or would be."""
        return self.unknown is not None and bool({self.identity, self.doubted} & set(NOT_FOUND_AGAIN))

    def hold(self, reason: str) -> None:
        if self.is_due and not self.released:
            self.problem = ("held", reason)


def row_of(key: str, kind: str, version: str) -> dict[str, str]:
    cells = row(key, phone=version)
    return cells if kind == "mail" else {**cells, "mail": "", "last": "" if kind == "none" else cells["last"]}


def contact_of(key: str, kind: str, version: str) -> dict[str, Any]:
    contact = person(key) | ({"phone": version} if version else {})
    if kind != "mail":
        del contact["mail"]
    if kind == "none":
        del contact["surname"]
    return contact


contents_ = st.tuples(st.sampled_from(["mail", "mail", "mail", "names", "none"]), st.sampled_from(VERSIONS))


class StoreBesideModel(RuleBasedStateMachine):
    """Everything that may happen to the store, and what the model says must follow."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")  # not the durability, but the logic is looked at here
        self.folder = Path(tempfile.mkdtemp(prefix="syncengine-", dir=memory if memory.is_dir() else None))
        self.wall = Wall()
        self.known: dict[str, Known] = {}
        self.forgotten: set[str] = set()
        self.run: int | None = None
        self.changes: dict[str, Change] = {}
        self.last_read = 0

    @initialize()
    def create(self) -> None:
        self._open()

    def _open(self) -> None:
        path = self.folder / "state.db"
        self.lock = RunLock(path)
        self.lock.__enter__()
        self.store = Store(path, lock=self.lock, now=self.wall)

    def _close(self) -> None:
        self.store.close()
        self.lock.__exit__(None, None, None)

    def teardown(self) -> None:
        self._close()
        shutil.rmtree(self.folder)

    # --- loads and puts

    @rule(
        rows=st.lists(st.tuples(st.sampled_from(KEYS), contents_), max_size=9),
        snapshot=st.booleans(),
        refused=st.sets(st.sampled_from(KEYS), max_size=2),
    )
    def load(self, rows: list[tuple[str, tuple[str, str]]], snapshot: bool, refused: set[str]) -> None:
        cells = [row_of(key, *content) for key, content in rows]
        cells += [{**row_of(key, "mail", ""), "born": "no date"} for key in sorted(refused)]
        by_key: dict[str, set[tuple[str, str]]] = {}
        for key, content in rows:
            by_key.setdefault(key, set()).add(content)
        good = {
            key: next(iter(found)) for key, found in by_key.items() if len(found) == 1 and key not in refused
        }
        good = {key: content for key, content in good.items() if key not in self.forgotten}
        seen = (set(by_key) | refused) - self.forgotten
        new = [key for key in good if key not in self.known]
        changed = [key for key in good if key in self.known and self.known[key].content != good[key]]
        self.wall.at += 1
        report = load_rows(self.store, cells, snapshot=snapshot, allow_shrink=True)
        for key, content in good.items():
            self._content(key, content)
        for key, contact in self.known.items():
            if key in seen:
                contact.back()
            elif snapshot:
                contact.missing = True
        for contact in self.known.values():
            if contact.missing:
                contact.hold(NO_LONGER)
        self.last_read = len(cells)
        assert report.read == len(cells)
        assert (report.new, report.changed) == (len(new), len(changed))
        assert report.refused == sum(one["id"] not in good and one["id"] in seen for one in cells)
        assert report.forgotten == sum(one["id"] in self.forgotten for one in cells)
        assert report.missing == sum(contact.missing for contact in self.known.values())

    @rule(key=st.sampled_from(KEYS), content=contents_)
    def put(self, key: str, content: tuple[str, str]) -> None:
        sending.put(self.store, [(key, contact_of(key, *content))])
        if key not in self.forgotten:
            self._content(key, content)
            self.known[key].back()

    def _content(self, key: str, content: tuple[str, str]) -> None:
        if key in self.known:
            self.known[key].change(*content)
        else:
            self.known[key] = Known(kind=content[0], version=content[1])

    # --- runs

    @precondition(lambda self: self.run is None)
    @rule()
    def begin(self) -> None:
        self.run = self.store.begin_run("sync")
        holding.hold_doubtful(self.store, NOT_FOUND_AGAIN, run=self.run)
        classes = held_classes(IdentitySettings(names_only="send"))
        holding.hold_without_identity(self.store, classes, run=self.run)
        for contact in self.known.values():
            if contact.crashes >= 3:
                contact.hold(CRASHES)
            if contact.is_lost:
                contact.hold(MAY_HAVE_BEEN_CREATED)
            if contact.missing:
                contact.hold(NO_LONGER)
            if contact.identity in classes:
                contact.hold(classes[contact.identity])

    @precondition(lambda self: self.run is not None)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        assert self.run is not None
        free = [c for c in sending.due_page(self.store, "", 100) if c.key not in self.changes]
        chosen = data.draw(st.lists(st.sampled_from(free), unique=True, max_size=3)) if free else []
        stale = [replace(candidate, content_hash=b"else") for candidate in free if candidate not in chosen]
        lost = self._hold_lost({candidate.key for candidate in chosen})
        for change in sending.claim(self.store, [*chosen, *stale], run=self.run).changes:
            contact = self.known[change.key]
            assert orjson_content(change) == contact_of(change.key, *contact.content)
            assert change.is_repeat == (contact.unknown == contact.content)
            contact.intent = contact.content
            self.changes[change.key] = change
        assert {candidate.key for candidate in chosen} - lost <= set(self.changes)
        assert not lost & set(self.changes)

    def _hold_lost(self, keys: set[str]) -> set[str]:
        """Hold, as a claim does, those in doubt that nothing finds again; return them."""
        lost = set()
        for key in keys:
            contact = self.known[key]
            if contact.unknown is not None and contact.identity in NOT_FOUND_AGAIN and not contact.released:
                contact.hold(MAY_HAVE_BEEN_CREATED)
                lost.add(key)
        return lost

    @rule(result=st.sampled_from([Result.ACCEPTED, Result.ACCEPTED, Result.UNKNOWN, Result.REJECTED]))
    def send_everything(self, result: Result) -> None:
        """Claim and settle all that is due, so that histories get far."""
        if self.run is None:
            self.begin()
        assert self.run is not None
        free = [c for c in sending.due_page(self.store, "", 100) if c.key not in self.changes]
        self._hold_lost({candidate.key for candidate in free})
        for change in sending.claim(self.store, free, run=self.run).changes:
            self.known[change.key].intent = self.known[change.key].content
            self.changes[change.key] = change
        self._settle(sorted(self.changes), result)

    @precondition(lambda self: bool(self.changes))
    @rule(data=st.data(), result=st.sampled_from(list(Result)))
    def settle(self, data: st.DataObject, result: Result) -> None:
        self._settle(
            data.draw(st.lists(st.sampled_from(sorted(self.changes)), unique=True, min_size=1)), result
        )

    def _settle(self, keys: list[str], result: Result) -> None:
        assert self.run is not None
        receipts = [Receipt(self.changes.pop(key), result, reason="because") for key in keys]
        sending.settle(self.store, sending.Batch(receipts=receipts), run=self.run)
        for key in keys:
            contact = self.known[key]
            sent, contact.intent = contact.intent, None
            if result is Result.ACCEPTED:
                contact.accepted, contact.unknown, contact.was_accepted = sent, None, True
                contact.doubted, contact.released, contact.crashes = None, False, 0
            if result in {Result.UNKNOWN, Result.IN_DOUBT}:
                contact.doubt(sent)
            if result in {Result.REJECTED, Result.WITHDRAWN} and contact.unknown is None:
                contact.crashes = 0  # the intent is gone
            if result is Result.REJECTED and sent == contact.content:
                contact.problem, contact.released = ("rejected", "because"), False
            if result is Result.IN_DOUBT:
                contact.problem = ("held", "because")

    @precondition(lambda self: self.run is not None)
    @rule()
    def end(self) -> None:
        assert self.run is not None
        sending.withdraw_open(self.store, run=self.run)
        self.store.end_run(self.run, outcome="done", reason=None, code=0, report={})
        for key in self.changes:
            contact = self.known[key]
            contact.intent = None
            if contact.unknown is None:
                contact.crashes = 0
        self.run, self.changes = None, {}

    @rule(times=st.integers(1, 2))
    def crash(self, times: int) -> None:
        """Lose the process: what is open is recovered by whoever opens the store next, once."""
        for _ in range(times):
            self._close()
            self._open()
        alone = len(self.changes) == 1
        for key in self.changes:
            contact = self.known[key]
            contact.doubt(contact.intent)
            contact.intent = None
            contact.crashes += alone
            if contact.crashes >= 3:
                contact.problem = ("held", CRASHES)
        if self.run is not None:
            ended = self.store.connection.execute(
                "SELECT outcome, reason FROM runs WHERE id = ?", (self.run,)
            ).fetchone()
            assert ended == ("interrupted", "killed")
        self.run, self.changes = None, {}

    # --- a person's acts, between runs

    @precondition(lambda self: self.run is None)
    @rule(keys=st.lists(st.sampled_from(KEYS), max_size=2))
    def retry(self, keys: list[str]) -> None:
        opened_ = {
            key for key, contact in self.known.items() if contact.problem and (not keys or key in keys)
        }
        assert acts.retry(self.store, keys) == len(opened_)
        for key in opened_:
            self.known[key].problem = None

    @precondition(lambda self: self.run is None)
    @rule(key=st.sampled_from(KEYS))
    def release(self, key: str) -> None:
        contact = self.known.get(key)
        is_held = contact is not None and contact.problem is not None and contact.problem[0] == "held"
        assert acts.release(self.store, [key])[0].released is is_held
        if contact is not None and is_held:
            contact.problem, contact.released = None, True

    @precondition(lambda self: self.run is None)
    @rule(key=st.sampled_from(KEYS[:1]))
    def forget(self, key: str) -> None:
        assert acts.forget(self.store, [key])[0].was_known == (key in self.known)
        self.known.pop(key, None)
        self.forgotten.add(key)

    # --- what always holds

    @invariant()
    def what_is_due_is_what_the_model_says(self) -> None:
        due = sorted(key for key, contact in self.known.items() if contact.is_due)
        assert [candidate.key for candidate in sending.due_page(self.store, "", 100)] == due
        again = sum(self.known[key].was_accepted for key in due)
        assert counting.count_due(self.store) == counting.DueCounts(len(due), again)
        accepted = sum(contact.was_accepted for contact in self.known.values())
        assert counting.count_accepted(self.store) == accepted
        assert rows_of_last_load(self.store.connection) == self.last_read

    @invariant()
    def each_contact_has_exactly_one_state_and_they_add_up(self) -> None:
        rows = self.store.connection.execute(
            f"SELECT key, {STATE} FROM contacts", {"running": self.run}
        ).fetchall()
        assert dict(rows) == {key: self._state(key) for key in self.known}
        counted = views.count_states(self.store.connection, self.run)
        assert set(counted) <= STATES
        assert counted == {
            state: sum(found == state for _, found in rows) for state in {found for _, found in rows}
        }

    def _state(self, key: str) -> str:
        contact = self.known[key]
        if contact.intent is not None:
            return "in_flight"
        if contact.problem is not None:
            return contact.problem[0]
        return "changed" if contact.is_due else "accepted"

    @invariant()
    def the_rows_hold_what_the_model_holds(self) -> None:
        rows = self.store.connection.execute(
            "SELECT c.key, c.content, c.content_hash, c.accepted_hash, c.accepted, c.in_doubt, c.missing, "
            "c.problem_hash = c.content_hash, c.problem, c.problem_reason, i.content_hash, i.open, "
            "i.unknown_hash "
            "FROM contacts c LEFT JOIN intents i ON i.n = c.n"
        ).fetchall()
        assert {found[0] for found in rows} == set(self.known)
        for found in rows:
            key, content, hash_, accepted_hash, accepted, in_doubt, missing = found[:7]
            is_open, problem, reason, intent_hash, is_claimed, unknown_hash = found[7:]
            contact = self.known[key]
            assert content == canonical(contact_of(key, *contact.content))
            assert hash_ == content_hash(content)
            assert accepted_hash == self._hash(key, contact.accepted)
            if accepted_hash == hash_ or accepted_hash is None:
                assert accepted is None
            else:
                assert content_hash(accepted) == accepted_hash
            assert missing == contact.missing
            assert bool(in_doubt) == (unknown_hash is not None) == (contact.unknown is not None)
            assert unknown_hash == self._hash(key, contact.unknown)
            assert bool(is_claimed) == (contact.intent is not None)
            if contact.intent is not None:
                assert intent_hash == self._hash(key, contact.intent)
            assert ((problem, reason) if is_open else None) == contact.problem

    @staticmethod
    def _hash(key: str, content: tuple[str, str] | None) -> bytes | None:
        return None if content is None else content_hash(canonical(contact_of(key, *content)))


def orjson_content(change: Change) -> Any:
    import orjson  # noqa: PLC0415 - only here

    return orjson.loads(change.content)


TestStoreBesideModel = StoreBesideModel.TestCase
TestStoreBesideModel.settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
