"""Notices that a topic was created anew while it is read.

A consumer continues at its offset if the new topic has that offset too, and misses the records before it. The client library
reads metadata without topic ids, and leader epochs start again in a new topic, so this module asks a broker for the ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from gate.errors import StoreUnavailable
from gate.stores.kafka.topics import shapes

LOOK_EVERY_S: Final = 10.0


class RecreationWatch:
    """Watches the ids of some topics. Use it as an async context manager, entered before the first record is read.

    It asks every LOOK_EVERY_S seconds over a connection of its own, so a reader learns of a new topic that late. If brokers do
    not answer, or are too old for topic ids, it notices nothing.
    """

    def __init__(self, bootstrap: str, names: Iterable[str]) -> None:
        self._bootstrap = bootstrap
        self._names = tuple(names)
        self._ids: dict[str, str] = {}
        self._is_due = False
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._look()
        self._looking = asyncio.create_task(self._look_for_ever(), name="topic ids")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    def take(self) -> bool:
        """Whether a topic was created anew since the last call. Its reader then starts again at the beginning."""
        is_due, self._is_due = self._is_due, False
        return is_due

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        with suppress(StoreUnavailable):  # the reader itself says that Kafka is away
            _, now = await shapes(self._bootstrap, self._names)
            self._compare({name: shape.topic_id for name, shape in now.items()})

    def _compare(self, now: dict[str, str]) -> None:
        for name, id_ in now.items():
            if id_ != self._ids.setdefault(name, id_):
                self._ids[name], self._is_due = id_, True
