"""Why a contact would be dropped: a reason all such contacts share, and a hint that may resemble a value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.qomon.faults import OPTIONS_SHOWN, REMEMBERED, Faults
from syncengine.qomon.fields import ADVANCED
from syncengine.qomon.forms import Form, Forms, Option
from syncengine.seen import Fault

TIER = Form(3, "Tier", "custom_fields", "radio", (Option(31, "gold", "g"), Option(32, "silver", "s")))
TOPICS = Form(
    4, "Topics", "custom_fields", "checkbox", (Option(41, "Climate", "climate"), Option(42, "", "work"))
)
AGE = Form(5, "Age", "custom_fields", "numeric")
JOB = Form(6, "Job", "custom_fields", "text", (Option(61, "Job"),))
DISTRICTS = tuple(Option(n, f"District {n}", str(n)) for n in range(1, OPTIONS_SHOWN + 2))
DISTRICT = Form(7, "District", "survey", "select", DISTRICTS)
EMPTY = Form(8, "Closed", "survey", "radio")
FORMS = Forms([TIER, TOPICS, AGE, JOB, DISTRICT, EMPTY])


def faults(**answers: list[tuple[str | int, str]]) -> list[Fault]:
    """Return the faults of a content with these answers by kind."""
    return Faults(FORMS).of({kind: [answer(*each) for each in given] for kind, given in answers.items()})


def answer(named: str | int, value: str) -> dict[str, Any]:
    return {"id" if isinstance(named, int) else "label": named, "value": value}


def test_a_contact_without_answers_or_with_right_ones_has_none() -> None:
    assert faults() == []
    assert Faults(FORMS).of({"surname": "Dupré", "tags": [{"name": "Tier"}]}) == []
    right: list[tuple[str | int, str]] = [
        ("Tier", "gold"), (4, "climate"), ("Topics", "Climate"), ("Topics", "work"), (5, "12"), ("Job", "x"),
    ]  # fmt: skip
    assert faults(custom_fields=right) == []


def test_an_option_that_is_none_is_told_with_those_there_are() -> None:
    assert faults(custom_fields=[("Tier", "Gold")]) == [
        Fault(
            "custom_fields 'Tier' (#3) has no such option (its options: gold, silver)",
            "'Gold' is not an option of 'Tier'; did you mean 'gold'?",
        )
    ]
    assert faults(custom_fields=[("Topics", "zzz")]) == [
        Fault(
            "custom_fields 'Topics' (#4) has no such option (its options: Climate, work)",
            "'zzz' is not an option of 'Topics'",
        )
    ]


def test_many_options_are_not_listed_but_the_nearest_is_named() -> None:
    assert faults(forms=[(7, "Distrikt 3")]) == [
        Fault(
            "forms 'District' (#7) has no such option",
            "'Distrikt 3' is not an option of 'District'; did you mean 'District 3'?",
        )
    ]


@pytest.mark.parametrize(
    ("kind", "named", "value", "reason", "hint"),
    [
        ("custom_fields", "Teir", "gold", "custom_fields has no form 'Teir'; did you mean 'Tier' (#3)?", ""),
        ("consents", 3, "gold", "consents has no form #3; #3 'Tier' belongs to custom_fields", ""),
        (
            "custom_fields",
            "Age",
            "forty",
            "custom_fields 'Age' (#5) takes only a number such as 12.5",
            "'forty' is no answer to 'Age'",
        ),
        (
            "custom_fields",
            "Job",
            "",
            "custom_fields 'Job' (#6) cannot be answered with an empty text",
            "'' is no answer to 'Job'",
        ),
        (
            "forms",
            "Closed",
            "x",
            "forms 'Closed' (#8) has no options to choose from",
            "'x' is not an option of 'Closed'",
        ),
    ],
)
def test_every_other_fault_has_its_words(
    kind: str, named: str | int, value: str, reason: str, hint: str
) -> None:
    assert faults(**{kind: [(named, value)]}) == [Fault(reason, hint)]


def test_a_choice_of_one_takes_one_answer_however_it_is_named() -> None:
    second = Fault("custom_fields 'Tier' (#3) takes one answer, and the contact has several", "")
    assert faults(custom_fields=[("Tier", "gold"), ("Tier", "silver")]) == [second]
    assert faults(custom_fields=[("Tier", "gold"), (3, "s"), (3, "silver")]) == [second]
    assert faults(custom_fields=[("Tier", "gold"), (3, "g")]) == []  # one option, named twice
    assert faults(custom_fields=[("Topics", "Climate"), ("Topics", "work")]) == []
    assert faults(custom_fields=[("Job", "nurse"), ("Job", "cook")]) == []  # not known what Qomon does


def test_all_faults_of_a_contact_are_told_each_once() -> None:
    found = faults(
        custom_fields=[("Tier", "Gold"), ("Tier", "bronze"), ("Tier", "Gold")], consents=[("News", "yes")]
    )
    assert [fault.hint for fault in found if fault.hint] == [
        "'Gold' is not an option of 'Tier'; did you mean 'gold'?",
        "'bronze' is not an option of 'Tier'",
    ]
    assert len(found) == 3
    assert len({fault.reason for fault in found}) == 2


def test_a_long_answer_is_not_repeated_whole() -> None:
    (fault,) = faults(custom_fields=[("Tier", "x" * 10_000)])
    assert len(fault.hint) < 160


values = st.sampled_from(["gold", "g", "Gold", "silver", "work", "12", "x", ""]) | st.text(max_size=5)
named = st.sampled_from([3, 4, 5, 6, 7, 8, 99, "Tier", "Topics", "Age", "Job", "District", "Closed", "none"])


@given(st.lists(st.tuples(st.sampled_from(ADVANCED), named, values), max_size=6))
@settings(derandomize=True, deadline=None)
def test_a_contact_has_faults_when_one_of_its_answers_would_drop_it(
    given_: list[tuple[str, str | int, str]],
) -> None:
    content: dict[str, Any] = {}
    for kind, form, value in given_:
        content.setdefault(kind, []).append(answer(form, value))
    found = Faults(FORMS).of(content)
    wrong = {FORMS.reason(*each) for each in given_} - {None}
    told = {fault.reason.partition(" (its options: ")[0] for fault in found}
    assert wrong == {reason for reason in told if "takes one answer" not in reason}


@given(st.text(min_size=1, max_size=30))
@settings(derandomize=True, deadline=None)
def test_the_reason_is_the_same_whatever_the_value(value: str) -> None:
    (one,) = faults(custom_fields=[("Tier", "neither")])
    for other in faults(custom_fields=[("Tier", f"{value}?")]):
        assert other.reason == one.reason


def test_what_is_remembered_is_bounded_and_changes_nothing() -> None:
    judge = Faults(FORMS)
    wrong = judge.of({"custom_fields": [answer("Tier", "Gold")]})
    for number in range(REMEMBERED + 10):
        assert judge.of({"custom_fields": [answer("Job", f"job {number}")]}) == []
    assert len(judge._judged) <= REMEMBERED
    assert judge.of({"custom_fields": [answer("Tier", "Gold")]}) == wrong
