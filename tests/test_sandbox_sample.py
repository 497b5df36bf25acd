"""The people a sandbox starts with: spread like those of a real space, and awkward like them."""

import time
from collections import Counter

from syncengine.sandbox.forms import KINDS, Forms, Resolved
from syncengine.sandbox.sample import Person, sample_contacts

NOW = 1_790_000_000.0
YEAR = 365.25 * 86400


def people(number: int, seed: int = 0) -> list[Person]:
    return list(sample_contacts(number, seed, Forms.sample(), NOW))


SOME = people(6000)


def test_same_seed_gives_the_same_people_and_another_seed_others() -> None:
    assert people(50) == people(50) != people(50, seed=1)


def test_people_come_unevenly_over_three_years_most_of_them_in_bursts_of_a_minute() -> None:
    created = [person[1] for person in SOME]
    assert created == sorted(created)
    assert NOW - 3.1 * YEAR < created[0] < NOW - 2.5 * YEAR
    assert NOW - 0.5 * YEAR < created[-1] <= NOW
    busiest = Counter(int(moment // 60) for moment in created).most_common(12)
    assert sum(count for _, count in busiest) > 3000
    assert len({int(moment // 86400) for moment in created}) > 500


def test_times_follow_one_another_and_imports_do_not_count_as_staff() -> None:
    for _, created, updated, lastchange in SOME:
        assert created <= lastchange <= updated <= NOW
    assert {updated == created for _, created, updated, _ in SOME} == {True, False}
    assert sum(lastchange < updated for *_, updated, lastchange in SOME) > 600
    assert sum(created < lastchange == updated for _, created, updated, lastchange in SOME) > 600


def test_some_share_a_mailbox_and_some_are_homonyms_without_birthdate_or_address() -> None:
    mails = Counter(fields["mail"] for fields, *_ in SOME)
    assert mails.most_common(1)[0][1] == 2
    assert 6000 - len(mails) == 6000 // 25
    bare = [number for number, (fields, *_) in enumerate(SOME) if "birthdate" not in fields]
    assert len(bare) == 6000 // 40
    for number in bare:
        assert "address" not in SOME[number][0]
        assert SOME[number][0]["surname"] == SOME[number - 1][0]["surname"]


def test_some_have_answers_tags_and_notes_and_the_answers_are_to_the_forms() -> None:
    forms = Forms.sample()
    kinds = {form_type: kind for kind, form_type in KINDS.items()}
    answered = [answer for fields, *_ in SOME for answer in fields.get("answers", ())]
    assert len({answer["id"] for answer in answered}) == len(answered) > 3000
    assert {answer["form_id"] for answer in answered} == {form.id for form in forms}
    for answer in answered:
        form = forms.by_id(answer["form_id"])
        assert form
        found = forms.resolve(kinds[form.type], {"id": form.id, "value": answer["data"]})
        assert isinstance(found, Resolved)
        assert (found.option.id, found.data) == (answer["form_ref_id"], answer["data"])
    assert {len(fields.get("notes", ())) for fields, *_ in SOME} == {0, 1}
    assert {len(fields.get("tags", ())) for fields, *_ in SOME} == {0, 1}


def test_sixty_thousand_are_there_in_seconds() -> None:
    begun = time.process_time()
    assert sum(1 for _ in sample_contacts(60_000, 0, Forms.sample(), NOW)) == 60_000
    assert time.process_time() - begun < 3
