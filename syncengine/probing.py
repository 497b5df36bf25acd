"""Asks a space made for testing the open questions about Qomon, and takes its throw-away contacts away again.

Questions are asked side by side, each with contacts of its own, so that all wait for the same lag. Nothing is
stored here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from syncengine.errors import DestinationError, RejectedError
from syncengine.model import EXIT_DONE, EXIT_FAILED
from syncengine.paying import Paying
from syncengine.probes import fields, limits, people
from syncengine.probes.asking import Answer, Question
from syncengine.qomon.trial import NotShownError, Trial

QUESTIONS = (*fields.QUESTIONS, *people.QUESTIONS, *limits.QUESTIONS)
"""In the order of their worth; the costs, which are known in the end, come after them."""

CONTACTS = 35
"""How many throw-away contacts are made, about."""

COSTS, COSTS_TEXT = "costs", "What does each route cost, in tokens?"
ROUTES = ("upsert", "create", "replace", "delete", "get", "search", "kpi", "forms")
NOT_ASKED = Answer(None, "the probe ended before")


@dataclass(slots=True)
class Probed:
    """What a probe found. `left_behind`: ids of throw-away contacts that could not be deleted."""

    answers: dict[str, Answer] = field(default_factory=dict)
    left_behind: list[int] = field(default_factory=list)
    message: str = ""
    requests: int = 0
    tokens: float = 0.0
    seconds: float = 0.0
    exit: int = EXIT_DONE

    @property
    def found(self) -> dict[str, str]:
        """The answers that were found, by question."""
        return {name: one.answer for name, one in self.answers.items() if one.answer is not None}

    def as_json(self) -> dict[str, Any]:
        """Return it as the one JSON object."""
        texts = {question.name: question.text for question in QUESTIONS} | {COSTS: COSTS_TEXT}
        return {
            "questions": [
                {"question": name, "text": text, **self.answers.get(name, NOT_ASKED)._asdict()}
                for name, text in texts.items()
            ],
            "left_behind": self.left_behind,
            "message": self.message,
            "requests": self.requests,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "exit": self.exit,
        }


async def probe(trial: Trial, paying: Paying, stop: asyncio.Event) -> Probed:
    """Ask all questions until `stop` is set, then delete all throw-away contacts.

    A DestinationError ends it and is told in the report. Cancelled, it leaves off deleting and tells who is
    left.
    """
    probed = Probed()
    asking = asyncio.ensure_future(_ask_all(trial, probed.answers))
    ordered = asyncio.ensure_future(stop.wait())
    cleaning = None
    try:
        await asyncio.wait({asking, ordered}, return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        await asyncio.wait({asking})
        cleaning = asyncio.ensure_future(trial.clean())
        await asyncio.wait({cleaning})
    except asyncio.CancelledError:
        probed.message = "cut off before the throw-away contacts were deleted"
    finally:
        tasks = {task for task in (asking, ordered, cleaning) if task is not None}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    probed.message = probed.message or _why_it_ended(asking)
    probed.left_behind = sorted(trial.left)
    costs = ", ".join(f"{route} {paying.cost(route):g}" for route in ROUTES if paying.knows(route))
    probed.answers[COSTS] = Answer(costs or None, "by the cost headers of the answers")
    if probed.message or probed.left_behind:
        probed.exit = EXIT_FAILED
    return probed


def _why_it_ended(asking: asyncio.Future[None]) -> str:
    """Return why the questions were not asked to the end, empty when they were. Raises what is a mistake."""
    if asking.cancelled():
        return "interrupted"
    error = asking.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None or isinstance(error, DestinationError | NotShownError):
        return str(error or "")
    raise error


async def _ask_all(trial: Trial, answers: dict[str, Answer]) -> None:
    await trial.begin()
    async with asyncio.TaskGroup() as group:
        for question in QUESTIONS:
            group.create_task(_ask(question, trial, answers), name=question.name)


async def _ask(question: Question, trial: Trial, answers: dict[str, Answer]) -> None:
    try:
        answers[question.name] = await question.ask(trial)
    except RejectedError as error:
        answers[question.name] = Answer(None, f"Qomon refused it: {error}")
    except (NotShownError, ValueError) as error:
        answers[question.name] = Answer(None, str(error))
