"""Questions about the endpoints: what is refused, how much may be asked, what the headers are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from syncengine.errors import RejectedError
from syncengine.probes.asking import Answer, Question
from syncengine.qomon.query import Query, any_of, where
from syncengine.qomon.trial import NotShownError, Trial

DEPTHS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
CONDITIONS = (10, 50, 100, 200, 500, 1_000, 2_000)


async def _refusals(trial: Trial) -> Answer:
    made = await trial.create(trial.person())
    try:
        await trial.upsert({"id": made.id, "phone": 7})
    except RejectedError as error:
        return Answer("refused", f"a phone that is a number was refused at once, with HTTP {error.status}")
    return Answer("accepted", "a phone that is a number was accepted with 202")


async def _most(numbers: Sequence[int], is_taken: Callable[[int], Awaitable[bool]]) -> Answer:
    """Return the greatest of the numbers that is taken, by halves."""
    low, high = 0, len(numbers)
    while low < high:
        middle = (low + high) // 2
        if await is_taken(numbers[middle]):
            low = middle + 1
        else:
            high = middle
    if not low:
        raise NotShownError(f"{numbers[0]:,} were refused already")
    beyond = f"{numbers[low]:,} were refused" if low < len(numbers) else "more were not tried"
    return Answer(str(numbers[low - 1]), f"at least {numbers[low - 1]:,}; {beyond}")


async def _search_depth(trial: Trial) -> Answer:
    async def is_taken(rows: int) -> bool:
        try:
            await trial.client.page(page=rows - 1, per_page=1)
        except RejectedError:
            return False
        return True

    return await _most(DEPTHS, is_taken)


async def _search_conditions(trial: Trial) -> Answer:
    async def is_taken(count: int) -> bool:
        mails = (f"{number}.{trial.token}@syncengine.example" for number in range(count))
        try:
            await trial.client.count(Query.all(any_of(*(where("mail").eql_strict(mail) for mail in mails))))
        except RejectedError:
            return False
        return True

    return await _most(CONDITIONS, is_taken)


async def _search_ids(trial: Trial) -> Answer:
    async def look() -> bool | None:
        return any(one.id == trial.control for one in await trial.everybody()) or None

    if not await trial.wait(look, by_search=True):
        raise NotShownError("the search did not show a contact that is there")
    taken = []
    for name, value in (("number", trial.control), ("text", str(trial.control))):
        try:
            found = await trial.client.page(Query.all(where("id").any_of(value)))
        except RejectedError:
            continue
        if trial.control in {one.id for one in found}:
            taken.append(name)
    return Answer(", ".join(taken) or "none", "a search for an id so written found its contact")


async def _reset_header(trial: Trial) -> Answer:
    reply = await trial.read("/v1/forms/type/consent", route="forms")
    names = [name for name in reply.names if name.lower().startswith("x-ratelimit-reset")]
    if not names:
        raise NotShownError("no answer had one")
    return Answer(names[0], "as an answer's header spelled it")


QUESTIONS = (
    Question("refusals", "A wrong type: refused at once, or accepted?", _refusals),
    Question("reset_header", "Which name has the reset header?", _reset_header),
    Question("search_depth", "How many rows deep may a page of the search lie?", _search_depth),
    Question("search_conditions", "How many conditions may a query hold?", _search_conditions),
    Question("search_ids", "Does the search take ids as text or as a number?", _search_ids),
)
