"""The canary: twenty of a new kind, settled before the rest goes."""

from syncengine.canary import FAILURES, PARTIAL, PROBES, SIZE, WHOLE, Canary


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


# --- probes


def all_but_the_last_seen() -> Canary:
    """Return one of which everybody was accepted, a second each, and all but the last are settled well."""
    canary = Canary({PARTIAL})
    sent(canary, SIZE)
    for n in range(SIZE):
        canary.accept(n, float(n))
    for n in range(SIZE - 1):
        canary.settle(n, is_good=True)
    return canary


def test_one_more_goes_after_the_last_has_waited_long_enough() -> None:
    canary = all_but_the_last_seen()
    canary.probe(before=SIZE - 1, seen=SIZE - 2)
    assert not canary.may_go(WHOLE)
    canary.probe(before=SIZE, seen=SIZE - 2)
    assert canary.may_go(WHOLE)
    canary.go(SIZE, WHOLE)
    assert not canary.may_go(WHOLE)
    assert canary.is_probing(SIZE)


def test_a_probe_that_is_seen_does_not_pass_the_kind_before_the_last_is_settled() -> None:
    canary = all_but_the_last_seen()
    canary.probe(before=SIZE, seen=SIZE - 2)
    canary.go(SIZE, WHOLE)
    assert canary.settle(SIZE, is_good=True) is None
    assert not canary.may_go(WHOLE)
    assert canary.settle(SIZE - 1, is_good=False) == WHOLE
    assert canary.failed == 1


def test_nobody_is_sent_after_one_who_was_passed_or_is_out() -> None:
    canary = all_but_the_last_seen()
    canary.probe(before=1000, seen=SIZE - 1)  # somebody accepted in that second was seen
    assert not canary.may_go(WHOLE)
    canary.probe(before=1000, seen=SIZE - 2)
    canary.go(SIZE, WHOLE)
    canary.probe(before=1000, seen=SIZE - 2)  # it has no answer yet
    assert not canary.may_go(WHOLE)


def test_where_nobody_arrived_or_somebody_may_go_there_is_no_probe() -> None:
    canary = Canary({PARTIAL})
    sent(canary, SIZE)
    for n in range(SIZE):
        canary.accept(n, float(n))
    canary.probe(before=1000, seen=-1)
    assert not canary.may_go(WHOLE)
    few = Canary({PARTIAL})
    sent(few, SIZE - 1)
    for n in range(SIZE - 1):
        few.accept(n, float(n))
    few.settle(0, is_good=True)
    few.probe(before=1000, seen=0)
    few.go(SIZE, WHOLE)
    assert not few.may_go(WHOLE)


def test_there_are_three_probes_at_most_and_whoever_fails_counts() -> None:
    canary = all_but_the_last_seen()
    for number in range(PROBES):
        canary.probe(before=1000, seen=SIZE - 2)
        assert canary.may_go(WHOLE)
        canary.go(SIZE + number, WHOLE)
        canary.accept(SIZE + number, float(SIZE + number))
    canary.probe(before=1000, seen=SIZE - 2)
    assert not canary.may_go(WHOLE)
    canary.give_up()
    assert canary.failed == 1 + PROBES
    assert canary.may_go(WHOLE)  # four of twenty-three
