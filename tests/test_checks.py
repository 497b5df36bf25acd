"""doctor's checks one by one: what is in order, what is not, and that looking leaves no trace."""

from __future__ import annotations

import itertools
import json
import math
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_store_kit import load_rows, opened, row

from syncengine.checks import MEND, Check, cells, fault
from syncengine.checks.answers import check_forms, check_mapping
from syncengine.checks.machine import check_disk, check_lock, check_permissions, check_sqlite, check_state
from syncengine.checks.source import check_source
from syncengine.checks.space import check_clock, check_limits, check_space, limits_of
from syncengine.config import Settings
from syncengine.errors import ConfigError, RateHeaders, StoreError
from syncengine.qomon.forms import Form, Forms, Option
from syncengine.sections import DestinationSettings
from syncengine.store.glance import Glance, fingerprint, glance
from syncengine.store.lock import RunLock

CANARY = "Zebedee"
URL = "https://incoming.qomon.app"
HEADERS = RateHeaders(burst=100.0, rate=10.0, remaining=93.0, cost=1.0)

fixed = settings(derandomize=True, deadline=None, max_examples=100)

NEWSLETTER = Form(
    3, "Newsletter", "consent", "radio", (Option(31, "By e-mail", "consent_email"), Option(32, "No", "refus"))
)
LANGUAGES = Form(
    4, "Languages", "custom_fields", "checkbox", (Option(41, "French", "fr"), Option(42, "English", "en"))
)
JOB = Form(5, "Job", "custom_fields", "text", (Option(51, "Job"),))
FORMS = Forms(
    [
        NEWSLETTER,
        LANGUAGES,
        JOB,
        Form(6, "Region", "custom_fields", "text"),
        Form(7, "Region", "custom_fields", "text"),
    ]
)


def settings_of(folder: Path, fields: dict[str, Any], text: str, *, name: str = "list.csv") -> Settings:
    (folder / name).write_text(text, "utf-8")
    source = {"path": str(folder / name), "key": "ref"}
    return Settings.from_mapping({"source": source, "fields": fields}, environ={})


def mapped(folder: Path, fields: dict[str, Any], text: str, *, name: str = "list.csv") -> list[Check]:
    """Check a mapping against FORMS with the rows of a file."""
    found = settings_of(folder, fields, text, name=name)
    checks, opened_source = check_source(found, has_fields=True)
    assert [check.ok for check in checks] == [True, True], checks
    return check_mapping(found.fields, opened_source, FORMS)


def names_of(checks: list[Check]) -> dict[str, bool | None]:
    return {check.name: check.ok for check in checks}


# --- what a check is


def test_an_error_is_told_as_what_happened_and_what_to_do() -> None:
    check = fault("key", ConfigError("QOMON_API_KEY: holds no key; make one; put it there"))
    assert (check.ok, check.message, check.remedy) == (
        False,
        "QOMON_API_KEY: holds no key",
        "make one; put it there",
    )
    assert fault("key", ConfigError("gone")).as_json() == {
        "name": "key",
        "ok": False,
        "message": "gone",
        "remedy": MEND,
    }


# --- the mapping against the forms


def test_a_mapping_whose_forms_and_options_exist_is_in_order(tmp_path: Path) -> None:
    fields = {
        "custom_fields.Job": "job",
        "consents.#3": {"column": "mails", "values": {"y": "consent_email", "n": "No"}},
        "custom_fields.Languages": {"column": "speaks", "split": "|"},
    }
    (check,) = mapped(tmp_path, fields, "ref,job,mails,speaks\n1,Baker,y,fr|English\n2,,n,\n")
    assert (check.ok, check.remedy) == (True, "")
    assert "all 3 forms" in check.message


@pytest.mark.parametrize(
    ("fields", "message", "remedy"),
    [
        ({"custom_fields.Jop": "x"}, "custom_fields has no form 'Jop'", "did you mean 'Job' (#5)?"),
        ({"custom_fields.#9": "x"}, "custom_fields has no form #9", "syncengine forms"),
        ({"custom_fields.Region": "x"}, "the label of several forms (#6, #7)", "name one by its id"),
        ({"consents.Job": "x"}, "consents has no form 'Job'", "#5 'Job' belongs to custom_fields"),
        ({"consents.#5": "x"}, "consents has no form #5", "#5 'Job' belongs to custom_fields"),
        (
            {"consents.Newsletter": {"column": "x", "values": {"a": "consent_mail"}}},
            "'consent_mail': consents 'Newsletter' (#3) has no such option",
            "did you mean 'consent_email'?",
        ),
        ({"consents.Newsletter": {"constant": "maybe"}}, "'maybe': consents", "syncengine forms lists"),
        ({"consents.Newsletter": {"column": "x", "split": "|"}}, "has split", "checkbox"),
    ],
)
def test_a_rule_that_would_drop_contacts_is_told_with_its_remedy(
    tmp_path: Path, fields: dict[str, Any], message: str, remedy: str
) -> None:
    (check,) = mapped(tmp_path, fields, "ref,x\n1,\n2,\n")
    assert check.ok is False
    assert message in check.message
    assert repr(next(iter(fields))) in check.message
    assert remedy in check.remedy


def test_cells_that_are_no_option_are_counted_and_never_shown(tmp_path: Path) -> None:
    text = "ref,speaks\n" + "".join(f"{n},fr|{CANARY}{n % 3}|{CANARY}x\n" for n in range(10)) + "11,en\n"
    fields = {"custom_fields.Languages": {"column": "speaks", "split": "|"}}
    (check,) = mapped(tmp_path, fields, text)
    assert check.ok is False
    assert "column 'speaks' holds 4 distinct texts" in check.message
    assert "in 10 of 11 rows" in check.message
    assert "syncengine forms --kind custom_fields" in check.remedy
    assert CANARY not in repr(check)


def test_forms_that_only_a_header_names_are_checked_too(tmp_path: Path) -> None:
    (check,) = mapped(tmp_path, {}, f"ref,mail,custom_fields.Jop\n1,a@x.example,{CANARY}\n")
    assert check.ok is False
    assert "custom_fields has no form 'Jop'" in check.message
    assert CANARY not in repr(check)


def test_a_form_that_a_record_names_is_not_repeated_as_it_may_be_a_persons_word(tmp_path: Path) -> None:
    record = f'{{"ref": 1, "custom_fields": [{{"label": "{CANARY}", "value": "x"}}]}}\n'
    (check,) = mapped(tmp_path, {}, record, name="list.jsonl")
    assert (check.ok, check.message) == (False, "1 of 1 rows: custom_fields has no such form")


def test_without_answers_there_is_nothing_to_say(tmp_path: Path) -> None:
    (check,) = mapped(tmp_path, {"mail": "m"}, "ref,m\n1,a@x.example\n")
    assert (check.ok, check.message) == (True, "no form is answered")


@fixed
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["consents", "custom_fields"]),
            st.sampled_from(["Newsletter", "Languages", "Job", "Region", "Nothing", 3, 4, 5, 99]),
            st.sampled_from(["fr", "consent_email", "No", "anything", "French"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_source_is_in_order_exactly_when_none_of_its_answers_would_drop_its_contact(
    answers: list[tuple[str, str | int, str]],
) -> None:
    records = [
        {"ref": n, kind: [{"id" if isinstance(form, int) else "label": form, "value": value}]}
        for n, (kind, form, value) in enumerate(answers)
    ]
    with TemporaryDirectory() as folder:
        text = "".join(json.dumps(record) + "\n" for record in records)
        checks = mapped(Path(folder), {}, text, name="list.jsonl")
    drops = any(FORMS.check(*answer) for answer in answers)
    assert all(check.ok for check in checks) is not drops


def test_an_option_that_only_late_rows_lack_is_found(tmp_path: Path) -> None:
    """And rows that repeat right cells, which are passed over, hide no wrong one beside them."""
    rows = ["fr,y"] * 1000 + ["fr,n", "fr,y", f"{CANARY},y", "fr|en,y", f"fr|{CANARY},y"] * 100
    text = "ref,speaks,mails\n" + "".join(f"{n},{row}\n" for n, row in enumerate(rows))
    fields = {
        "custom_fields.Languages": {"column": " speaks ", "split": "|"},
        "consents.Newsletter": {"column": "mails", "values": {"y": "consent_email"}, "other": "skip"},
    }
    (check,) = mapped(tmp_path, fields, text)
    assert check.ok is False
    assert "column ' speaks ' holds one text" in check.message
    assert "in 200 of 1,500 rows" in check.message
    assert CANARY not in repr(check)


def test_two_columns_are_compared_each_with_its_own_form(tmp_path: Path) -> None:
    text = "ref,a,b\n1,fr,No\n2,fr,No\n3,No,fr\n4\n5,,fr\n"
    checks = mapped(tmp_path, {"custom_fields.Languages": "a", "consents.Newsletter": "b"}, text)
    assert [check.ok for check in checks] == [False, False]
    assert "in 1 of 5 rows" in checks[0].message + checks[1].message
    assert "in 2 of 5 rows" in checks[0].message + checks[1].message


def test_a_column_that_is_spelled_otherwise_than_in_the_header_is_compared_too(tmp_path: Path) -> None:
    """A decomposed é: the mapping composes names, so cells are told apart only where all names are found."""
    text = "ref,parl\u00e9,mails\n1,fr,No\n2,no language,No\n"
    fields = {"custom_fields.Languages": "parle\u0301", "consents.Newsletter": "mails"}
    (check,) = mapped(tmp_path, fields, text)
    assert "in 1 of 2 rows" in check.message


def test_what_values_leave_out_is_no_fault(tmp_path: Path) -> None:
    rule = {"column": "x", "values": {"y": "consent_email"}, "other": "skip"}
    (check,) = mapped(tmp_path, {"consents.Newsletter": rule}, "ref,x\n1,y\n2,something else\n")
    assert (check.ok, check.message) == (
        True,
        "the form that is answered exists, with every option that is used",
    )


@pytest.mark.parametrize(
    ("rule", "ok", "words"),
    [
        ("x", None, "which options the cells use was not checked"),
        ({"column": "x", "values": {"y": "consent_email"}}, True, "with every option that is used"),
        ({"constant": "No"}, True, "with every option that is used"),
    ],
)
def test_without_a_source_only_what_the_configuration_says_is_called_right(
    rule: Any, ok: bool | None, words: str
) -> None:
    fields = Settings.from_mapping({"fields": {"consents.Newsletter": rule}}, environ={}).fields
    (check,) = check_mapping(fields, None, FORMS)
    assert check.ok is ok
    assert words in check.message
    (unknown,) = check_mapping({}, None, FORMS)
    assert unknown.ok is None


def test_a_file_that_takes_too_long_is_called_right_only_as_far_as_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "ref,x\n" + "".join(f"{n},No\n" for n in range(2500))
    found = settings_of(tmp_path, {"consents.Newsletter": "x"}, text)
    opened_source = check_source(found, has_fields=True)[1]
    assert opened_source is not None
    clock = itertools.count(0, cells.SECONDS / 2.5)  # begun at 0; in time at the first row and the 1,001st
    read = cells.read_answers(opened_source.source, opened_source.mapping, FORMS, clock=lambda: next(clock))
    assert (read.rows, read.is_whole, read.wrong) == (2000, False, {})
    monkeypatch.setattr(cells, "SECONDS", -1.0)
    (check,) = check_mapping(found.fields, opened_source, FORMS)
    assert check.ok is None
    assert "in the first 0 rows, the others were not read" in check.message


def test_what_is_counted_of_a_hostile_file_is_bounded(tmp_path: Path) -> None:
    text = "ref,x\n" + "".join(f"{n},text {n}\n" for n in range(10_500))
    (check,) = mapped(tmp_path, {"consents.Newsletter": "x"}, text)
    assert "holds at least 10,000 distinct texts" in check.message
    assert "in 10,500 of 10,500 rows" in check.message
    text = "".join(
        f'{{"ref": {n}, "custom_fields": [{{"label": "L{n}", "value": "x"}}]}}\n' for n in range(1500)
    )
    checks = mapped(tmp_path, {}, text, name="list.jsonl")
    assert len(checks) == cells.FORMS_TOLD
    assert "1 of the first 20 rows" in checks[0].message


def test_a_file_that_breaks_off_late_is_a_fault(tmp_path: Path) -> None:
    text = "ref,x\n" + "".join(f"{n},No\n" for n in range(1200)) + '1200,"No\n'
    (check,) = mapped(tmp_path, {"consents.Newsletter": "x"}, text)
    assert check.ok is False
    assert "list.csv" in check.message


def test_a_header_that_names_forms_is_in_order_when_they_take_its_cells(tmp_path: Path) -> None:
    text = "ref,mail,consents.Newsletter,custom_fields.Job,custom_fields.Jop\n1,a@x.example,No,Baker,\n"
    (check,) = mapped(tmp_path, {}, text)
    assert (check.ok, check.message) == (True, "all 2 forms exist, with every option that is used")


def test_forms_are_counted_by_type() -> None:
    assert check_forms(FORMS).message == "5: consent 1, custom_fields 4"
    assert "not by API" in check_forms(Forms()).message


# --- the source


def test_a_source_is_read_and_its_first_rows_tried(tmp_path: Path) -> None:
    found = settings_of(tmp_path, {"mail": "m"}, "ref,m\n1,a@x.example\n2,no mail\n")
    checks, opened_source = check_source(found, has_fields=True)
    assert [check.ok for check in checks] == [True, True]
    assert "1 of its 2 rows would be refused" in checks[1].message
    assert opened_source is not None
    assert opened_source.source.columns == ("ref", "m")


def test_a_file_that_a_load_would_refuse_is_a_fault(tmp_path: Path) -> None:
    rows = "".join(f"{n},{'no mail' if n % 4 == 0 else 'a@x.example'}\n" for n in range(60))
    checks, _ = check_source(settings_of(tmp_path, {"mail": "m"}, f"ref,m\n{rows}"), has_fields=True)
    assert names_of(checks) == {"source": True, "columns": False}
    assert "15 of its 60 rows would be refused, and so the file" in checks[1].message


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        ("", {}, {"source": False, "columns": None}),
        ("ref,m\n1,a@x.example\n", {"mail": "post"}, {"source": True, "columns": False}),
        ("id,m\n1,a@x.example\n", {"mail": "m"}, {"source": False, "columns": None}),
        ('ref,m\n1,"open\n', {"mail": "m"}, {"source": False, "columns": None}),
        ("ref,m\n", {"mail": "m"}, {"source": True, "columns": True}),
    ],
)
def test_what_is_wrong_with_a_source_is_told(
    tmp_path: Path, text: str, fields: dict[str, Any], expected: dict[str, bool | None]
) -> None:
    checks, _ = check_source(settings_of(tmp_path, fields, text), has_fields=True)
    assert names_of(checks) == expected


def test_records_are_read_for_the_names_that_the_mapping_wants(tmp_path: Path) -> None:
    few = settings_of(tmp_path, {"mail": "post"}, '{"ref": 1, "mail": "a@x.example"}\n', name="few.jsonl")
    assert "no record has 'post'" in check_source(few, has_fields=True)[0][1].message
    text = "".join(f'{{"ref": {n}}}\n' for n in range(1200))
    many = settings_of(tmp_path, {"mail": "post"}, text, name="many.jsonl")
    checks, _ = check_source(many, has_fields=True)
    assert checks[1].ok is None
    assert "not seen in the first 1,000 records: 'post'" in checks[1].message


def test_without_a_source_or_fields_the_rest_is_still_told(tmp_path: Path) -> None:
    assert names_of(check_source(Settings(), has_fields=True)[0]) == {"source": None, "columns": None}
    found = settings_of(tmp_path, {}, "ref,m\n1,x\n")
    assert names_of(check_source(found, has_fields=False)[0]) == {"source": True, "columns": None}


# --- the space


def test_the_limits_say_what_they_mean_for_those_that_are_due() -> None:
    check = check_limits(HEADERS, DestinationSettings(), due=0)
    assert check.ok is True
    assert "100 tokens at once, 10 a second: 36,000 contacts an hour" in check.message
    half = check_limits(HEADERS, DestinationSettings(share=0.5), due=36_000)
    assert "our share is 50%: 18,000 contacts an hour" in half.message
    assert "the 36,000 contacts that are due take about 2 h 00 min" in half.message
    few = check_limits(HEADERS, DestinationSettings(share=0.5), due=93)  # our half of what is left is 46
    assert "the 93 contacts that are due take about 9 s" in few.message
    assert limits_of(HEADERS, DestinationSettings(share=0.5))["contacts_per_hour"] == 18_000


def test_a_server_without_headers_is_no_fault_but_told() -> None:
    check = check_limits(RateHeaders(), DestinationSettings(rate=8), due=5)
    assert check.ok is None
    assert "rate = 8 and burst = 100 are used" in check.message
    assert check.remedy
    assert limits_of(RateHeaders(), DestinationSettings(rate=8))["rate"] is None


@pytest.mark.parametrize(
    ("heard", "share", "words"),
    [
        (RateHeaders(burst=100.0, rate=float("9" * 306)), 1.0, "headers that make sense"),
        (RateHeaders(burst=100.0, rate=5e-324), 1.0, "headers that make sense"),
        (RateHeaders(burst=100.0, rate=0.0), 1.0, "headers that make sense"),
        (RateHeaders(burst=math.inf, rate=10.0), 1.0, "headers that make sense"),
        (RateHeaders(burst=100.0, rate=10.0, remaining=1e300), 1.0, "contacts that are due take about 1 s"),
        (RateHeaders(burst=100.0, rate=10.0, remaining=0.0), 1e-300, "due take more than a year"),
        (RateHeaders(burst=100.0, rate=10.0), 5e-324, "due take more than a year"),
    ],
)
def test_absurd_headers_are_told_without_reckoning_with_them(
    heard: RateHeaders, share: float, words: str
) -> None:
    wanted = DestinationSettings(share=share)
    message = check_limits(heard, wanted, due=10).message
    assert words in message
    assert len(message) < 250
    assert all(number is None or number <= 36_000 for number in limits_of(heard, wanted).values())


@pytest.mark.parametrize(
    ("difference", "ok", "words"),
    [
        (0.4, True, "within 2 s"),
        (-60.0, True, "within 60 s"),
        (61.0, False, "ahead"),
        (-3600.0, False, "behind"),
    ],
)
def test_a_clock_that_is_more_than_a_minute_off_is_a_fault(difference: float, ok: bool, words: str) -> None:
    check = check_clock(difference)
    assert check.ok is ok
    assert words in check.message


def bound_file(folder: Path, *, key: str = "old-key") -> Path:
    path = folder / "state.db"
    with opened(path) as store:
        store.bind(URL, key)
        store.bind_group(key, 7)
    return path


@pytest.mark.parametrize(
    ("bound", "key", "seen", "why", "ok", "words"),
    [
        (7, "old-key", 7, None, True, "group_id 7, the state file's"),
        (7, "new-key", 7, None, True, "the key is a new one"),
        (7, "old-key", 8, None, False, "this key opens 8"),
        (7, "new-key", None, None, False, "--same-space"),
        (7, "new-key", None, "no answer", None, "no answer"),
        (7, None, None, "no key", None, "no key"),
        (None, "old-key", 7, None, True, "group_id 7"),
        (None, "new-key", 7, None, False, "--same-space"),
        (None, "new-key", None, "no answer", False, "--same-space"),
        (None, "old-key", None, None, True, "no contact yet"),
    ],
)
def test_the_key_is_compared_with_the_state_file(
    *,
    bound: int | None,
    key: str | None,
    seen: int | None,
    why: str | None,
    ok: bool | None,
    words: str,
) -> None:
    """As `Store.bind` and `bind_group` will decide at the next sync."""
    secret = b"s" * 32
    known = Glance(9, 1, URL, bound, fingerprint(secret, "old-key"), secret)
    check = check_space(Path("state.db"), known, URL, key, seen=seen, why=why)
    assert check.ok is ok
    assert words in check.message + check.remedy


def test_a_state_file_of_another_region_is_told_without_an_answer(tmp_path: Path) -> None:
    path = bound_file(tmp_path)
    check = check_space(path, glance(path), "https://incoming-us.qomon.app", None, seen=None, why="no key")
    assert check.ok is False
    assert "[destination] base_url" in check.remedy


# --- the machine


def listing(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        file.name: (file.stat().st_mtime_ns, file.stat().st_mode, file.read_bytes())
        for file in folder.iterdir()
    }


def test_a_look_at_the_state_file_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    assert glance(path) is None
    assert not list(tmp_path.iterdir())
    with opened(path) as store:
        load_rows(store, [row("A"), row("B")])
    before = listing(tmp_path)
    found = glance(path)
    assert found is not None
    assert (found.contacts, found.due, found.base_url) == (2, 2, None)
    assert listing(tmp_path) == before
    assert "secret" not in repr(found)


def test_a_look_sees_what_a_running_sync_has_committed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with opened(path) as store:
        load_rows(store, [row("A")])
        store.bind(URL, "old-key")
        found = glance(path)
        assert found is not None
        assert (found.contacts, found.base_url) == (1, URL)
        assert check_lock(path).message.startswith("a run is in progress")
    assert check_lock(path).message == "no run is in progress"


def test_a_killed_runs_commits_are_seen_and_left_where_they_are(tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from test_store_kit import opened, load_rows, row
with opened(Path(sys.argv[1])) as store:
    load_rows(store, [row("A")])
    os._exit(0)
"""
    path = tmp_path / "state.db"
    tests = {"PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, env=os.environ | tests)
    wal = tmp_path / "state.db-wal"
    size = wal.stat().st_size
    assert size
    found = glance(path)
    assert found is not None
    assert found.contacts == 1
    assert wal.stat().st_size == size


def test_a_journal_that_a_killed_run_left_is_not_touched(tmp_path: Path) -> None:
    path = bound_file(tmp_path)
    journal = tmp_path / "state.db-journal"
    journal.write_bytes(b"hot")
    with pytest.raises(StoreError, match="the next syncengine sync clears it up"):
        glance(path)
    assert journal.read_bytes() == b"hot"


def test_another_programs_file_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    check, found = check_state(path)
    assert (check.ok, found) == (False, None)
    assert "another program" in check.message
    missing = check_state(tmp_path / "no" / "state.db")[0]
    assert (missing.ok, missing.remedy) == (False, f"mkdir -p {tmp_path / 'no'}")


def test_files_that_others_may_read_come_with_their_chmod(tmp_path: Path) -> None:
    path, key = bound_file(tmp_path), tmp_path / "the key"
    key.write_text("k")
    key.chmod(0o600)
    assert check_permissions(path, key).ok is True
    key.chmod(0o640)
    path.chmod(0o644)
    check = check_permissions(path, key)
    assert check.ok is False
    assert check.remedy == f"chmod 600 {path} '{key}'"
    subprocess.run(["/bin/sh", "-c", check.remedy], check=True)
    assert check_permissions(path, key).ok is True


def test_a_folder_that_everybody_may_write_is_a_fault_unless_it_is_sticky(tmp_path: Path) -> None:
    path = bound_file(tmp_path)
    tmp_path.chmod(0o777)
    assert check_permissions(path, None).remedy == f"chmod o-w {tmp_path}"
    tmp_path.chmod(0o1777)
    assert check_permissions(path, None).ok is True
    tmp_path.chmod(0o700)


def test_a_disk_without_room_for_three_times_the_files_is_a_fault(tmp_path: Path) -> None:
    state, source = tmp_path / "state.db", tmp_path / "people.csv"
    assert check_disk(state, source).ok is True
    with source.open("wb") as stream:
        stream.truncate(4 << 40)  # takes no room itself
    check = check_disk(state, source)
    assert check.ok is False
    assert "13,194 GB are needed" in check.message
    assert check_disk(state, None).ok is True


def test_sqlite_is_told_with_its_journal() -> None:
    check = check_sqlite()
    assert check.ok is True
    assert "SQLite 3." in check.message
    assert "journal" in check.message


def test_the_fingerprint_is_that_of_the_store(tmp_path: Path) -> None:
    found = glance(bound_file(tmp_path, key="one"))
    assert found is not None
    assert found.group_id == 7
    assert not found.is_other_key("one")
    assert found.is_other_key("two")


def test_a_held_lock_is_no_fault(tmp_path: Path) -> None:
    with RunLock(tmp_path / "state.db"):
        assert check_lock(tmp_path / "state.db").ok is True
