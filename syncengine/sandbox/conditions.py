"""One `$condition` of a query: checked, and made into what says whether a contact meets it.

Source: Qomon guide, "Search overview": `{attr, ope, value}`, for `range` `{attr, ope, from, to}`, and for a
form (`attr` is `form` or `custom_fields`) also `form_id` and `form_ref_ids`, both needed. Observed: `ext` on
a form ignores `form_ref_ids`. Our choices: an unknown attribute or operator is refused with 422; values are
texts, for `any_of`, `none_of` and `all_of` a list of texts or one; a condition on a form without a value is
about the refvalues themselves; without `form_ref_ids` all of them are meant; an unknown form is one that
nobody has answered.
"""

from collections.abc import Callable
from dataclasses import dataclass

from syncengine.sandbox.attributes import ATTRIBUTES, OF_FORMS, Attribute, Texts, answers_of, refs_of
from syncengine.sandbox.book import Stored
from syncengine.sandbox.clauses import Clause, with_mail, with_parts, with_text, within_column
from syncengine.sandbox.operators import (
    BOUNDS,
    LISTS,
    NEGATIONS,
    OPERATORS,
    Test,
    intervals,
    scale_of,
    texts,
    within,
    wording,
    words,
)

_MEMBERS = ("attr", "ope", "value", "from", "to")
_MEMBERS_OF_FORMS = (*_MEMBERS, "form_id", "form_ref_ids")
_OF_TEXTS = ("ext", "contains", "start_with")  # operators that are about texts even on a scale of numbers

Complain = Callable[[str, str, object], None]
"""Takes where in the request, what is wrong, and the value found there."""


@dataclass(frozen=True, slots=True)
class Node:
    """A query or a part of it: whether a contact matches, and what SQL can say of that beforehand."""

    matches: Callable[[Stored], bool]
    clause: Clause | None


NOTHING = Node(lambda _: False, None)
"""What a condition that was complained about becomes."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a condition is read against.

    `now` is the present moment; `is_custom_field` tells what the form of a number is; `fold` is how the
    columns of mail and names are folded.
    """

    now: float
    is_custom_field: Callable[[int], bool]
    fold: Callable[[str], str]

    @property
    def is_caseless(self) -> bool:
        """Say whether the columns of mail and names are alike for texts that differ in case."""
        return self.fold("A") == self.fold("a")


class _Refused(Exception):  # noqa: N818 - it is about a request, no error of ours
    """Something at `where` is not as it must be."""

    def __init__(self, where: str, message: str, value: object) -> None:
        super().__init__(message)
        self.where = where
        self.value = value


def condition(content: object, where: str, around: Surroundings, complain: Complain) -> Node:
    """Return what a `$condition` means, NOTHING after a complaint about the first thing that is wrong."""
    if not isinstance(content, dict):
        complain(where, "expected object", content)
        return NOTHING
    try:
        read = _OnForm if content.get("attr") in OF_FORMS else _OnAttribute
        return read(content, around).node()
    except _Refused as refusal:
        complain(f"{where}{refusal.where}", str(refusal), refusal.value)
        return NOTHING


class _Condition:
    """What conditions on attributes and on forms share: an operator, and values to compare with."""

    def __init__(self, content: dict[str, object], around: Surroundings) -> None:
        self._content = content
        self._around = around
        for name, value in content.items():
            if name not in _MEMBERS_OF_FORMS or (
                name not in _MEMBERS and content.get("attr") not in OF_FORMS
            ):
                raise _Refused(f".{name}", "unexpected property", value)
        ope = content.get("ope")
        if ope not in OPERATORS:
            raise _Refused(".ope", f'expected value to be one of "{", ".join(OPERATORS)}"', ope)
        self.given_ope = str(ope)
        self.ope = NEGATIONS.get(self.given_ope, self.given_ope)
        self.is_negated = self.given_ope in NEGATIONS

    def values(self, *, is_needed: bool) -> list[str]:
        """Return the texts to compare with: two for `range`, none for `ext`."""
        if self.ope == "ext":
            return []
        values: list[str] = []
        for name in ("from", "to") if self.ope == "range" else ("value",):
            value = self._content.get(name)
            if value is None and is_needed:
                raise _Refused("", f"expected required property {name} to be present", self._content)
            if isinstance(value, str):
                values.append(value)
            elif value is not None:
                values += self._listed(name, value)
        return values

    def _listed(self, name: str, value: object) -> list[str]:
        if self.given_ope not in LISTS:
            raise _Refused(f".{name}", "expected string", value)
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise _Refused(f".{name}", "expected array of strings, one or more", value)
        return value

    def tested(self, read: Texts, test: Test, clause: Clause | None = None) -> Node:
        """Return the node of a test on the texts that `read` finds."""
        if self.is_negated:
            return Node(lambda stored: not test(read(stored)), clause)
        return Node(lambda stored: test(read(stored)), clause)


class _OnAttribute(_Condition):
    def node(self) -> Node:
        """Return what the condition means."""
        attr = self._content.get("attr")
        attribute = ATTRIBUTES.get(attr) if isinstance(attr, str) else None
        if attribute is None:
            raise _Refused(
                ".attr", f'expected value to be one of "{", ".join((*OF_FORMS, *ATTRIBUTES))}"', attr
            )
        values = self.values(is_needed=True)
        if self.ope in _OF_TEXTS or (attribute.scale is texts and self.ope not in BOUNDS):
            clause = self._clause_of_text(attribute, values) if attribute.is_raw else None
            return self.tested(attribute.read, wording(self.ope, values), clause)
        found = intervals(self.ope, values, attribute.scale, self._around.now)
        if found is None:
            raise _Refused(".value", f"expected {attribute.scale.__name__}", values)
        is_each = self.ope == "all_of"
        clause = None
        if attribute.column and attribute.scale is not texts:
            clause = within_column(attribute.column, found, is_each=is_each, is_negated=self.is_negated)
        test = within(found, attribute.scale, self._around.now, is_each=is_each)
        return self.tested(attribute.read, test, clause)

    def _clause_of_text(self, attribute: Attribute, values: list[str]) -> Clause | None:
        """Return what narrows the contacts down to those worth unpacking; a negation does not."""
        column, is_strict = attribute.column, self.given_ope == "eql:strictdata"
        if is_strict and column == "mail":
            return with_mail(self._around.fold(values[0]))
        if is_strict and not column:
            return with_text(values[0])
        if not column or not (
            is_strict or (self.given_ope in ("eql", "contains", "start_with") and self._around.is_caseless)
        ):
            return None
        parts = [self._around.fold(part) for part in (words(values[0]) if self.ope == "eql" else values)]
        return with_parts(column, parts) if parts else None


class _OnForm(_Condition):
    def node(self) -> Node:
        """Return what the condition means."""
        form_id, refs = self._content.get("form_id"), self._content.get("form_ref_ids")
        if type(form_id) is not int:
            raise _Refused(".form_id", "expected integer", form_id)
        if not isinstance(refs, list) or not all(type(ref) is int for ref in refs):
            raise _Refused(".form_ref_ids", "expected array of integers", refs)
        values = self.values(is_needed=self.ope in BOUNDS)
        if self._content["attr"] == "custom_fields" and not self._around.is_custom_field(form_id):
            return self.tested(lambda _: (), lambda _: False)
        if self.ope == "ext":
            return self.tested(answers_of(form_id, None), bool)
        if not values:
            wanted = "all_of" if self.ope == "all_of" else "any_of"
            return self.tested(refs_of(form_id), wording(wanted, [str(ref) for ref in refs]))
        return self.tested(answers_of(form_id, frozenset(refs) or None), self._test(values))

    def _test(self, values: list[str]) -> Test:
        if self.ope not in BOUNDS:
            return wording(self.ope, values)
        now = self._around.now
        scale = scale_of(values, now)
        found = intervals(self.ope, values, scale, now)
        assert found is not None
        return within(found, scale, now, is_each=False)
