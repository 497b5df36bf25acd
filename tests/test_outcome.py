"""The outcome table, over everything it may be asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncengine.identity import IdentityClass
from syncengine.outcome import ATTEMPTS_PER_RUN, NOT_FOUND_AGAIN, Outcome, Step, outcome_of, step_after

WRITTEN = {
    202: Outcome.ACCEPTED,
    **dict.fromkeys((400, 409, 413, 422), Outcome.REJECTED),
    **dict.fromkeys((401, 403), Outcome.UNAUTHORIZED),
    **dict.fromkeys((404, 405, 410, 501, 200, 201, 204, 301, 302, 303, 307, 308), Outcome.BREACH),
    **dict.fromkeys((408, 425, 500, 502, 503, 504), Outcome.UNKNOWN),
    429: Outcome.THROTTLED,
}


@pytest.mark.parametrize(("status", "outcome"), WRITTEN.items())
def test_the_table_of_the_design(status: int, outcome: Outcome) -> None:
    assert outcome_of(status, is_plain=True) is outcome


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_an_outcome_and_only_a_plain_202_accepts(status: int, *, is_plain: bool) -> None:
    outcome = outcome_of(status, is_plain=is_plain)
    assert (outcome is Outcome.ACCEPTED) == (status == 202 and is_plain)
    if status // 100 == 5 and status != 501:
        assert outcome is Outcome.UNKNOWN
    if status // 100 in {1, 3}:
        assert outcome is Outcome.BREACH


@settings(derandomize=True, deadline=None)
@given(st.sampled_from(Outcome), st.sampled_from(IdentityClass), st.integers(1, 50))
def test_only_a_confirmed_id_is_repeated_at_once(
    outcome: Outcome, identity: IdentityClass, attempts: int
) -> None:
    step = step_after(outcome, identity, attempts=attempts)
    if step is Step.AGAIN:
        assert identity is IdentityClass.CONFIRMED
        assert attempts < ATTEMPTS_PER_RUN
    if identity in NOT_FOUND_AGAIN and outcome is Outcome.UNKNOWN:
        assert step is Step.HOLD
    assert (step is Step.DONE) == (outcome is Outcome.ACCEPTED)
    assert (step is Step.REJECT) == (outcome is Outcome.REJECTED)
    assert (step is Step.STOP) == (outcome in {Outcome.UNAUTHORIZED, Outcome.BREACH})
    assert (step is Step.AGAIN_FREE) == (outcome in {Outcome.THROTTLED, Outcome.NOT_SENT})
