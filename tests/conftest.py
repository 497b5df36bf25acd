"""What all tests share: fixed examples, and an ear for leaks."""

import gc
import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings
from test_engine_world import KEY, SURNAME

settings.register_profile("fixed", derandomize=True, deadline=None)  # the same examples on every machine
settings.load_profile("fixed")


@pytest.fixture
def no_leaks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Listen to every logger at DEBUG; afterwards neither the key nor a person may have been named."""
    caplog.set_level(logging.DEBUG)
    for name in ("aiohttp", "aiohttp.client", "asyncio", "syncengine"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield
    gc.collect()  # an exception nobody fetched is logged when it goes
    for canary in (KEY, SURNAME, "canary.example"):
        assert canary not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
