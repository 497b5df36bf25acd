"""What is left over or cut short: journals without their file, keys in other spellings, files cut off."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from test_store_kit import contents, counts_of, load_rows, opened, row, settings_for

from syncengine.errors import SourceError, StoreError
from syncengine.identity import IdentityClass
from syncengine.load import LoadReport, load, open_mapped
from syncengine.model import Receipt, Result
from syncengine.problems import NO_IDENTITY
from syncengine.sections import SourceSettings
from syncengine.sources import open_source
from syncengine.store import acts, holding, sending, views
from syncengine.store.store import Store

KEY = unicodedata.normalize("NFC", "Zoé-1")
SPELLINGS = [unicodedata.normalize("NFD", KEY), f" {KEY}\t"]
spelled = pytest.mark.parametrize("spelling", SPELLINGS, ids=["decomposed", "with spaces"])


# --- a journal without its file ------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_journal_left_over_from_a_deleted_store_is_named_and_nothing_is_created(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A"), row("B")])
        wal = path.with_name("state.db-wal")
        bytes_left = wal.read_bytes() if wal.exists() else b"left over"
    path.unlink()
    left = path.with_name(f"state.db{suffix}")
    left.write_bytes(bytes_left)
    before = sorted(file.name for file in tmp_path.iterdir())
    with pytest.raises(StoreError, match=f"state\\.db{suffix}"), opened(path):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == before
    assert left.read_bytes() == bytes_left
    left.unlink()
    with opened(path) as store:
        assert contents(store) == {}


# --- keys as people write them -------------------------------------------------------------------------


def with_a_held_contact(store: Store) -> None:
    load_rows(store, [row(KEY, last="", mail=""), row("other", last="", mail="")])
    run = store.begin_run("sync")
    assert holding.hold_without_identity(store, {IdentityClass.NONE: NO_IDENTITY}, run=run) == 2


@spelled
def test_a_problem_is_found_explained_tried_again_and_released_by_any_spelling_of_its_key(
    tmp_path: Path, spelling: str
) -> None:
    with opened(tmp_path / "state.db") as store:
        with_a_held_contact(store)
        assert [one["key"] for one in views.problems(store.connection, keys=(spelling,))] == [KEY]
        story = views.explain(store.connection, spelling, store.path)
        assert story is not None
        assert (story["key"], story["state"]) == (KEY, "held")
        assert acts.release(store, [spelling])[0].released
        assert [one["key"] for one in views.problems(store.connection)] == ["other"]


@spelled
def test_a_problem_is_tried_again_by_any_spelling_of_its_key(tmp_path: Path, spelling: str) -> None:
    with opened(tmp_path / "state.db") as store:
        with_a_held_contact(store)
        assert acts.retry(store, [spelling]) == 1
        assert [one["key"] for one in views.problems(store.connection)] == ["other"]


@spelled
def test_a_contact_is_forgotten_for_good_by_any_spelling_of_its_key(tmp_path: Path, spelling: str) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row(KEY, mail="z@example.org"), row("other")])
        assert acts.forget(store, [spelling])[0].was_known
        assert list(contents(store)) == ["other"]
        again = load_rows(store, [row(KEY, mail="z@example.org"), row("other")])
        assert counts_of(again) == {"read": 2, "unchanged": 1, "forgotten": 1}


# --- a file that is cut off ----------------------------------------------------------------------------


def load_text(folder: Path, text: str) -> LoadReport:
    source = folder / "people.csv"
    source.write_text(text)
    with opened(folder / "state.db") as store:
        return load(store, open_mapped(settings_for(store.path, source)), allow_shrink=False)


HEADER = "id,first,last,mail,born,phone\n"
WHOLE = "A,Ada,Lovelace,a@example.org,,1\n"
CUT = "B,Emil,Zola,b@exam"


def test_a_last_row_without_line_end_and_with_too_few_cells_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cut off") as caught:
        load_text(tmp_path, HEADER + WHOLE + CUT)
    assert caught.value.line == 3
    assert not any(value in caught.value.message for value in ("Emil", "Zola", "b@exam"))
    with opened(tmp_path / "state.db") as store:
        assert contents(store) == {}


def test_a_last_row_with_line_end_and_too_few_cells_is_a_refused_row(tmp_path: Path) -> None:
    report = load_text(tmp_path, HEADER + WHOLE + CUT + "\n")
    assert counts_of(report) == {"read": 2, "new": 1, "refused": 1}


def test_a_whole_last_row_needs_no_line_end(tmp_path: Path) -> None:
    report = load_text(tmp_path, HEADER + WHOLE + "B,Emil,Zola,b@example.org,,")
    assert counts_of(report) == {"read": 2, "new": 2}


# --- a header that is none -----------------------------------------------------------------------------


def refused_header(folder: Path, text: str, key: str) -> str:
    path = folder / "m.csv"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        open_source(SourceSettings(path=path, key=key))
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1,Emil,Zola\n2,Ada,Lovelace\n", "email"),
        ("1,emil,zola\n2,ada,lovelace\n", "email"),
        ("Zola,Emil,Nomen\n", "name"),
        ("1;Emil;Zola\n2;Ada;Lovelace\n", "email"),
    ],
)
def test_a_first_row_of_values_is_not_shown_however_like_the_key_one_is(
    tmp_path: Path, text: str, key: str
) -> None:
    message = refused_header(tmp_path, text, key)
    for value in ("'Emil'", "'emil'", "'Nomen'", "Zola", "zola", "Emil", "Nomen"):
        assert value not in message
    assert repr(key) in message


@pytest.mark.parametrize("header", ["Member ID", "MEMBER-ID", "member id"])
def test_a_column_that_differs_from_the_key_in_case_or_separators_is_suggested(
    tmp_path: Path, header: str
) -> None:
    assert header in refused_header(tmp_path, f"{header},First\n1,Emil\n", "member_id")


# --- what a debugger or a log shows --------------------------------------------------------------------


def test_neither_a_change_nor_a_candidate_shows_a_person(tmp_path: Path) -> None:
    with opened(tmp_path / "state.db") as store:
        load_rows(store, [row("canary-key", first="Canary", last="Vogel", mail="canary@example.org")])
        (candidate,) = sending.due_page(store, "", 10)
        (change,) = sending.claim(store, [candidate], run=store.begin_run("sync")).changes
    assert (change.key, change.mail, candidate.mail) == ("canary-key", *["canary@example.org"] * 2)
    for one in (change, candidate, Receipt(change, Result.ACCEPTED)):
        shown = f"{one!r} {one!s}".lower()
        assert "canary" not in shown
        assert "vogel" not in shown
