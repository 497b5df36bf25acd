"""A space's forms: what would drop a contact is told beforehand, what is stored is told in words."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.qomon.contact import Answer
from syncengine.qomon.fields import ADVANCED, UNPROVEN
from syncengine.qomon.forms import KINDS, Form, Forms, Option, check_kind, decode, form_named

fixed = settings(derandomize=True, deadline=None)

NEWSLETTER = Form(
    3,
    "Newsletter",
    "consent",
    "radio",
    (Option(31, "Agrees by mail", "consent_email"), Option(32, "Refusal", "refus")),
)
INTERESTS = Form(
    4,
    "Interests",
    "custom_fields",
    "checkbox",
    (Option(41, "Climate", "climate"), Option(42, "Work", "work")),
)
JOB = Form(5, "Job", "custom_fields", "text", (Option(51, "Job"),))
ONE_OF_TWO = Form(6, "Region", "custom_fields", "text")
OTHER_OF_TWO = Form(7, "Region", "custom_fields", "radio", (Option(71, "North", "north"),))
DOOR = Form(8, "Presence", "presence_status", "radio", (Option(81, "present", "present"),))
FORMS = Forms([NEWSLETTER, INTERESTS, JOB, ONE_OF_TWO, OTHER_OF_TWO, DOOR])


def test_every_kind_of_answers_has_one_type_of_forms() -> None:
    assert sorted(KINDS.values()) == sorted(ADVANCED)
    for form_type, kind in KINDS.items():
        assert Form(1, "x", form_type).kind == kind
    assert Form(1, "x").kind == ""


# --- naming forms and options


@pytest.mark.parametrize("name", ["Newsletter", 3, "#3", "#03"])
def test_a_form_is_found_by_its_label_or_its_id(name: int | str) -> None:
    assert FORMS.find("consents", name) is NEWSLETTER


@pytest.mark.parametrize("name", ["", " ", 0, -3, True, "#", "#0", "#x", "#3x", None, 3.0])
def test_what_is_neither_label_nor_id_names_no_form(name: int | str) -> None:
    with pytest.raises(ValueError, match=r"^a form is named by its label or its id \(#12\)$"):
        form_named(name)


@pytest.mark.parametrize(
    ("kind", "form", "reason"),
    [
        ("consents", "newsleter", "consents has no form 'newsleter'; did you mean 'Newsletter' (#3)?"),
        ("consents", "Zzz", "consents has no form 'Zzz'"),
        ("consents", 99, "consents has no form #99"),
        ("consents", 5, "consents has no form #5; #5 'Job' belongs to custom_fields"),
        ("consents", "Job", "consents has no form 'Job'; #5 'Job' belongs to custom_fields"),
        (
            "custom_fields",
            "Region",
            "custom_fields 'Region' is the label of several forms (#6, #7); name one by its id",
        ),
        (
            "presence_status",
            "Presence",
            f"presence_status cannot be sent: {UNPROVEN['presence_status']}",
        ),
        ("consent", "Newsletter", "'consent' is no kind of answers; did you mean 'consents'?"),
        ("survey", "Newsletter", "'survey' is no kind of answers; did you mean 'forms'?"),
        ("mail", "Newsletter", f"'mail' is no kind of answers; they are {', '.join(ADVANCED)}"),
    ],
)
def test_a_form_that_is_not_found_is_told_with_what_may_have_been_meant(
    kind: str, form: int | str, reason: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        FORMS.find(kind, form)
    assert FORMS.check(kind, form, "x") == FORMS.reason(kind, form, "x") == reason


def test_the_label_of_another_kind_is_no_ambiguity() -> None:
    twin = Form(9, "Newsletter", "survey", "text")
    assert Forms([NEWSLETTER, twin]).find("consents", "Newsletter") is NEWSLETTER
    assert Forms([NEWSLETTER, twin]).find("forms", "Newsletter") is twin


def test_an_option_is_found_by_its_value_else_by_its_label() -> None:
    crossed = Form(1, "x", "survey", "radio", (Option(1, "B", "A"), Option(2, "C", "B"), Option(3)))
    found = [crossed.option(text) for text in ("A", "B", "C", "", "b")]
    assert found == [crossed.options[0], crossed.options[1], crossed.options[1], None, None]


@pytest.mark.parametrize(
    ("widget", "options", "has_options"),
    [
        ("text", (Option(1),), False),
        ("numeric", (), False),
        ("date", (Option(1, "a", "a"),), False),
        ("radio", (), True),
        ("select", (Option(1, "a"),), True),
        ("checkbox", (Option(1, "a"),), True),
        ("range", (), False),
        ("photo", (Option(1),), False),
        ("slider", (Option(1, "a"),), True),
        ("", (Option(1, "", "a"),), True),
    ],
)
def test_a_widget_nobody_has_seen_yet_is_a_choice_when_it_has_options(
    widget: str, options: tuple[Option, ...], has_options: bool
) -> None:
    form = Form(1, "x", "survey", widget, options)
    assert form.has_options is has_options
    assert form.is_multiple is (widget == "checkbox")


# --- what would drop a contact


@pytest.mark.parametrize(
    ("kind", "form", "value"),
    [
        ("consents", "Newsletter", "consent_email"),
        ("consents", "#3", "Agrees by mail"),
        ("custom_fields", 4, "climate"),
        ("custom_fields", "Job", "anything at all"),
        ("name_presences", 8, "present"),
    ],
)
def test_an_answer_that_can_be_stored_has_no_fault(kind: str, form: int | str, value: str) -> None:
    assert FORMS.check(kind, form, value) is None
    assert FORMS.reason(kind, form, value) is None


@pytest.mark.parametrize(
    ("kind", "form", "value", "reason", "hint"),
    [
        (
            "consents",
            "Newsletter",
            "consent_mail",
            "consents 'Newsletter' (#3) has no such option",
            "; did you mean 'consent_email'?",
        ),
        (
            "consents",
            3,
            "agrees by Mail",
            "consents 'Newsletter' (#3) has no such option",
            "; did you mean 'Agrees by mail'?",
        ),
        ("consents", 3, "1", "consents 'Newsletter' (#3) has no such option", ""),
        ("consents", 3, "", "consents 'Newsletter' (#3) cannot be answered with an empty text", ""),
        ("custom_fields", "Job", "", "custom_fields 'Job' (#5) cannot be answered with an empty text", ""),
        (
            "custom_fields",
            "Job",
            5,
            "custom_fields 'Job' (#5) takes only text, even for numbers and flags",
            "",
        ),
        ("consents", 3, True, "consents 'Newsletter' (#3) takes only text, even for numbers and flags", ""),
    ],
)
def test_an_answer_that_drops_its_contact_is_told_with_the_nearest_right_one(
    kind: str, form: int | str, value: object, reason: str, hint: str
) -> None:
    assert FORMS.check(kind, form, value) == reason + hint
    assert FORMS.reason(kind, form, value) == reason


def test_a_choice_without_options_can_be_answered_by_nothing() -> None:
    forms = Forms([Form(1, "Empty", "survey", "select", (Option(2),))])
    assert forms.check("forms", 1, "x") == "forms 'Empty' (#1) has no options to choose from"


@fixed
@given(st.text(), st.sampled_from([form for form in FORMS if form.has_options]))
def test_a_reason_for_the_log_is_the_same_for_every_wrong_value(value: str, form: Form) -> None:
    reasons = {FORMS.reason(form.kind, form.id, text) for text in ("no option", value, value + "?") if text}
    assert len(reasons - {None}) == 1


def test_long_values_are_compared_by_their_beginning() -> None:
    """The whole of two long texts would take minutes."""
    forms = Forms([Form(1, "x", "survey", "radio", (Option(2, "", "a" * 100 + "b" * 100),))])
    reason = forms.check("forms", 1, "a" * 100 + "c" * 400)
    assert reason == f"forms 'x' (#1) has no such option; did you mean '{'a' * 100}{'b' * 100}'?"


@pytest.mark.parametrize("kind", ADVANCED)
def test_the_kinds_of_the_upsert_are_kinds(kind: str) -> None:
    check_kind(kind)


# --- the collection


def test_a_form_counts_once_and_the_first_whose_type_is_known_counts() -> None:
    unknown, known, again = Form(1, "old"), Form(1, "A", "survey"), Form(1, "B", "consent")
    assert list(Forms([unknown, known, again])) == [known]
    assert len(Forms([unknown, JOB, unknown])) == 2
    assert list(Forms()) == []


texts = st.text(max_size=4) | st.just("\ud800")
options = st.lists(
    st.builds(Option, st.integers(1, 9), texts, texts), max_size=3, unique_by=lambda option: option.id
)
lists_of_forms = st.lists(
    st.builds(Form, st.integers(1, 99), texts, st.sampled_from(list(KINDS)), texts, options.map(tuple)),
    max_size=4,
    unique_by=lambda form: form.id,
)


def _without_order(forms: list[Form]) -> set[object]:
    return {(f.id, f.label, f.type, f.widget, frozenset(f.options)) for f in forms}


@fixed
@given(lists_of_forms, lists_of_forms)
def test_fingerprints_are_equal_exactly_when_the_forms_are(some: list[Form], others: list[Form]) -> None:
    backwards = [replace(form, options=form.options[::-1]) for form in reversed(some)]
    assert Forms(backwards).fingerprint == Forms(some).fingerprint
    is_same = _without_order(some) == _without_order(others)
    assert (Forms(some).fingerprint == Forms(others).fingerprint) is is_same


@pytest.mark.parametrize(
    "changed",
    [
        [NEWSLETTER],
        [NEWSLETTER, INTERESTS, JOB],
        [replace(NEWSLETTER, label="News"), INTERESTS],
        [replace(NEWSLETTER, options=NEWSLETTER.options[:1]), INTERESTS],
        [replace(NEWSLETTER, options=(*NEWSLETTER.options[:1], Option(32, "No", "refus"))), INTERESTS],
        [replace(NEWSLETTER, options=(*NEWSLETTER.options[:1], Option(32, "Refusal", "no"))), INTERESTS],
        [replace(NEWSLETTER, options=(*NEWSLETTER.options[:1], Option(33, "Refusal", "refus"))), INTERESTS],
        [replace(NEWSLETTER, widget="checkbox"), INTERESTS],
        [replace(NEWSLETTER, type="survey"), INTERESTS],
    ],
)
def test_the_fingerprint_changes_when_a_form_or_an_option_does(changed: list[Form]) -> None:
    before = Forms([NEWSLETTER, INTERESTS]).fingerprint
    assert len(before) == 16
    assert Forms(changed).fingerprint != before


def test_the_fingerprint_is_the_same_for_ever() -> None:
    """It is stored: another way to compute it would look like forms that have changed."""
    assert Forms([NEWSLETTER, INTERESTS]).fingerprint.hex() == "7842dd73fe1590bc6fda413333be334f"


# --- decoding


@pytest.mark.parametrize(
    ("answer", "kind", "label", "value"),
    [
        (Answer(form=3, ref_id=31, stored="consent_email"), "consents", "Newsletter", "Agrees by mail"),
        (Answer(form=3, ref_id=31, stored=""), "consents", "Newsletter", "Agrees by mail"),
        (Answer(form=3, ref_id=31, stored="refus"), "consents", "Newsletter", "Agrees by mail"),
        (Answer(form=3, ref_id=99, stored="refus"), "consents", "Newsletter", "Refusal"),
        (Answer(form=3, stored="Refusal"), "consents", "Newsletter", "Refusal"),
        (Answer(form=3, ref_id=99, stored="gone"), "consents", "Newsletter", "gone"),
        (Answer(form=5, ref_id=51, stored="baker"), "custom_fields", "Job", "baker"),
        (Answer(form=4, ref_id=42, stored="work"), "custom_fields", "Interests", "Work"),
        (Answer(form=7, ref_id=71, stored="north"), "custom_fields", "Region", "North"),
        (Answer(form=99, ref_id=31, stored="consent_email"), "", "", "consent_email"),
        (Answer(form=0, stored="x"), "", "", "x"),
    ],
)
def test_a_stored_answer_is_decoded_to_labels(answer: Answer, kind: str, label: str, value: str) -> None:
    answer = replace(answer, value=answer.stored or "", id=12)
    assert decode([answer], FORMS) == (replace(answer, kind=kind, label=label, value=value),)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            Answer("consents", "Newsletter", "refus"),
            Answer("consents", 3, "Refusal", label="Newsletter"),
        ),
        (Answer("consents", "#3", "Refusal"), Answer("consents", 3, "Refusal", label="Newsletter")),
        (Answer("custom_fields", 5, "baker"), Answer("custom_fields", 5, "baker", label="Job")),
    ],
)
def test_an_answer_to_be_written_is_decoded_alike(answer: Answer, expected: Answer) -> None:
    assert decode([answer], FORMS) == (expected,)


@pytest.mark.parametrize(
    "answer",
    [
        Answer("consents", 5, "baker"),
        Answer("custom_fields", "Region", "north"),
        Answer("consents", "Job", "baker"),
        Answer("consents", "", "x"),
        Answer("nothing", 3, "refus"),
    ],
)
def test_an_answer_that_belongs_to_no_form_for_certain_stays_as_it_is(answer: Answer) -> None:
    assert decode([answer], FORMS) == (answer,)


def test_an_answer_is_decoded_once() -> None:
    """What a caller writes into a decoded answer counts, and a label may be another option's value."""
    decoded = decode([Answer(form=4, value="work", ref_id=42, stored="work")], FORMS)
    assert decoded[0].value == "Work"
    edited = [replace(decoded[0], value="Climate")]
    assert decode(edited, FORMS) == tuple(edited)
    removed = Forms([replace(INTERESTS, label="Causes", options=())])
    assert decode(decoded, removed) == decoded


CROSSED = (Option(1, "2", "1"), Option(2, "3", "2"))
SAME_LABEL = (Option(1, "Yes", "y1"), Option(2, "Yes", "y2"), Option(3, "No", "n"))
TWINS = (Option(1, "Yes", "y"), Option(2, "Yes", "y"))


@pytest.mark.parametrize(
    ("options", "ref_id", "stored", "value"),
    [
        (CROSSED, 1, "1", "1"),
        (CROSSED, 2, "2", "3"),
        (SAME_LABEL, 1, "y1", "y1"),
        (SAME_LABEL, 2, "y2", "y2"),
        (SAME_LABEL, 2, "", "y2"),
        (SAME_LABEL, 3, "n", "No"),
        (TWINS, 1, "y", "y"),
        (TWINS, 2, "as stored", "as stored"),
        ((Option(1, "Same", "Same"), Option(2, "", "x")), 1, "Same", "Same"),
        ((Option(1, "Same", "Same"), Option(2, "", "x")), 2, "", "x"),
    ],
)
def test_a_label_that_could_mean_another_option_is_not_what_an_answer_is_decoded_to(
    options: tuple[Option, ...], ref_id: int, stored: str, value: str
) -> None:
    """It would be sent back as that other option."""
    forms = Forms([Form(1, "x", "survey", "radio", options)])
    decoded = decode([Answer(form=1, value=stored, ref_id=ref_id, stored=stored)], forms)
    assert decoded[0].value == value


few_texts = st.sampled_from(["", "a", "b", "c"])


@fixed
@given(st.lists(st.tuples(few_texts, few_texts), min_size=1, max_size=4), st.integers(0, 3))
def test_a_decoded_answer_chooses_the_option_it_was_read_with(
    drawn: list[tuple[str, str]], place: int
) -> None:
    form = Form(1, "x", "survey", "radio", tuple(Option(i, *texts) for i, texts in enumerate(drawn, 1)))
    held = form.options[place % len(form.options)]
    forms = Forms([form])
    decoded = decode([Answer(form=1, value="stored", ref_id=held.id, stored="stored")], forms)[0]
    others = {text for option in form.options if option is not held for text in (option.label, option.value)}
    if form.option(held.value) is held or (held.label and held.label not in others):
        assert form.option(decoded.value) is held
    else:
        assert decoded.value == "stored"


def test_an_answer_to_a_form_of_unknown_type_gets_its_label() -> None:
    forms = Forms([Form(1, "Colour", "", "radio", (Option(2, "Red", "r"),))])
    assert decode([Answer(form=1, value="r", ref_id=2)], forms)[0].value == "Red"
    assert forms.check("forms", 1, "r") == "forms has no form #1"


@pytest.mark.parametrize(
    ("widget", "value", "is_taken"),
    [
        ("numeric", "12.5", True),
        ("numeric", "1,5", False),
        ("date", "2026-07-16", True),
        ("date", "2026-07-16T00:00:00.000Z", True),
        ("date", "03/02/2024", False),
        ("text", "1,5", True),
    ],
)
def test_a_number_or_a_date_is_told_from_what_would_be_dropped(
    widget: str, value: str, *, is_taken: bool
) -> None:
    forms = Forms([Form(5, "Shares", "custom_fields", widget)])
    reason = forms.reason("custom_fields", 5, value)
    assert (reason is None) is is_taken
    assert value not in (reason or "")
