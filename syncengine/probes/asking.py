"""What a question is, and what an answer to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from syncengine.qomon.trial import Trial


class Answer(NamedTuple):
    """An answer in a word, None when it could not be found out; `how`: what showed it, or why not."""

    answer: str | None
    how: str


class Question(NamedTuple):
    """An open question; `ask` answers it with contacts of its own."""

    name: str
    text: str
    ask: Callable[[Trial], Awaitable[Answer]]


DROPPED = Answer("drops", "the upsert was accepted, and the contact never showed anything of it")
