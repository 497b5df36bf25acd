"""What a sight means: each rule of the read-back by itself, with the whole judgement."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from test_proof_review import space
from test_proof_virtual import _seen

from syncengine.model import Verdict
from syncengine.seen import Difference, Seen
from syncengine.verdict import Claim, Judgement, Unsettled, has_moved, judge, names_of

AT = 1_700_000_000.5
"""When the contact was accepted; the server counts whole seconds."""

SENT = {"firstname": "Anna", "surname": "Dupont", "mail": "anna@canary.example", "phone": "2"}
BEFORE = SENT | {"phone": "1"}
"""What a read showed before the send: all that changed is the phone."""


def sight(
    *, id_: int = 7, updated: float | None = AT + 2, created: float | None = AT - 1000, **other: Any
) -> Seen:
    """Return somebody seen as sent, but for `other` values (None: nothing is there)."""
    fields = {name: value for name, value in (SENT | other).items() if value is not None}
    return replace(_seen(id_, fields, AT), updated=updated, created=created)


def differs(seen: Seen, *differences: Difference, lost: tuple[str, ...] = ()) -> Judgement:
    return Judgement(Verdict.DIFFERS, seen, differences, lost)


def confirmed(seen: Seen) -> Judgement:
    return Judgement(Verdict.CONFIRMED, seen)


PHONE = Difference("phone", "2", "3")
OLD_PHONE = Difference("phone", "2", "1")
DROPPED = Judgement(Verdict.DROPPED)


@dataclass(frozen=True)
class Case:
    """What is seen of a contact, and what that means while it may come yet, and once the wait is over."""

    name: str
    sights: tuple[Seen, ...]
    now: Judgement | None
    at_last: Judgement | None
    applied: dict[str, Any] = field(default_factory=dict)
    claim: Claim = Claim.AWAITING
    content: dict[str, Any] = field(default_factory=lambda: SENT)


OF_BEFORE = sight(updated=AT - 500)
NEW = sight(created=AT + 1)
TWIN = sight(id_=8)
OLD_TWIN = sight(id_=8, updated=AT - 500)
MOVED = sight(phone="3")
MOVED_TWIN = sight(id_=8, phone="3")
UNTOLD = sight(updated=None)
UNTOLD_MOVED = sight(updated=None, phone="3")
CREATED = sight(created=AT + 1, phone="3")
CREATED_IN_THAT_SECOND = sight(created=float(int(AT)), phone="3")
CREATED_UNTOLD = sight(created=None, phone="3")
SAME_SECOND = sight(updated=float(int(AT)), phone="1")
NEXT_SECOND = sight(updated=float(int(AT) + 1), phone="1")
STALE = sight(updated=AT - 500, phone="1")
STAFF = sight(surname="Roux")
BOTH = sight(surname="Roux", phone="1")
WITHOUT_MAIL = sight(mail=None)
BARE = sight(mail=None, surname=None)
WITHOUT_PHONE = sight(phone=None)

SURNAME = Difference("surname", "Dupont", "Roux")
MAIL = Difference("mail", "anna@canary.example", None)
NO_SURNAME = Difference("surname", "Dupont", None)
NO_PHONE = Difference("phone", "2", None)

CASES = [
    # --- nobody
    Case("nobody is seen", (), None, DROPPED),
    Case("nobody is seen of one with an id", (), None, DROPPED, applied=BEFORE),
    Case("nobody is seen of one in doubt", (), None, None, claim=Claim.DOUBT),
    # --- equal once
    Case("seen as sent", (sight(),), confirmed(sight()), confirmed(sight())),
    Case("created as sent", (NEW,), confirmed(NEW), confirmed(NEW)),
    Case("equal before it was sent", (OF_BEFORE,), confirmed(OF_BEFORE), confirmed(OF_BEFORE)),
    Case("equal, when is not told", (UNTOLD,), confirmed(UNTOLD), confirmed(UNTOLD)),
    Case("what changed is seen", (sight(),), confirmed(sight()), confirmed(sight()), applied=BEFORE),
    Case(
        "what changed is seen, and has been for long",
        (OF_BEFORE,),
        confirmed(OF_BEFORE),
        confirmed(OF_BEFORE),
        applied=BEFORE,
    ),
    Case(
        "nothing had changed, and it did not move: it may come yet",
        (OF_BEFORE,),
        None,
        confirmed(OF_BEFORE),
        applied=SENT,
    ),
    Case("nothing had changed, and it moved", (sight(),), confirmed(sight()), confirmed(sight()), SENT),
    # --- equal twice
    Case(
        "equal twice, neither moved",
        (OF_BEFORE, OLD_TWIN),
        Judgement(Verdict.DIFFERS, twins=(7, 8)),
        Judgement(Verdict.DIFFERS, twins=(7, 8)),
    ),
    Case(
        "equal twice, both moved",
        (sight(), TWIN),
        Judgement(Verdict.DIFFERS, twins=(7, 8)),
        Judgement(Verdict.DIFFERS, twins=(7, 8)),
    ),
    Case("equal twice, one moved", (OF_BEFORE, TWIN), confirmed(TWIN), confirmed(TWIN)),
    Case("one equal, another fits", (MOVED, TWIN), confirmed(TWIN), confirmed(TWIN)),
    # --- moved with other values
    Case("moved, other values", (MOVED,), None, differs(MOVED, PHONE)),
    Case("moved, other values, when is not told", (UNTOLD_MOVED,), None, differs(UNTOLD_MOVED, PHONE)),
    Case("other values, not moved", (STALE,), None, DROPPED),
    Case(
        "two moved with other values",
        (MOVED, MOVED_TWIN),
        None,
        Judgement(Verdict.DIFFERS, twins=(7, 8)),
    ),
    Case("one moved with other values, one did not", (STALE, MOVED_TWIN), None, differs(MOVED_TWIN, PHONE)),
    Case("what changed is seen, staff changed more", (STAFF,), differs(STAFF, SURNAME), None, BEFORE),
    Case("what changed is not seen", (BOTH,), None, differs(BOTH, SURNAME, OLD_PHONE), applied=BEFORE),
    # --- created since
    Case("created since, other values", (CREATED,), differs(CREATED, PHONE), None),
    Case(
        "created in the very second, other values",
        (CREATED_IN_THAT_SECOND,),
        differs(CREATED_IN_THAT_SECOND, PHONE),
        None,
    ),
    Case("created, when is not told", (CREATED_UNTOLD,), None, differs(CREATED_UNTOLD, PHONE)),
    # --- as before
    Case("as before, in the second of the acceptance", (SAME_SECOND,), None, DROPPED, applied=BEFORE),
    Case(
        "as before, moved a second later",
        (NEXT_SECOND,),
        None,
        differs(NEXT_SECOND, OLD_PHONE),
        applied=BEFORE,
    ),
    Case(
        "never seen before, in the second of the acceptance",
        (SAME_SECOND,),
        None,
        differs(SAME_SECOND, OLD_PHONE),
    ),
    Case("as before, not moved", (STALE,), None, DROPPED, applied=BEFORE),
    # --- lost values
    Case(
        "what was not sent is gone",
        (WITHOUT_MAIL,),
        differs(WITHOUT_MAIL, MAIL, lost=("mail",)),
        None,
        applied=BEFORE,
    ),
    Case(
        "two values that were not sent are gone",
        (BARE,),
        differs(BARE, NO_SURNAME, MAIL, lost=("surname", "mail")),
        None,
        applied=BEFORE,
    ),
    Case(
        "what was sent is gone: not lost, but not taken",
        (WITHOUT_PHONE,),
        None,
        differs(WITHOUT_PHONE, NO_PHONE),
        applied=BEFORE,
    ),
    Case(
        "what was not sent is other than before: staff's, not lost",
        (STAFF,),
        differs(STAFF, SURNAME),
        None,
        applied=BEFORE,
    ),
    Case("nothing was seen before: nothing is lost", (WITHOUT_MAIL,), None, differs(WITHOUT_MAIL, MAIL)),
    # --- other claims: only what is seen as it should be settles them
    *(
        Case(f"{claim}: seen as sent", (sight(),), confirmed(sight()), confirmed(sight()), claim=claim)
        for claim in (Claim.DOUBT, Claim.DROPPED, Claim.DRIFT)
    ),
    *(
        Case(f"{claim}: other values", (MOVED,), None, None, claim=claim)
        for claim in (Claim.DOUBT, Claim.DROPPED, Claim.DRIFT)
    ),
    Case(
        "drift: equal as before, and not moved",
        (OF_BEFORE,),
        confirmed(OF_BEFORE),
        confirmed(OF_BEFORE),
        applied=SENT,
        claim=Claim.DRIFT,
    ),
    Case(
        "in doubt: equal twice, one moved",
        (OF_BEFORE, TWIN),
        confirmed(TWIN),
        confirmed(TWIN),
        claim=Claim.DOUBT,
    ),
    Case(
        "in doubt: equal twice, both moved",
        (sight(), TWIN),
        Judgement(Verdict.DIFFERS, twins=(7, 8)),
        Judgement(Verdict.DIFFERS, twins=(7, 8)),
        claim=Claim.DOUBT,
    ),
]
"""Where nothing else is said, whoever is decided about at once is decided about alike at last."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_sight_is_judged(case: Case) -> None:
    contact = Unsettled(1, "A", case.claim, 7, case.content, case.applied, AT, is_current=True)
    assert judge(contact, case.sights, space(), is_final=False) == case.now
    expected = case.at_last if case.at_last is not None or case.now is None else case.now
    assert judge(contact, case.sights, space(), is_final=True) == expected


def test_an_address_and_answers_are_lost_part_by_part() -> None:
    content = SENT | {"address": {"city": "Lyon", "postalcode": "69001"}}
    contact = Unsettled(1, "A", Claim.AWAITING, 7, content, content | {"phone": "1"}, AT, is_current=True)
    seen = sight()
    seen = replace(seen, contact=replace(seen.contact, address={"city": "Lyon"}))
    found = judge(contact, [seen], space(), is_final=False)
    assert found == differs(
        seen, Difference("address.postalcode", "69001", None), lost=("address.postalcode",)
    )
    moved_house = content | {"address": {"city": "Paris", "postalcode": "69001"}}
    contact = replace(contact, content=moved_house)  # an address is one value: all of it was sent
    found = judge(contact, [seen], space(), is_final=False)
    assert found == differs(
        seen,
        Difference("address.city", "Paris", "Lyon"),
        Difference("address.postalcode", "69001", None),
    )


def test_notes_that_are_not_seen_are_not_lost() -> None:
    content = SENT | {"notes": [{"content": "called"}]}
    contact = Unsettled(1, "A", Claim.AWAITING, 7, content, content | {"phone": "1"}, AT, is_current=True)
    found = judge(contact, [sight()], space(), is_final=False)
    assert found == differs(sight(), Difference("notes", ["called"], None))


@pytest.mark.parametrize(
    ("updated", "has"),
    [(None, True), (AT, True), (float(int(AT)), True), (int(AT) - 1.0, False), (AT + 9, True)],
)
def test_whoever_was_updated_in_the_second_of_the_acceptance_has_moved(
    updated: float | None, *, has: bool
) -> None:
    assert has_moved(sight(updated=updated), AT) is has


def test_names_are_those_that_differences_have_forms_one_by_one() -> None:
    content = {
        "mail": "a@canary.example",
        "address": {"city": "Lyon"},
        "tags": [{"name": "x"}],
        "custom_fields": [
            {"label": "Job", "value": "x"},
            {"label": "Job", "value": "y"},
            {"id": 7, "value": "z"},
        ],
        "consents": [],
    }
    assert names_of(content) == [
        "mail",
        "address",
        "tags",
        "custom_fields.Job",
        "custom_fields.#7",
        "consents",
    ]
