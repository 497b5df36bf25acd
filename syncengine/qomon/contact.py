"""One contact as a caller of the library sees it, whichever endpoint it came from. Frozen; no I/O.

Names are the upsert's (Qomon API reference, "Upsert a contact"); `reading` knows how each endpoint spells
them, `writing` what may be sent of them. Nothing is checked here. No `repr` shows a person's values, so that
a contact in a log or a traceback tells its id and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Note:
    """A note on a contact. `id` and `created_at` (UTC) are Qomon's, None for a note that is to be written.

    `more`: what else a read showed of it, unparsed and without nulls, such as who wrote it and whether only
    super admins see it. A full replace writes it back.
    """

    content: str = field(repr=False)
    pinned: bool = field(default=False, repr=False)
    id: int | None = None
    created_at: datetime | None = field(default=None, repr=False)
    more: Mapping[str, object] = field(default_factory=dict, repr=False, hash=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person answered to one form.

    To write: `kind` (one of `fields.ADVANCED`), `form` (its id or its label) and `value` (the text, or an
    option by value or label).

    As read: `form` is the id, `value` the answer as stored, `ref_id` the option chosen (`form_ref_id`; text
    forms have a nameless one), `id` the answer's own, `answered_at` (UTC) when Qomon applied it. `kind` and
    `label` are empty until `forms.decode` fills them; it makes `value` the label of the option chosen,
    or the option's value where the label is not its alone.
    `stored` is the answer as stored, whatever was decoded; None for one that was not read. `survey_id`: the
    survey it was given in, where a read told.
    """

    kind: str = ""
    form: int | str = 0
    value: str = field(default="", repr=False)
    label: str = ""
    ref_id: int | None = field(default=None, repr=False)
    stored: str | None = field(default=None, repr=False)
    id: int | None = field(default=None, repr=False)
    answered_at: datetime | None = field(default=None, repr=False)
    survey_id: int | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Contact:
    """A person in a Qomon space, read from it or to be written.

    None is "nothing there" when read and "leave it alone" when written; a text of no characters is only
    written, never read. `id` is 0 until Qomon has given one. Times are aware, in UTC; `birthdate` is the
    upsert's, such as `1987-03-05T00:00:00Z`. `address` maps parts (`fields.ADDRESS_PARTS`) to texts.

    `updated_at` moves with every write; `last_change` does not move with an upsert (observed).

    `more`: what else a read showed, unparsed, under Qomon's names (`membership_code`, `address.score`);
    without nulls. A member that is not what it should be, such as an `age_category` of -1, is there too, and
    its field here is as if nothing were there; of answers only those that could not be read are. An upsert
    writes nothing of it, nor `group_id`, the times, `address_id` and `action_ids`; `documents` says what the
    synchronous endpoints do.
    """

    id: int = 0
    group_id: int | None = field(default=None, repr=False)
    created_at: datetime | None = field(default=None, repr=False)
    updated_at: datetime | None = field(default=None, repr=False)
    last_change: datetime | None = field(default=None, repr=False)
    firstname: str | None = field(default=None, repr=False)
    surname: str | None = field(default=None, repr=False)
    married_name: str | None = field(default=None, repr=False)
    gender: str | None = field(default=None, repr=False)
    mail: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    mobile: str | None = field(default=None, repr=False)
    birthdate: str | None = field(default=None, repr=False)
    birthcity: str | None = field(default=None, repr=False)
    birthcountry: str | None = field(default=None, repr=False)
    birthdept: str | None = field(default=None, repr=False)
    nationality: str | None = field(default=None, repr=False)
    nationbuilderid: int | None = field(default=None, repr=False)
    external_id: str | None = field(default=None, repr=False)
    age_category: int | None = field(default=None, repr=False)
    black_list: bool | None = field(default=None, repr=False)
    address: Mapping[str, str] = field(default_factory=dict, repr=False)
    address_id: int | None = field(default=None, repr=False)
    tags: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[Note, ...] = field(default=(), repr=False)
    answers: tuple[Answer, ...] = field(default=(), repr=False)
    action_ids: tuple[int, ...] = field(default=(), repr=False)
    more: Mapping[str, object] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Keep copies of the mappings, so that nobody changes them from outside."""
        object.__setattr__(self, "address", dict(self.address))
        object.__setattr__(self, "more", dict(self.more))
