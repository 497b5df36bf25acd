"""The sandbox's memory: what is stored comes back, ids are never given twice, times are spelled exactly."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncengine.sandbox.book import Book, Stored, stamp

ADA = {"firstname": "Ada", "surname": "Roux", "mail": "Ada@example.org"}


@pytest.fixture
def book() -> Iterator[Book]:
    book = Book()
    yield book
    book.close()


def test_stored_contact_comes_back_with_its_times(book: Book) -> None:
    number = book.create(ADA, 5.0)
    assert book.stored(number) == Stored(1, 5.0, 5.0, 5.0, ADA)
    assert book.stored(2) is None
    book.update(number, ADA | {"phone": "1"}, 6.0)
    assert book.stored(number) == Stored(1, 5.0, 6.0, 5.0, ADA | {"phone": "1"})
    book.update(number, ADA, 7.0, by_staff=True)
    assert book.stored(number) == Stored(1, 5.0, 7.0, 7.0, ADA)


def test_many_are_stored_in_order_each_with_its_own_times(book: Book) -> None:
    book.create(ADA, 1.0)
    book.create_many(({"surname": str(number)}, number, number + 1.0, number + 0.5) for number in range(3))
    assert book.stored(4) == Stored(4, 2.0, 3.0, 2.5, {"surname": "2"})
    assert book.create(ADA, 9.0) == 5


def test_id_of_a_deleted_contact_is_never_given_again(book: Book) -> None:
    assert book.delete(book.create(ADA, 1.0))
    assert not book.delete(1)
    assert book.create(ADA, 1.0) == 2


def test_newest_contact_is_asked_for_by_time_from_an_index(book: Book) -> None:
    plan = book.db.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM contacts WHERE updated > 5 ORDER BY updated, id LIMIT 9"
    ).fetchall()
    assert [row[3] for row in plan] == ["SEARCH contacts USING COVERING INDEX contacts_updated (updated>?)"]


def test_contacts_are_filtered_by_mail_as_it_is_compared() -> None:
    for matching, count in (("folded", 1), ("exact", 0)):
        book = Book(matching)
        book.create(ADA, 1.0)
        assert len(book.contacts(0, 9, "ADA@example.org")) == count
        assert [contact["id"] for contact in book.contacts(0, 9, "Ada@example.org")] == [1]
        book.close()


def test_contacts_created_later_than_asked_for_are_not_found(book: Book) -> None:
    book.create(ADA, 5.0)
    identity = book.identity(ADA)
    for find in (book.with_mail, book.with_names):
        assert [number for number, _ in find(identity)] == [1]
        assert [number for number, _ in find(identity, 5.0)] == [1]
        assert [number for number, _ in find(identity, 4.9)] == []


@given(st.floats(0, 4e9))
def test_stamp_is_the_time_to_the_microsecond(seconds: float) -> None:
    text = stamp(seconds)
    assert len(text) == len("2026-07-16T00:00:00.000000Z")
    assert abs(datetime.fromisoformat(text).timestamp() - seconds) < 1e-6
    assert datetime.fromisoformat(text).tzinfo == UTC


def test_stamp_that_rounds_up_to_a_second_is_that_second() -> None:
    assert stamp(86400 - 2e-7) == "1970-01-02T00:00:00.000000Z"
