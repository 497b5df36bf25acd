"""The staff of a space: people in the web app who edit, merge and delete contacts and change forms meanwhile.

Each kind of act happens at moments drawn from the seed, so many a second on average, or when
`POST /_sandbox/staff` asks for one; what an act leaves open is drawn too. Acts are applied at once, move
`UpdatedAt` and `lastchange`, and are listed in the book. Merging is only done by people in the web app, and
the merged-away contact's id is gone for good (Qomon help centre, "How to merge duplicate contacts").
"""

import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from syncengine.sandbox.book import Stored
from syncengine.sandbox.contact import merge
from syncengine.sandbox.form import KINDS, Form
from syncengine.sandbox.options import ACTS
from syncengine.sandbox.parts import tagged
from syncengine.sandbox.space import Space

_CITIES = ("Nantes", "Rennes", "Grenoble", "Dijon", "Angers")
_TAGS = ("called back", "moved", "to be checked", "wants a leaflet")
_KIND_OF = {of_type: kind for kind, of_type in KINDS.items()}
_TABLE = "CREATE TABLE IF NOT EXISTS staff (seq INTEGER PRIMARY KEY, what BLOB NOT NULL)"


class CannotActError(Exception):
    """An act names what is not there (404), or there is nothing to act upon (409)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Staff:
    """The staff of one space; moments are seconds of `time.monotonic`."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._acts: dict[str, Callable[[random.Random, Mapping[str, Any]], dict[str, Any]]] = {
            "edit": self._edit,
            "merge": self._merge,
            "delete": self._delete,
            "rename_option": self._rename_option,
            "remove_option": self._remove_option,
        }
        self._space.book.db.execute(_TABLE)
        self.restart()

    def restart(self) -> None:
        """Begin anew: nothing done yet, every stream of draws at its start."""
        self._space.book.db.execute("DELETE FROM staff")
        self._draws = {act: random.Random(f"{self._seed} staff {act}") for act in ACTS}  # noqa: S311
        self._moments = {act: random.Random(f"{self._seed} moments {act}") for act in ACTS}  # noqa: S311
        now = time.monotonic()
        self._due = {act: now for act, rate in self._space.options.staff.items() if rate}
        for act in self._due:
            self._put_off(act)

    @property
    def due(self) -> float | None:
        """When the next act is due, None when nobody does anything."""
        return min(self._due.values(), default=None)

    def work(self, until: float, most: int) -> None:
        """Do what is due at `until`, at most so many acts; what cannot be done is left."""
        while self._due and most:
            due, act = min((due, act) for act, due in self._due.items())
            if due > until:
                return
            most -= 1
            self._put_off(act)
            try:
                self.act(act, {})
            except CannotActError:
                continue  # nobody is left to edit: the moment passes

    def act(self, act: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Do one act and return what was done; what `wanted` leaves open is drawn. Raises CannotActError."""
        done = {"act": act, "at": time.time()} | self._acts[act](self._draws[act], wanted)
        db = self._space.book.db
        done["seq"] = db.execute("INSERT INTO staff (what) VALUES (?)", (orjson.dumps(done),)).lastrowid
        self._space.stats.staff[act] += 1
        return done

    def acts(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Return what was done after act number `after`, in order."""
        rows = self._space.book.db.execute(
            "SELECT seq, what FROM staff WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
        )
        return [orjson.loads(what) | {"seq": seq} for seq, what in rows]

    def _put_off(self, act: str) -> None:
        self._due[act] += self._moments[act].expovariate(self._space.options.staff[act])

    # Acts on contacts

    def _edit(self, draw: random.Random, wanted: Mapping[str, Any]) -> dict[str, Any]:
        stored = self._contact(draw, wanted.get("id"))
        changes = wanted.get("set") or self._some_change(draw)
        self._store(stored, changes)
        return {"id": stored.id, "set": changes}

    def _merge(self, draw: random.Random, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Merge two contacts: the older is kept, the younger fills its gaps and is deleted."""
        first, *second = wanted.get("ids", (None,))
        one = self._contact(draw, first)
        other = self._contact(draw, *second) if second else self._double(one)
        if one.id == other.id:
            raise CannotActError(409, "a contact cannot be merged with itself")
        older, younger = sorted((one, other), key=lambda stored: (stored.created, stored.id))
        book = self._space.book
        book.update(older.id, joined(older.fields, younger.fields), time.time(), by_staff=True)
        book.delete(younger.id)
        return {"id": older.id, "gone": younger.id}

    def _delete(self, draw: random.Random, wanted: Mapping[str, Any]) -> dict[str, Any]:
        stored = self._contact(draw, wanted.get("id"))
        self._space.book.delete(stored.id)
        return {"id": stored.id}

    def _contact(self, draw: random.Random, number: int | None) -> Stored:
        """Return the contact of this number, else any."""
        book = self._space.book
        if number is not None:
            stored = book.stored(number)
            if stored is None:
                raise CannotActError(404, f"no contact has id {number}")
            return stored
        (last,) = book.db.execute("SELECT max(id) FROM contacts").fetchone()
        if last is None:
            raise CannotActError(409, "there is no contact")
        found = book.db.execute(
            "SELECT id FROM contacts WHERE id >= ? ORDER BY id LIMIT 1", (draw.randint(1, last),)
        ).fetchone()
        return self._contact(draw, found[0])

    def _double(self, stored: Stored) -> Stored:
        """Return a contact of the same names or mail, else the next one: staff merges what looks alike."""
        book = self._space.book
        identity = book.identity(stored.fields)
        alike = [number for number, _ in book.with_names(identity)] if identity.names else []
        alike += [number for number, _ in book.with_mail(identity)] if identity.mail else []
        alike += [
            number
            for order in ("id > ? ORDER BY id", "id < ? ORDER BY id DESC")
            for (number,) in book.db.execute(f"SELECT id FROM contacts WHERE {order} LIMIT 1", (stored.id,))  # noqa: S608
        ]
        other = next((number for number in alike if number != stored.id), None)
        found = book.stored(other) if other else None
        if found is None:
            raise CannotActError(409, "there is no second contact to merge with")
        return found

    def _store(self, stored: Stored, changes: Mapping[str, Any]) -> None:
        space, now = self._space, time.time()
        fields = merge(stored.fields, changes, space.forms, space.options.unknowns, now)
        space.book.update(stored.id, fields, now, by_staff=True)

    def _some_change(self, draw: random.Random) -> dict[str, Any]:
        forms = [form for form in self._space.forms if form.options]
        what = draw.choice(("phone", "city", "tag", "answer" if forms else "phone"))
        if what == "phone":
            return {"phone": f"+332{draw.randrange(10**8):08}"}
        if what == "city":
            return {"address": {"city": draw.choice(_CITIES)}}
        if what == "tag":
            return {"tags": [{"name": draw.choice(_TAGS)}]}
        form = draw.choice(forms)
        return {_KIND_OF[form.type]: [{"id": form.id, "value": _some_value(form, draw)}]}

    # Acts on forms

    def _rename_option(self, draw: random.Random, wanted: Mapping[str, Any]) -> dict[str, Any]:
        form_id, option_id, was = self._option(draw, wanted, fewest=1)
        names = {name: wanted[name] for name in ("label", "value") if name in wanted}
        if not names:
            number = self._space.stats.staff["rename_option"] + 1
            both = {"label": f"{_stem(was['label'])} ({number})", "value": f"{_stem(was['value'])}-{number}"}
            names = {name: both[name] for name in draw.choice((["label"], ["value"], ["label", "value"]))}
        self._space.forms.rename_option(form_id, option_id, **names)
        return {"form_id": form_id, "option_id": option_id, "set": names, "was": was}

    def _remove_option(self, draw: random.Random, wanted: Mapping[str, Any]) -> dict[str, Any]:
        form_id, option_id, was = self._option(draw, wanted, fewest=2)  # the last of a form stays
        self._space.forms.remove_option(form_id, option_id)
        return {"form_id": form_id, "option_id": option_id, "was": was}

    def _option(
        self, draw: random.Random, wanted: Mapping[str, Any], *, fewest: int
    ) -> tuple[int, int, dict[str, str]]:
        """Return form, option and its names: those wanted, else of any form with so many options."""
        forms = [form for form in self._space.forms if form.is_choice]
        if "form_id" in wanted:
            forms = [form for form in forms if form.id == wanted["form_id"]]
        elif "option_id" not in wanted:
            forms = [form for form in forms if len(form.options) >= fewest]
        options = [
            (form.id, option)
            for form in forms
            for option in form.options
            if wanted.get("option_id", option.id) == option.id
        ]
        if not options:
            is_named = "form_id" in wanted or "option_id" in wanted
            raise CannotActError(404 if is_named else 409, "there is no such option of a form with a choice")
        number, option = draw.choice(options)
        return number, option.id, {"label": option.label, "value": option.value}


def joined(older: Mapping[str, Any], younger: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of two contacts merged by staff; neither is changed.

    Our choices, Qomon says nothing: what the older has stays, an address as a whole; tags and notes of both
    are kept; of the answers to one form those of the older, if it has any.
    """
    fields = dict(younger) | {name: value for name, value in older.items() if value not in ("", [], {}, None)}
    notes = older.get("notes", [])
    last = max((note["id"] for note in notes), default=0)  # notes are numbered within their contact
    answers = older.get("answers", [])
    answered = {answer["form_id"] for answer in answers if not answer["deleted_at"]}
    both = {
        "tags": tagged(older.get("tags", ()), younger.get("tags", ()), "add"),
        "notes": notes + [note | {"id": last + note["id"]} for note in younger.get("notes", ())],
        "answers": answers + [each for each in younger.get("answers", ()) if each["form_id"] not in answered],
    }
    return fields | {name: value for name, value in both.items() if value}


def _some_value(form: Form, draw: random.Random) -> str:
    if form.widget == "numeric":
        return str(draw.randrange(100))
    if form.widget == "date":
        return f"20{draw.randrange(10, 26)}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}"
    if form.widget == "text":
        return f"as told {draw.randrange(1000)}"
    option = draw.choice(form.options)
    return option.value or option.label


def _stem(text: str) -> str:
    """Return a name without the number an earlier renaming gave it."""
    return re.sub(r"( \(\d+\)|-\d+)$", "", text)
