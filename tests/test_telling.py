"""What people read: the reports of a sync and a verify, problems, explain, status; from given JSON."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncengine.cli import problems as listing
from syncengine.cli.explain import write_story
from syncengine.cli.export import safe_cell, write_export
from syncengine.cli.output import Page
from syncengine.cli.plan import write_plan
from syncengine.cli.running import progress_line
from syncengine.cli.status import write_status
from syncengine.cli.sync import write_sync
from syncengine.cli.telling import SETTLED, finding_in_words
from syncengine.cli.verify import write_verify
from syncengine.model import Report, VerifyReport
from syncengine.progress import Progress

PHONE = {"field": "phone", "differs": 57, "seen": 58, "sent": "99 99 99", "shown": "+999999"}
TOLD = (
    "Qomon rewrites phone: sent as 99 99 99, seen as +999999 (in 57 of 58 contacts); "
    "name it in [verify] ignore if that is fine"
)


def told(write: Callable[[Page], None]) -> str:
    """Return what is written, each paragraph on one line."""
    page = Page()
    page.width = page.console.width = 10_000
    write(page)
    return page.console.file.getvalue()  # type: ignore[attr-defined, no-any-return]  # a StringIO


def of_sync(*, is_verified: bool = True, **counts: Any) -> str:
    report = Report(run=7, exit=3, **counts).as_json()
    return told(lambda page: write_sync(page, report, is_verified=is_verified))


def facts(text: str) -> dict[str, str]:
    """Return the lines `  name  count  meaning` as name -> count."""
    return dict(re.findall(r"^  (\S[\w ]*?) {2,}([\d,]+)", text, re.MULTILINE))


# --- the end report


def test_the_report_of_a_night_tells_what_became_of_everybody() -> None:
    text = of_sync(
        outcome="problems",
        selected=10_000,
        accepted=9_900,
        confirmed=9_600,
        differs=100,
        dropped=197,
        unconfirmed=3,
        held=100,
        problems_open=400,
        problems_new=398,
    )
    assert text.startswith("Finished, but not everybody is in Qomon as in the source.\n")
    assert "To send: 10,000 contacts\n" in text
    assert facts(text) == {
        "confirmed": "9,600",
        "differs": "100",
        "dropped": "197",
        "unconfirmed": "3",
        "held": "100",
    }
    assert re.search(r"confirmed +9,600 +seen in Qomon as sent\n", text)
    assert re.search(r"differs +100 +seen in Qomon with other values\n", text)
    assert re.search(r"dropped +197 +accepted, then not applied\n", text)
    assert "Problems: 400 open, 398 of them new; see them with: syncengine problems\n" in text
    assert "not checked yet" not in text


def test_what_is_rare_is_told_only_when_there_is_any_but_confirmed_always() -> None:
    assert facts(of_sync(outcome="done", selected=3, accepted=3, confirmed=3)) == {"confirmed": "3"}
    assert facts(of_sync(outcome="stopped", reason="deadline")) == {"confirmed": "0"}
    rare = facts(of_sync(outcome="problems", rejected=1, remaining=2, repeated=3))
    assert rare == {"confirmed": "0", "rejected": "1", "remaining": "2", "repeated": "3"}
    assert "From earlier runs" not in of_sync(earlier=dict.fromkeys(SETTLED, 0))


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"outcome": "done", "selected": 1}, "Done: everybody in the source is in Qomon as sent."),
        (
            {"outcome": "done"},
            "Done: nothing had changed. Everybody in the source is in Qomon as sent.",
        ),
        ({"outcome": "problems", "problems_open": 1}, "Finished, but not everybody is in Qomon as"),
        ({"outcome": "problems", "unconfirmed": 1}, "Finished: everything was sent, but not all of it is"),
        ({"outcome": "problems", "remaining": 1}, "Finished, but not everybody is in Qomon as"),
        ({"outcome": "stopped", "reason": "breaker"}, "Stopped before the end (breaker)."),
        ({"outcome": "interrupted", "reason": "sigint"}, "Interrupted (sigint): run the same command again"),
        ({"outcome": "failed", "reason": "disk"}, "Failed (disk)."),
    ],
)
def test_the_first_line_says_how_a_sync_ended(report: dict[str, Any], said: str) -> None:
    assert of_sync(**report).startswith(said)


def test_without_reading_back_nobody_claims_that_anybody_arrived() -> None:
    text = of_sync(is_verified=False, outcome="problems", selected=9, accepted=9, unconfirmed=9)
    assert text.startswith("Finished: everything was sent, but nobody looked whether Qomon applied it.\n")
    assert re.search(
        r"unconfirmed +9 +Qomon took them \(202\); nobody looked whether it applied them: "
        r"run syncengine verify\n",
        text,
    )
    assert facts(text) == {"confirmed": "0", "unconfirmed": "9"}


def test_earlier_runs_doubts_and_findings_are_told_apart() -> None:
    text = of_sync(
        outcome="problems",
        earlier={"confirmed": 1_200, "differs": 0, "dropped": 2, "unconfirmed": 0},
        doubts={"seen": 9, "again": 3},
        findings=[PHONE],
    )
    _, _, earlier = text.partition("From earlier runs:\n")
    assert facts(earlier) == {"confirmed": "1,200", "dropped": "2"}
    assert "Without an answer: 12 were looked up: 9 seen in Qomon, 3 sent again, 0 held\n" in text
    assert f"{TOLD}.\n" in text
    assert "Without an answer" not in of_sync(doubts={"seen": 0})


def test_a_field_that_qomon_does_not_show_is_not_called_rewritten() -> None:
    lost = finding_in_words(PHONE | {"shown": "nothing", "seen": 1_000, "differs": 999})
    assert lost.startswith("Qomon does not show phone: sent as 99 99 99, nothing is seen (in 999 of 1,000 ")


def test_a_verify_tells_what_it_compared_and_what_is_as_before() -> None:
    report = VerifyReport(
        run=8, outcome="problems", checked=1_000, confirmed=3, differs=2, dropped=1, exit=3, findings=[PHONE]
    )
    text = told(lambda page: write_verify(page, report.as_json()))
    assert "Compared with Qomon: 1,000 contacts\n" in text
    assert facts(text) == {"confirmed": "3", "differs": "2", "dropped": "1", "as before": "994"}
    assert TOLD in text
    assert "exit code 3" in text
    done = VerifyReport(run=9, outcome="done", checked=5, confirmed=5, exit=0).as_json()
    text = told(lambda page: write_verify(page, done))
    assert text.startswith("Done: everybody in the source is in Qomon as sent.\n")
    assert facts(text) == {"confirmed": "5"}


def test_a_report_in_a_log_is_narrow_enough_to_read() -> None:
    page = Page()
    report = Report(outcome="problems", unconfirmed=1, held=1, findings=[PHONE], problems_open=1).as_json()
    write_sync(page, report, is_verified=False)
    lines = page.console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # a StringIO
    assert max(map(len, lines)) <= 100


# --- problems


def problem(key: str, reason: str, state: str = "held", **more: Any) -> dict[str, Any]:
    return {"key": key, "state": state, "reason": reason, "remedy": "act", "since": 0.0, "facts": {}} | more


def of_problems(
    *found: dict[str, Any], findings: tuple[dict[str, Any], ...] = (), is_all: bool = False
) -> str:
    return told(lambda page: listing.write_problems(page, list(found), findings, is_all=is_all))


def test_collisions_name_the_other_keys_and_twins_their_ids() -> None:
    others = {"keys": [f"K{n}" for n in range(7)], "more": 5}
    found = (
        problem("A", "could be the same person as another key", facts=others),
        problem("B", "could be the same person as another key", facts={"keys": ["A"], "more": 0}),
        problem("C", "twins in Qomon", "differs", facts={"ids": [17, 18]}),
        problem("D", "names alone"),
        problem("E", "names alone"),
    )
    text = of_problems(*found)
    assert "  A: could be K0, K1, K2, K3, K4 and 7 more\n  B: could be A\n" in text
    assert "Different in Qomon: twins in Qomon (1)\n" in text
    assert "  C: ids in Qomon: 17, 18\n" in text
    assert "  Keys: D, E\n" in text
    assert "A: could be K0, K1, K2, K3, K4, K5, K6 and 5 more\n" in of_problems(*found, is_all=True)


def test_values_show_what_was_sent_and_seen_hints_and_qomons_words() -> None:
    fields = [
        {"field": "phone", "sent": "99", "seen": "+3399"},
        {"field": "tags", "sent": ["gold", "red"], "seen": None},
        {"field": "address.addition", "sent": "", "seen": "Bât. B"},
    ]
    text = of_problems(
        problem(
            "A",
            "other values in Qomon: phone",
            "differs",
            facts={"fields": fields},
            detail="no",
            content={"phone": "99"},
        ),
        problem(
            "B", "Qomon would drop it: x", facts={"hints": ["'Gold' is no option"]}, detail=None, content={}
        ),
    )
    assert "    phone: sent 99; seen in Qomon: +3399\n" in text
    assert "    tags: sent gold, red; nothing is seen in Qomon\n" in text
    assert "    address.addition: sent nothing, to clear it; seen in Qomon: Bât. B\n" in text
    assert "    'Gold' is no option\n" in text
    assert "    Qomon said: no\n" in text


def test_findings_stand_above_the_problems_even_when_there_is_none() -> None:
    assert of_problems(findings=(PHONE,)) == f"{TOLD}.\n\nNo open problems.\n"
    assert of_problems(problem("A", "names alone"), findings=(PHONE,)).startswith(f"{TOLD}.\n\n1 open")


def test_an_export_has_the_facts_in_columns_of_their_own(tmp_path: Path) -> None:
    found = [
        problem("A", "collides", facts={"keys": ["=B", "C"], "more": 4}, line=None),
        problem("D", "twins in Qomon", "differs", facts={"ids": [17, 18]}),
        problem("E", "other values", "differs", facts={"fields": [{"field": "phone"}, {"field": "tags"}]}),
        problem("F", "not a date", "refused", line=3, column="born"),
    ]
    write_export(tmp_path / "plain.csv", found)
    rows = read(tmp_path / "plain.csv")
    assert list(rows[0]) == [
        "key", "state", "reason", "remedy", "since", "line", "other_keys", "qomon_ids", "fields",
    ]  # fmt: skip
    assert [row["other_keys"] for row in rows] == ["'=B, C, … and 4 more", "", "", ""]
    assert (rows[1]["qomon_ids"], rows[2]["fields"], rows[3]["line"]) == ("17, 18", "phone, tags", "3")


def test_an_export_with_values_tells_them_field_by_field(tmp_path: Path) -> None:
    answers = [{"label": "Job", "value": "a"}, {"label": "Job", "value": "b"}]
    found = [
        problem(
            "A",
            "other values",
            "differs",
            facts={"fields": [{"field": "phone", "sent": "1", "seen": "2"}], "hints": ["h", "i"]},
            detail="no",
            content={"phone": "1", "custom_fields": answers},
        ),
        problem("B", "not a date", "refused", line=3),
    ]
    write_export(tmp_path / "values.csv", found)
    first, second = read(tmp_path / "values.csv")
    assert first["differences"] == "phone: sent 1; seen in Qomon: 2"
    assert (first["hints"], first["answer"], first["phone"]) == ("h / i", "no", "1")
    assert first["custom_fields.Job"] == "a, b"
    assert (second["line"], second["phone"]) == ("3", "")


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


@given(st.text(alphabet="=+-@\uff1d ;,|\t\r\nab'1", max_size=12))
def test_no_spreadsheet_sees_a_formula_in_a_cell_whatever_it_takes_for_its_end(text: str) -> None:
    safe = safe_cell(text)
    assert not re.search(r"(?:^|[;,|\t\r\n])\s*[=+\-@\uff1d]", safe)
    assert not re.match(r"[\t\r\n]", safe)
    assert safe.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Ada", "Ada"),
        ("=1+1", "'=1+1"),
        ("-5", "'-5"),
        (" @x", "' @x"),
        ("a;=1", "a;'=1"),
        ("Jean-Luc", "Jean-Luc"),
        ("a, b", "a, b"),
        ("\tx", "'\tx"),
        ("", ""),
    ],
)
def test_a_cell_is_left_alone_when_it_is_no_formula(text: str, safe: str) -> None:
    assert safe_cell(text) == safe


# --- explain


def test_a_story_tells_what_is_seen_what_is_kept_and_what_to_do() -> None:
    found = {
        "key": "A",
        "state": "differs",
        "id": 17,
        "content": {"phone": "99", "tags": [{"name": "red"}]},
        "accepted": {"phone": "98", "tags": [{"name": "red"}]},
        "changed_fields": ["phone"],
        "kept": {"tags": [{"name": "gold"}]},
        "facts": {"fields": [{"field": "phone", "sent": "99", "seen": "+3399"}]},
        "missing": False,
        "awaiting": True,
        "events": [
            {"at": 0, "event": "first loaded"},
            {"at": 0, "event": "accepted", "status": 202, "run": 1},
            {"at": 0, "event": "confirmed"},
            {"at": 0, "event": "dropped", "run": 2, "reason": "accepted, then not applied"},
            {"at": 0, "event": "retried", "run": 0, "reason": "by hand, was: x"},
            {
                "at": 0,
                "event": "differs",
                "run": 3,
                "reason": "other values in Qomon: phone",
                "remedy": "do it",
            },
        ],
    }
    text = re.sub(r"  \d{4}-\S+ \S+  ", "  ", told(lambda page: write_story(page, found)))
    assert text.startswith("A: differs\n  id in Qomon             17\n")
    assert "not seen in Qomon yet" in text
    assert "  phone                   99        seen in Qomon: +3399\n" in text
    assert "upsert does not take it away:\n  tags                    gold\n" in text
    assert text.endswith(
        "What happened:\n"
        "  first loaded\n"
        "  accepted, HTTP 202, run 1\n"
        "  confirmed: seen in Qomon as sent\n"
        "  accepted, then not applied, run 2\n"
        "  tried again: by hand, was: x\n"
        "  differs, run 3: other values in Qomon: phone\n"
        "    phone: sent 99; seen in Qomon: +3399\n"
        "\n"
        "What to do: do it.\n"
    )


# --- where a run stands


def test_status_tells_confirmed_contacts_and_runs_that_only_read() -> None:
    run = {"outcome": "problems", "reason": None, "exit": 3, "started": 0.0, "ended": 1.0}
    found = {
        "store": {"path": "state.db"},
        "contacts": {"confirmed": 9, "accepted": 1},
        "missing": 0,
        "running": None,
        "problems_open": 0,
        "last_load": None,
        "runs": [
            run | {"run": 2, "kind": "verify", "report": {"confirmed": 4}},
            run | {"run": 1, "kind": "sync", "report": {"sent": 10, "confirmed": 5, "remaining": 0}},
        ],
    }
    text = told(lambda page: write_status(page, found))
    assert re.search(r"confirmed +9 +seen in Qomon as sent\n", text)
    assert "not checked yet" not in text
    assert re.search(r"run +what .* exit +sent +confirmed +remaining\n", text)
    assert re.search(r"2 +verify .* 3 +4\n", text)
    assert re.search(r"1 +sync .* 3 +10 +5 +0\n", text)
    for remaining, kind, said in ((0, "sync", "10 sent, reading back"), (None, "verify", ": reading back")):
        running = {"run": 3, "pid": 1, "kind": kind, "started": 0.0, "sent": 10, "remaining": remaining}
        here = found | {"running": running | {"rate": 0.0, "finish_at": 1.0}}
        assert said in told(lambda page, shown=here: write_status(page, shown))  # type: ignore[misc]


def test_the_progress_line_says_that_a_run_reads_back() -> None:
    assert progress_line(Progress(phase="reading back", accepted=1_200)) == (
        "reading back: looking in Qomon for 1,200 accepted contacts"
    )
    assert progress_line(Progress(phase="reading back")).endswith("for what was accepted")
    assert progress_line(Progress(phase="checking")).startswith("checking: ")


def test_a_plan_tells_keys_that_moved_from_a_mass_change() -> None:
    blank: dict[str, Any] = {"creates": 0, "updates": 0, "held": 30, "tokens": 0, "load": None, "fields": {}}
    plan = blank | {"stops": "mass_change", "holds": {"its key now names another person": 30}}
    text = told(lambda page: write_plan(page, plan, 10.0))
    assert "the keys of 30 contacts now name other people" in text
    text = told(lambda page: write_plan(page, plan | {"holds": {}}, 10.0))
    assert "If that is meant: syncengine sync --allow-mass-change\n" in text
