"""Where a window begins: at whoever still waits, as long as it is worth its tokens."""

import math

from hypothesis import given
from hypothesis import strategies as st

from syncengine.waiting import CHEAP, REST, WORTH_READING, Passed, Waiting


def waiting(*seconds: tuple[int, int, int]) -> Waiting:
    """Return one in which at each second so many were accepted, and so many still wait."""
    found = Waiting()
    for second, accepted, left in seconds:
        for _ in range(accepted):
            found.add(second + 0.5)
        for _ in range(accepted - left):
            found.settle(second + 0.5)
    return found


def test_the_window_begins_at_the_first_who_waits() -> None:
    assert waiting((10, 100, 0), (11, 100, 50), (12, 100, 100)).window(0.0) == (10.0, 300)
    assert waiting((10, 5000, 0), (11, 100, 50), (12, 100, 100)).window(0.0) == (11.0, 200)


def test_a_few_who_wait_among_many_are_left_to_look_ups() -> None:
    assert waiting((10, 5000, 20), (11, 5000, 20)).window(0.0) == (math.inf, 0)


def test_a_single_one_is_worth_a_page() -> None:
    assert waiting((10, 20, 1)).window(0.0) == (10.0, 20)


def test_whoever_waits_from_before_the_window_may_be_shown_in_it() -> None:
    assert waiting((10, 300, 300)).window(100.0) == (100.0, 300)


def test_nobody_waits_for_nothing() -> None:
    assert waiting((10, 50, 0)).window(0.0) == (math.inf, 0)


def test_seconds_of_which_nobody_waits_are_forgotten_from_the_front() -> None:
    found = waiting((10, 5, 0), (11, 5, 1), (12, 5, 0))
    found.forget_before(13.0)
    found.settle(11.5)
    found.forget_before(13.0)
    assert found.window(0.0) == (math.inf, 0)
    assert found.waiting == 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 700), st.floats(0, 1)), max_size=15))
def test_a_window_is_worth_reading_or_cheap(rows: list[tuple[int, int, float]]) -> None:
    once = {second: (accepted, int(accepted * share)) for second, accepted, share in rows}
    found = waiting(*((second, *counts) for second, counts in sorted(once.items())))
    low, shown = found.window(0.0)
    accepted = sum(count for second, (count, _) in once.items() if second >= low)
    left = sum(count for second, (_, count) in once.items() if second >= low)
    if low < math.inf:
        assert shown == accepted
        assert left >= WORTH_READING * accepted or accepted <= CHEAP
    else:
        assert found.waiting == 0 or accepted == 0


# --- what was passed


def test_what_was_accepted_before_somebody_seen_is_passed_a_moment_later() -> None:
    passed = Passed()
    assert passed.up_to(1e9) == passed.latest == -math.inf
    passed.see(100.0, now=10.0)
    assert passed.up_to(10.0 + REST - 0.1) == -math.inf
    assert passed.up_to(10.0 + REST) == 100.0
    passed.see(90.0, now=11.0)
    passed.see(120.0, now=12.0)
    assert (passed.latest, passed.at) == (120.0, 12.0)
    assert passed.up_to(10.0 + REST) == 100.0
    assert passed.up_to(12.0 + REST) == 120.0


def test_what_an_earlier_run_saw_is_passed_at_once_and_takes_nothing_back() -> None:
    passed = Passed()
    passed.see(100.0, now=-math.inf)
    assert passed.up_to(0.0) == 100.0
    passed.see(200.0, now=1.0)
    passed.see(150.0, now=-math.inf)
    assert passed.up_to(2.0) == 100.0
    assert passed.up_to(1.0 + REST) == 200.0


def test_many_sights_in_a_row_pass_those_before_by_and_by() -> None:
    passed = Passed()
    for second in range(100):
        passed.see(1000.0 + second, now=float(second))
        assert passed.up_to(float(second)) == (1000.0 + second - REST if second >= REST else -math.inf)
