"""The forms of a sandbox's space: their file, what an answer names, what becomes of earlier answers."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_sandbox_client import Client, running

from syncengine.sandbox.answering import answered, new_answer, recreated, withdrawn
from syncengine.sandbox.book import stamp
from syncengine.sandbox.form import CHOICES
from syncengine.sandbox.forms import KINDS, TYPES, Form, Forms, FormsError, Resolved
from syncengine.sandbox.unknowns import Unknowns

ADA = {"firstname": "Ada", "surname": "Roux", "mail": "ada@example.org"}
SAMPLE = {form.label: form for form in Forms.sample()}
KIND_OF = {form_type: kind for kind, form_type in KINDS.items()}
SIZE = {
    "type": "custom_fields",
    "label": "Size",
    "widget": "radio",
    "options": [{"label": "Small", "value": "S"}, {"label": "Large"}],
}


async def answers(*changes: dict[str, Any], **options: Any) -> list[tuple[int, str, bool]]:
    """Upsert one person several times; return form, data and whether it counts, of each answer."""
    async with running(**options) as client:
        await client.accepted(*(ADA | change for change in changes))
        return await answers_of(client)


async def answers_of(client: Client) -> list[tuple[int, str, bool]]:
    (person,) = await client.contacts()
    return [
        (answer["form_id"], answer["data"], answer["deleted_at"] is None)
        for answer in person.get("answers", [])
    ]


def labelled(label: str, *values: str) -> dict[str, Any]:
    """Return answers to a sample form, under its key."""
    return {KIND_OF[SAMPLE[label].type]: [{"label": label, "value": value} for value in values]}


# What an answer names


@pytest.mark.parametrize(("label", "value", "data"), [
    ("Job", "Nurse", "Nurse"),
    ("Job", "", ""),
    ("Languages", "fr", "fr"),
    ("Languages", "French", "fr"),
    ("Newsletter", "refus", "refus"),
    ("Newsletter", "Refusal", "refus"),
    ("Level of support", "member", "2"),
    ("Survey 2026", "volunteer", "volunteer"),
    ("Call back", "To do", "todo"),
    ("Assembly", "present", "present"),
    ("Shares", "-12.50", "-12.50"),
    ("Joined", "2026-07-16", "2026-07-16T00:00:00.000Z"),
    ("Joined", "2026-07-16T01:30:00.25+02:00", "2026-07-15T23:30:00.250Z"),
])  # fmt: skip
async def test_option_is_named_by_value_or_label_and_a_free_form_takes_its_kind_of_text(
    label: str, value: str, data: str
) -> None:
    form = SAMPLE[label]
    assert await answers(labelled(label, value)) == [(form.id, data, True)]
    assert await answers({KIND_OF[form.type]: [{"id": form.id, "value": value}]}) == [(form.id, data, True)]


@pytest.mark.parametrize(("kind", "entry", "expected"), [
    ("custom_fields", {"id": 99, "value": "x"}, "unknown form 99 in custom_fields"),
    ("custom_fields", {"id": 1001, "value": "x"}, "unknown form 1001 in custom_fields"),
    ("custom_fields", {"label": "Jobs", "value": "x"}, "unknown form 'Jobs' in custom_fields"),
    ("custom_fields", {"label": "job", "value": "x"}, "unknown form 'job' in custom_fields"),
    ("custom_fields", {"label": "Committee", "value": "x"}, "ambiguous form 'Committee' in custom_fields"),
    ("custom_fields", {"value": "x"}, "an entry of custom_fields names no form"),
    ("custom_fields", {"id": 0, "label": "", "value": "x"}, "an entry of custom_fields names no form"),
    ("custom_fields", {"id": 8, "value": "refus"},
        "form 8 is of type consent: it does not belong in custom_fields"),
    ("forms", {"label": "Newsletter", "value": "refus"}, "unknown form 'Newsletter' in forms"),
    ("consents", {"label": "Newsletter", "value": "REFUS"}, "form 8 has no option 'REFUS'"),
    ("consents", {"label": "Newsletter", "value": ""}, "form 8 has no option ''"),
    ("custom_fields", {"id": 5, "value": "many"}, "form 5 takes no numeric such as 'many'"),
    ("custom_fields", {"id": 5, "value": "nan"}, "form 5 takes no numeric such as 'nan'"),
    ("custom_fields", {"id": 4, "value": "16/07/2026"}, "form 4 takes no date such as '16/07/2026'"),
    ("custom_fields", {"id": 4, "value": "2026-02-30"}, "form 4 takes no date such as '2026-02-30'"),
    ("presence_status", {"label": "Assembly", "value": "present"}, "unknown field presence_status"),
])  # fmt: skip
async def test_answer_that_names_nothing_drops_the_whole_contact_silently(
    kind: str, entry: dict[str, Any], expected: str
) -> None:
    async with running() as client:
        await client.accepted(ADA | {"actions": [{"label": "Call back", "value": "done"}], kind: [entry]})
        (request,) = await client.history()
        assert (request["status"], request["outcome"], request["cause"]) == (202, "dropped", expected)
        assert await client.contacts() == []


async def test_dropped_update_leaves_the_contact_as_it_was() -> None:
    async with running() as client:
        await client.accepted(ADA)
        before = await client.contacts()
        await client.accepted(ADA | {"phone": "7"} | labelled("Newsletter", "perhaps"))
        assert await client.contacts() == before


async def test_two_forms_of_one_label_are_told_apart_by_id() -> None:
    first, second = {"id": 6, "value": "a"}, {"id": 7, "label": "Job", "value": "b"}
    assert await answers({"custom_fields": [first, second]}) == [(6, "a", True), (7, "b", True)]


# What a further answer does


@pytest.mark.parametrize("label", ["Size", "Newsletter", "Level of support", "Call back", "Assembly"])
async def test_radio_holds_one_value_and_no_history(label: str) -> None:
    first, second = SAMPLE[label].options[:2]
    assert await answers(labelled(label, first.value), labelled(label, second.value)) == [
        (SAMPLE[label].id, second.value, True)
    ]


async def test_last_of_several_answers_to_a_radio_in_one_upsert_counts() -> None:
    assert await answers(labelled("Size", "S", "L", "M")) == [(3, "M", True)]


async def test_checkbox_adds_each_option_once() -> None:
    assert await answers(labelled("Languages", "fr"), labelled("Languages", "en", "fr", "en")) == [
        (2, "fr", True),
        (2, "en", True),
    ]


async def test_replaced_answer_keeps_its_id_and_gets_the_date_it_was_applied_at() -> None:
    async with running() as client:
        await client.accepted(ADA | labelled("Size", "S"))
        ((before,),) = [person["answers"] for person in await client.contacts()]
        await client.accepted(ADA | labelled("Size", "L"))
        ((after,),) = [person["answers"] for person in await client.contacts()]
        assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
        assert after["form_ref_id"] != before["form_ref_id"]
        assert after["date"] == after["updated_at"] > before["date"]


async def test_same_answer_again_changes_nothing_not_even_its_date() -> None:
    async with running() as client:
        await client.accepted(ADA | labelled("Size", "S") | labelled("Newsletter", "refus"))
        before = [person["answers"] for person in await client.contacts()]
        await client.accepted(ADA | labelled("Size", "S") | labelled("Newsletter", "Refusal"))
        assert [person["answers"] for person in await client.contacts()] == before


async def test_ids_of_answers_are_unique_in_the_space() -> None:
    async with running() as client:
        people = [{"mail": f"p{number}@example.org"} for number in range(3)]
        await client.accepted(*(person | labelled("Languages", "fr", "en") for person in people))
        ids = [answer["id"] for person in await client.contacts() for answer in person["answers"]]
        assert ids == [1, 2, 3, 4, 5, 6]


# Answers as pure values

FORMS = Forms.sample()
resolved = st.sampled_from([
    Resolved(form, option, option.value if form.is_choice else text)
    for form in FORMS
    for option in form.options
    for text in ("a", "b")
])  # fmt: skip
unknowns = st.builds(
    Unknowns, texts=st.sampled_from(["replace", "add"]), checkboxes=st.sampled_from(["add", "replace"])
)


def live(stored: list[dict[str, Any]], form: Form) -> list[dict[str, Any]]:
    return [answer for answer in stored if answer["form_id"] == form.id and not answer["deleted_at"]]


@given(st.lists(st.lists(resolved, max_size=5), max_size=5), unknowns)
def test_a_choice_of_one_never_holds_two_and_ids_are_never_shared(
    upserts: list[list[Resolved]], unknowns: Unknowns
) -> None:
    stored: list[dict[str, Any]] = []
    for number, sent in enumerate(upserts):
        before = orjson.dumps(stored)
        after = answered(stored, sent, FORMS, unknowns, float(number))
        assert orjson.dumps(stored) == before
        assert answered(after, sent[-1:], FORMS, unknowns, 99.0) == after or unknowns.checkboxes == "replace"
        stored = after
        for each in sent[-1:]:
            assert (each.option.id, each.data) in [
                (answer["form_ref_id"], answer["data"]) for answer in live(stored, each.form)
            ]
    for form in FORMS:
        if form.widget in ("radio", "select"):
            assert len(live(stored, form)) <= 1
        if form.widget == "checkbox":
            options = [answer["form_ref_id"] for answer in live(stored, form)]
            assert len(options) == len(set(options))
    ids = [answer["id"] for answer in stored]
    assert len(ids) == len(set(ids))


def named(form: Form, data: str, option: int = 0) -> Resolved:
    return Resolved(form, form.options[option], data)


def test_one_text_is_left_of_several_when_texts_replace() -> None:
    job = SAMPLE["Job"]
    both = [new_answer(FORMS, named(job, text), 1.0) for text in ("Nurse", "Baker")]
    for text in ("Nurse", "Baker", "Cook"):
        (left,) = answered(both, [named(job, text)], FORMS, Unknowns(), 2.0)
        assert (left["id"], left["data"]) == (both[0]["id"], text)


def test_soft_deleted_answer_does_not_count_and_keeps_the_time_of_its_deletion() -> None:
    french = named(SAMPLE["Languages"], "fr")
    gone = withdrawn([new_answer(FORMS, french, 1.0)], "custom_fields", FORMS, 2.0)
    again = answered(gone, [french], FORMS, Unknowns(), 3.0)
    assert [(answer["data"], bool(answer["deleted_at"])) for answer in again] == [("fr", True), ("fr", False)]
    later = withdrawn(again, "custom_fields", FORMS, 4.0)
    assert [answer["deleted_at"] for answer in later] == [stamp(2.0), stamp(4.0)]
    assert recreated(later, [], FORMS, Unknowns(), 5.0) == later


def test_full_replace_recreates_what_was_sent_and_soft_deletes_everything_else() -> None:
    forms = Forms.sample()
    size, languages, job, letter = (SAMPLE[label] for label in ("Size", "Languages", "Job", "Newsletter"))
    answers = [named(size, "M", 1), named(languages, "fr"), named(job, "Nurse"), named(letter, "refus", 1)]
    sent = [named(size, "S"), named(languages, "en", 1), named(job, "Baker"), named(job, "Nurse")]
    stored = [new_answer(forms, answer, 1.0) for answer in answers]
    after = recreated(stored, sent, forms, Unknowns(), 2.0)
    assert [answer["id"] for answer in after[:4]] == [1, 2, 3, 4]
    assert all(answer["deleted_at"] for answer in after[:4])
    assert sorted((answer["id"] > 4, answer["form_id"], answer["data"]) for answer in after[4:]) == [
        (True, 1, "Baker"),
        (True, 1, "Nurse"),
        (True, 2, "en"),
        (True, 2, "fr"),
        (True, 3, "S"),
    ]
    assert all(answer["deleted_at"] is None for answer in after[4:])


# The forms themselves


def test_sample_has_every_type_and_an_ambiguous_label() -> None:
    forms = Forms.sample()
    assert {form.type for form in forms} == set(TYPES)
    assert [form.label for form in forms.of_type("custom_fields")].count("Committee") == 2
    assert [form.id for form in forms] == list(range(1, 13))
    assert forms.by_id(13) is None


def test_form_is_served_with_its_widget_as_type_and_its_options_as_refvalues() -> None:
    assert SAMPLE["Assembly"].as_json() == {
        "id": 12,
        "label": "Assembly",
        "type": "radio",
        "refvalues": [
            {"id": option.id, "form_id": 12, "label": option.label, "value": option.value}
            for option in SAMPLE["Assembly"].options
        ],
    }
    assert [len(form.options) for form in FORMS if not form.is_choice] == [1] * 5


def test_digest_changes_with_any_option_and_returns_on_restart() -> None:
    forms = Forms.sample()
    (option,) = [option for option in SAMPLE["Size"].options if option.value == "M"]
    digests = [forms.digest]
    assert forms.rename_option(3, option.id, label="Medium")
    digests.append(forms.digest)
    assert forms.rename_option(3, option.id, value="m")
    digests.append(forms.digest)
    assert forms.remove_option(3, option.id)
    digests.append(forms.digest)
    assert len(set(digests)) == 4
    forms.next_answer()
    forms.restart()
    assert (forms.digest, forms.next_answer()) == (digests[0], 1)


async def test_reset_undoes_what_staff_did_to_the_forms() -> None:
    option = SAMPLE["Size"].options[0].id
    async with running() as client:
        act = {"act": "remove_option", "form_id": 3, "option_id": option}
        assert (await client.send("POST", "/_sandbox/staff", act)).status == 200
        await client.accepted(ADA | labelled("Size", "S"))
        assert await client.contacts() == []
        await client.send("POST", "/_sandbox/reset")
        await client.accepted(ADA | labelled("Size", "S"))
        assert await answers_of(client) == [(3, "S", True)]


def test_renamed_option_is_found_by_its_new_names_only_and_a_removed_one_by_none() -> None:
    forms = Forms.sample()
    option = SAMPLE["Size"].options[0].id
    assert isinstance(forms.resolve("custom_fields", {"id": 3, "value": "S"}), Resolved)
    forms.rename_option(3, option, label="Small", value="small")
    assert forms.resolve("custom_fields", {"id": 3, "value": "S"}) == "form 3 has no option 'S'"
    for value in ("Small", "small"):
        found = forms.resolve("custom_fields", {"id": 3, "value": value})
        assert isinstance(found, Resolved)
        assert (found.option.id, found.data) == (option, "small")
    forms.remove_option(3, option)
    assert isinstance(forms.resolve("custom_fields", {"id": 3, "value": "small"}), str)


@pytest.mark.parametrize(("form", "option"), [(3, 1), (99, 1008), (1, 1001)])
def test_what_is_no_option_of_a_choice_can_be_neither_renamed_nor_removed(form: int, option: int) -> None:
    forms = Forms.sample()
    assert forms.rename_option(form, option, label="x") is None
    assert forms.remove_option(form, option) is None


@pytest.mark.parametrize(("reference", "expected"), [
    ((2, 1003, None), "en"),
    ((2, None, "English"), "en"),
    ((2, None, None), "form 2 has no option ''"),
    ((2, 1, None), "form 2 has no option 1"),
    ((99, 1003, None), "unknown form 99"),
    ((1, 1001, "Nurse"), "Nurse"),
    ((1, None, "Nurse"), "Nurse"),
    ((5, 1009, "x"), "form 5 takes no numeric such as 'x'"),
])  # fmt: skip
def test_synchronous_endpoints_name_an_option_by_its_id(
    reference: tuple[int, int | None, str | None], expected: str
) -> None:
    found = FORMS.resolve_reference(*reference)
    assert (found.data if isinstance(found, Resolved) else found) == expected


# The file


def written(folder: Path, content: object) -> Path:
    file = folder / "forms.json"
    file.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return file


async def test_forms_of_a_file_are_those_of_the_space(tmp_path: Path) -> None:
    file = written(
        tmp_path, {"forms": [SIZE | {"id": 12}, {"type": "survey", "label": "Q", "widget": "text"}]}
    )
    assert await answers(labelled("Size", "Large") | {"forms": [{"id": 1, "value": "ok"}]}, forms=file) == [
        (12, "Large", True),
        (1, "ok", True),
    ]


def test_ids_left_out_are_given_in_order_and_pass_over_those_given(tmp_path: Path) -> None:
    tables = [SIZE, SIZE | {"id": 1}, SIZE | {"options": [{"id": 1001, "label": "x"}]}, SIZE | {"id": None}]
    forms = list(Forms.read(written(tmp_path, {"forms": tables})))
    assert [form.id for form in forms] == [2, 1, 3, 4]
    assert [[option.id for option in form.options] for form in forms] == [
        [1002, 1003],
        [1004, 1005],
        [1001],
        [1006, 1007],
    ]


def test_space_may_have_no_forms(tmp_path: Path) -> None:
    assert list(Forms.read(written(tmp_path, {"forms": []}))) == []


@pytest.mark.parametrize(("content", "message"), [
    (b"{", "not JSON: "),
    (b"\xff", "not JSON: "),
    ([], 'it must be {"forms": [...]}'),
    ({"forms": {}}, 'it must be {"forms": [...]}'),
    ({"forms": [], "form": 1}, "unknown key form, did you mean forms?"),
    ({"forms": [7]}, "form 1: it must be an object"),
    ({"forms": [SIZE, SIZE | {"labels": "x"}]}, "form 2: unknown key labels, did you mean label?"),
    ({"forms": [SIZE | {"zzz": "x"}]}, "form 1: unknown key zzz, known are type, id, label"),
    ({"forms": [SIZE | {"type": "consents"}]}, "form 1: type is 'consents': it must be one of consent, "),
    ({"forms": [SIZE | {"type": ["consent"]}]}, "form 1: type is ['consent']: it must be one of"),
    ({"forms": [SIZE | {"widget": "radios"}]}, "form 1: widget is 'radios': it must be one of text, "),
    ({"forms": [SIZE | {"label": ""}]}, "form 1: label is '': it must be a text that is not empty"),
    ({"forms": [SIZE | {"id": "7"}]}, "form 1: id is '7': it must be a whole number from 1 on, or left out"),
    ({"forms": [SIZE | {"id": True}]}, "form 1: id is True: it must be a whole number"),
    ({"forms": [SIZE | {"id": 2**63}]}, "form 1: id is 9223372036854775808: it must be a whole number"),
    ({"forms": [SIZE | {"id": 7}, SIZE | {"id": 7}]}, "form 2: id is taken by another"),
    ({"forms": [SIZE | {"options": []}]}, "form 1: options of a radio form must be a list of one or more"),
    ({"forms": [SIZE | {"options": "S"}]}, "form 1: options of a radio form must be"),
    ({"forms": [SIZE | {"widget": "text"}]}, "options of a text form must be left out, or a list of one"),
    ({"forms": [SIZE | {"options": ["S"]}]}, "form 1: option 1: it must be an object"),
    ({"forms": [SIZE | {"options": [{"value": "S"}]}]}, "form 1: option 1: label is None"),
    ({"forms": [SIZE | {"options": [{"label": "S", "value": 1}]}]}, "form 1: option 1: value is 1"),
    ({"forms": [SIZE | {"options": [{"label": "S", "ref": 1}]}]}, "form 1: option 1: unknown key ref"),
    ({"forms": [SIZE | {"options": [{"label": "S"}] * 2}]}, "form 1: two options have one value"),
    ({"forms": [SIZE | {"options": [{"label": x, "id": 5} for x in "SL"]}]}, "form 1: id is taken"),
])  # fmt: skip
def test_unusable_file_is_refused_with_file_number_key_and_remedy(
    tmp_path: Path, content: object, message: str
) -> None:
    file = written(tmp_path, content)
    with pytest.raises(FormsError) as refusal:
        Forms.read(file)
    assert str(refusal.value).startswith(str(file))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormsError, match="cannot be read: No such file"):
        Forms.read(tmp_path / "none.json")


# Whatever is sent

entries = st.fixed_dictionaries(
    {"value": st.text(max_size=3) | st.sampled_from(["fr", "French", "S", "1", "12", "2026-01-01", "refus"])},
    optional={
        "id": st.integers(-1, 14) | st.none(),
        "label": st.sampled_from([*SAMPLE, "x"]) | st.none(),
    },
)


@given(st.sampled_from(sorted(KINDS)), entries)
def test_an_entry_names_an_option_of_its_kind_or_gives_a_cause(kind: str, entry: dict[str, Any]) -> None:
    found = FORMS.resolve(kind, entry)
    if isinstance(found, str):
        assert "\n" not in found
        return
    assert found.form.type == KINDS[kind]
    assert found.option in found.form.options
    assert (found.form.widget in CHOICES) == (found.data == found.option.value and found.data != "")
