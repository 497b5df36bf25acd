"""Findings about whole fields: nearly everybody of at least fifty, and shapes instead of values."""

from syncengine.findings import SEEN_FROM, Finding, Findings, shape
from syncengine.seen import Difference


def of(count: int, differing: int, field: str = "phone", name: str = "phone") -> Findings:
    findings = Findings()
    for number in range(count):
        differences = [Difference(field, "06 12 34", "+33 612 34")] if number < differing else []
        findings.add(["mail", name], differences)
    return findings


def test_a_field_that_differs_in_nine_of_ten_of_fifty_is_found_once_as_a_shape() -> None:
    assert of(SEEN_FROM, 45).found() == [Finding("phone", 45, 50, "99 99 99", "+99 999 99")]


def test_fewer_than_fifty_or_than_nine_of_ten_are_people_not_the_field() -> None:
    assert of(SEEN_FROM - 1, SEEN_FROM - 1).found() == []
    assert of(SEEN_FROM, 44).found() == []


def test_a_part_of_an_address_counts_among_those_who_have_one() -> None:
    (found,) = of(60, 60, field="address.city", name="address").found()
    assert (found.field, found.differs, found.seen) == ("address.city", 60, 60)


def test_a_shape_shows_no_letter_and_no_digit_and_ends_somewhere() -> None:
    assert shape("Zoé-7 ŁÓDŹ") == "aaa-9 aaaa"
    assert shape(None) == shape("") == shape([]) == "nothing"
    assert shape(["ab", "1"]) == "aa, 9"
    assert len(shape("x" * 1000)) == 40
