"""Hot facts in Redis (or Valkey), for gates without Kafka: the stream `{prefix}hot`, one entry a change.

An entry has key and value of the Kafka record; an empty value says that the feature is not hot any more. The stream
keeps about the last `MOST_ENTRIES` entries, and expires eight days after the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from gate.core.hot_facts import LONGEST_DAYS
from gate.errors import StoreUnavailable
from gate.stores.redis.connections.connect import line_to
from gate.stores.redis.connections.script_call import Argument

MOST_ENTRIES: Final = 50_000
KEPT_S: Final = LONGEST_DAYS * 86_400
POLL_S: Final = 0.25
TRY_AGAIN_S: Final = 2.0
DEADLINE_S: Final = 2.0
AT_ONCE: Final = 500

Hear = Callable[[bytes | None, bytes | None], object]
"""Gets the key and the value of each entry."""


class RedisHotFacts:
    """Writes and follows the stream. It connects on first use; use it in one event loop, until `close`."""

    def __init__(self, url: str, prefix: str = "ug:") -> None:
        self._key = f"{prefix}hot"
        self._line = line_to(url, "upload-gate-hot")
        self._last: bytes = b"0"

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def send(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Add entries in their order. Raises StoreUnavailable; then any may be kept."""
        for at in range(0, len(records), AT_ONCE):
            commands: list[Sequence[Argument]] = [
                (b"XADD", self._key, b"MAXLEN", b"~", MOST_ENTRIES, b"*", b"key", key, b"value", value or b"")
                for key, value in records[at : at + AT_ONCE]
            ]
            commands.append((b"EXPIRE", self._key, KEPT_S))
            await self._line.pipeline([(self._key, command) for command in commands], DEADLINE_S)

    async def read(self, hear: Hear) -> int:
        """Pass the entries since the last call to `hear`; returns how many. Raises StoreUnavailable."""
        reply = await self._line.execute(
            b"XREAD", b"COUNT", AT_ONCE, b"STREAMS", self._key, self._last, within_s=DEADLINE_S, at=self._key
        )
        entries = reply[0][1] if reply else []
        for name, fields in entries:
            found = dict(zip(fields[::2], fields[1::2], strict=False))
            hear(found.get(b"key"), found.get(b"value"))
            self._last = name
        return len(entries)

    async def follow(self, hear: Hear) -> None:
        """Read for ever. Ends only by being cancelled; while Redis is away, it tries again."""
        while True:
            try:
                while await self.read(hear) == AT_ONCE:
                    pass
            except StoreUnavailable:
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                await asyncio.sleep(POLL_S)
