"""What nobody has established about Qomon, as options of the sandbox, each with a default.

The defaults follow what was observed in live spaces where anything was, else they choose what does more
harm to a careless client. They are choices of the sandbox, not facts about Qomon.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Question(NamedTuple):
    """An open question: what it is, what may be answered (a number when there are no choices)."""

    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknowns:
    """The answers the sandbox gives to the open questions; `QUESTIONS` explains each."""

    reset_header: str = "ResetTime"
    null: str = "ignore"
    empty: str = "store"
    empty_list: str = "keep"
    tags: str = "add"
    notes: str = "append"
    texts: str = "replace"
    checkboxes: str = "add"
    address: str = "merge"
    unlisted: str = "drop"
    matching: str = "folded"
    winner: str = "oldest"
    dead_id: str = "drop"
    twins: str = "yes"
    noop: str = "moves"
    replaced: str = "add"
    unwritten: str = "clear"
    dates: str = "ignored"
    note_ids: str = "new"
    lastchange: str = "stays"
    birthdates: str = "any"
    phones: str = "kept"
    geocoding: str = "off"
    refusals: str = "types"
    search_order: str = "indexed"
    search_depth: int = 10_000
    search_conditions: int = 1_000

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "Unknowns":
        """Return the answers with `given` ones in place. Raises ValueError with what was meant."""
        answers: dict[str, str | int] = {}
        for name, text in given.items():
            question = QUESTIONS.get(name)
            if question is None:
                raise ValueError(f"unknown {name!r}: it must be one of {', '.join(QUESTIONS)}")
            if question.choices and text not in question.choices:
                raise ValueError(f"{name} is {text!r}: it must be one of {', '.join(question.choices)}")
            if not question.choices and not (text.isascii() and text.isdigit() and int(text[:12]) > 0):
                raise ValueError(f"{name} is {text!r}: it must be a whole number from 1 on")
            answers[name] = text if question.choices else int(text)
        return cls(**answers)  # type: ignore[arg-type]  # each was checked against its question


QUESTIONS: dict[str, Question] = {
    "reset_header": Question("Which name has the reset header: X-Ratelimit-…?", ("ResetTime", "Reset")),
    "null": Question("What does null do to a stored value?", ("ignore", "clear")),
    "empty": Question("What does an empty text do to a stored value?", ("store", "ignore")),
    "empty_list": Question("What does an empty list do to stored tags, notes, answers?", ("keep", "clear")),
    "tags": Question("Are tags of an upsert added or do they replace?", ("add", "replace")),
    "notes": Question(
        "A note on each upsert: appended, replacing, or once per text?", ("append", "replace", "once")
    ),
    "texts": Question(
        "A further answer to a text, number or date form: replaces or is added?", ("replace", "add")
    ),
    "checkboxes": Question("Further options of a checkbox form: added or replacing?", ("add", "replace")),
    "address": Question("Is a partial address merged part by part?", ("merge", "replace")),
    "unlisted": Question(
        "gender and external_id, in no write schema: what happens?", ("drop", "store", "ignore")
    ),
    "matching": Question(
        "How are mail and names compared: case and outer blanks aside, exactly, or accents aside too?",
        ("folded", "exact", "loose"),
    ),
    "winner": Question("Which of several matching contacts is updated?", ("oldest", "newest")),
    "dead_id": Question(
        "An id that does not exist: dropped, or matched by mail and names?", ("drop", "match")
    ),
    "twins": Question("Do two upserts of one new person queued together make two contacts?", ("yes", "no")),
    "noop": Question("Does an upsert that changes nothing move UpdatedAt?", ("moves", "stays")),
    "replaced": Question(
        "Answers to text, number, date and checkbox forms in a replace: added, or all that is left?",
        ("add", "replace"),
    ),
    "unwritten": Question(
        "A replace of a contact with what its schema lacks, such as gender: is that cleared or kept?",
        ("clear", "keep"),
    ),
    "dates": Question(
        "The date sent with an answer by a create or a replace: ignored or kept?", ("ignored", "kept")
    ),
    "note_ids": Question(
        "A note sent back by a replace with its id: made anew, or kept with id and time?", ("new", "kept")
    ),
    "lastchange": Question("Does a replace move lastchange?", ("stays", "moves")),
    "birthdates": Question(
        "Which birthdates are taken: any text, or RFC 3339 (others drop)?", ("any", "rfc3339")
    ),
    "phones": Question("Are phone numbers kept as sent or rewritten?", ("kept", "e164")),
    "geocoding": Question("Does geocoding rewrite city and coordinates of an address?", ("off", "on")),
    "refusals": Question("What does the upsert refuse at once: wrong types, or nothing?", ("types", "none")),
    "search_order": Question(
        "In which order does /search answer without sort_attr: as last indexed, by id, newest first?",
        ("indexed", "id", "newest"),
    ),
    "search_depth": Question("How many rows deep may a page of /search lie?"),
    "search_conditions": Question("How many conditions may a query of /search hold?"),
}
