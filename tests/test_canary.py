"""The canary: twenty of a new kind, settled before the rest goes."""

from syncengine.canary import FAILURES, PARTIAL, SIZE, WHOLE, Canary


def sent(canary: Canary, count: int, kind: str = WHOLE) -> None:
    for n in range(count):
        assert canary.may_go(kind)
        canary.go(n, kind)


def test_after_twenty_of_a_kind_nobody_of_it_goes_until_all_are_settled() -> None:
    canary = Canary(())
    sent(canary, SIZE)
    assert not canary.may_go(WHOLE)
    assert canary.may_go(PARTIAL)
    assert not canary.is_shut
    for n in range(SIZE - 1):
        assert canary.settle(n, is_good=True) is None
        assert not canary.may_go(WHOLE)
    assert canary.settle(SIZE - 1, is_good=True) == WHOLE
    assert canary.may_go(WHOLE)


def test_a_kind_that_passed_before_needs_none() -> None:
    canary = Canary({WHOLE, PARTIAL})
    sent(canary, 10 * SIZE)
    assert not canary.is_waiting


def test_whoever_comes_back_makes_room_for_another() -> None:
    canary = Canary(())
    sent(canary, SIZE)
    canary.come_back(3)
    assert canary.may_go(WHOLE)
    assert not canary.has(3)


def test_five_failures_stop_and_the_kind_does_not_pass() -> None:
    canary = Canary(())
    sent(canary, SIZE)
    for n in range(SIZE):
        assert canary.settle(n, is_good=n >= FAILURES) is None
    assert canary.has_failed
    assert not canary.may_go(WHOLE)


def test_four_failures_do_not_stop() -> None:
    canary = Canary(())
    sent(canary, SIZE)
    assert [canary.settle(n, is_good=n >= FAILURES - 1) for n in range(SIZE)][-1] == WHOLE
    assert not canary.has_failed


def test_giving_up_counts_those_who_keep_others_waiting_as_failed() -> None:
    canary = Canary(())
    sent(canary, SIZE)
    canary.give_up()
    assert canary.has_failed
    few = Canary(())
    sent(few, SIZE - 1)
    few.give_up()  # nobody waits for them
    assert not few.has_failed
    assert few.is_waiting
