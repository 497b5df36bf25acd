"""How a run reaches its destination: who opens it and its space, and whether they are the state file's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from random import Random

from pydantic import SecretStr

from syncengine.clock import Clock
from syncengine.config import Settings
from syncengine.destination import Destination
from syncengine.errors import ConfigError
from syncengine.paying import Paying
from syncengine.readonly import OpenSpace
from syncengine.space import ReadForms, check_space, open_destination, open_space
from syncengine.store import counting
from syncengine.store.store import Bound, Store
from syncengine.store.thread import StoreThread


class Access:
    """A run's access to its destination, made by `bind`. `space`: what opens it for reading, if it can be."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        at: StoreThread,
        *,
        key: SecretStr | None,
        bound: Bound,
        instead: AbstractAsyncContextManager[Destination] | None,
        clock: Clock,
        random: Random,
        same_space: bool,
    ) -> None:
        self._settings = settings
        self._store = store
        self._at = at
        self._key = key
        self._bound = bound
        self._instead = instead
        self._clock = clock
        self._random = random
        self._same_space = same_space
        self._forms = ReadForms()
        self.space: OpenSpace | None = (
            getattr(instead, "open_space", None)
            if key is None
            else partial(open_space, settings, key, clock=clock, random=random, forms=self._forms)
        )

    @classmethod
    async def bind(
        cls,
        settings: Settings,
        store: Store,
        at: StoreThread,
        *,
        instead: AbstractAsyncContextManager[Destination] | None,
        environ: Mapping[str, str] | None,
        clock: Clock,
        random: Random,
        same_space: bool,
    ) -> Access:
        """Bind the file to the configured space. `instead`: what replaces Qomon, and needs no key.

        Raises ConfigError without a key, for another base URL, or for a key that nothing shows to be right.
        """
        key = settings.api_key(environ) if instead is None else None
        bound = Bound(None, needs_proof=False)
        if key is not None:
            url = settings.destination.base_url
            bound = await at(store.bind, url, key.get_secret_value(), same_space=same_space)
        return cls(
            settings,
            store,
            at,
            key=key,
            bound=bound,
            instead=instead,
            clock=clock,
            random=random,
            same_space=same_space,
        )

    @property
    def needs_proof(self) -> bool:
        """Whether the key is new, so that a read must show the same group before anything is sent."""
        return self._bound.needs_proof

    def destination(self) -> AbstractAsyncContextManager[Destination]:
        """Return what is to be opened for sending."""
        if self._instead is not None:
            return self._instead
        assert self._key is not None
        return open_destination(self._settings, self._key, forms=self._forms)

    def readable(self) -> OpenSpace:
        """Return what opens the space. Raises ConfigError when it cannot be read."""
        if self.space is None:
            raise ConfigError("this destination cannot be read, so nothing can be verified or adopted")
        return self.space

    async def check(self) -> Callable[[Paying], Awaitable[None]] | None:
        """Return what shows that this is the file's space, None when there is nothing to show.

        Needed for another key. Otherwise done once, as soon as there are contacts that a read could find.
        """
        key, bound = self._key, self._bound
        if key is None or (bound.group_id is not None and not bound.needs_proof):
            return None
        accepted = await self._at(counting.count_accepted, self._store)
        if not bound.needs_proof and not accepted:
            return None

        async def note(group_id: int | None) -> None:
            secret = key.get_secret_value()
            await self._at(self._store.bind_group, secret, group_id, same_space=self._same_space)

        return partial(
            check_space,
            self._settings,
            key,
            note,
            clock=self._clock,
            random=self._random,
            is_needed=bound.needs_proof,
        )
