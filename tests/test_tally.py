"""Counting: every contact once, by its last result."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.identity import IdentityClass
from syncengine.model import Change, Receipt, Result
from syncengine.tally import Tally


def change(n: int = 1, content: bytes = b"{}", **fields: Any) -> Change:
    values: dict[str, Any] = {
        "n": n,
        "key": str(n),
        "content": content,
        "content_hash": content,
        "identity": IdentityClass.MAIL,
        "mail": f"{n}@example.org",
        "name": "",
        "remote_id": None,
        "is_repeat": False,
    }
    return Change(**values | fields)


def receipt(n: int, result: Result = Result.ACCEPTED, **fields: Any) -> Receipt:
    return Receipt(change(n), result, **fields)


@settings(derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(Result), st.integers(0, 3), st.integers(0, 2)),
        max_size=80,
    )
)
def test_every_contact_counts_once_by_its_last_result(story: list[tuple[int, Result, int, int]]) -> None:
    tally = Tally()
    last: dict[int, Result] = {}
    sent, repeated = set[int](), set[int]()
    for n, result, requests, repeats in story:
        tally.add(receipt(n, result, requests=requests, repeats=repeats))
        last[n] = result
        if requests:
            sent.add(n)
        if repeats:
            repeated.add(n)
    for result in Result:
        assert tally[result] == sum(r is result for r in last.values())
    assert (tally.sent, tally.repeated) == (len(sent), len(repeated))
    assert all(tally.was_accepted(n) == (last.get(n) is Result.ACCEPTED) for n in range(40))
    answered = tally[Result.ACCEPTED] + tally[Result.REJECTED]
    assert tally.answered == answered
    assert tally.failed_share == (tally[Result.REJECTED] / answered if answered else 0.0)


def test_a_million_contacts_take_about_a_megabyte() -> None:
    tally = Tally()
    tally.add(receipt(1_000_000))
    assert len(tally._marks) < 1_200_000
