"""The override store in Redis (or Valkey): `{prefix}override:{ACCOUNT}`, until the override expires.

`gate.records.override` defines the format of a stored override.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gate.core.override import Override
from gate.records.override import stored_override
from gate.stores.redis.line import Line, Stats

DEADLINE_S: Final = 2.0


class RedisOverrideStore:
    """An OverrideStore; see ports for what it promises. It connects on first use; use it in one event loop, until close()."""

    def __init__(
        self, url: str, prefix: str = "ug:", deadline_s: float = DEADLINE_S, *, stats: Stats | None = None
    ) -> None:
        self._prefix = prefix
        self._deadline_s = deadline_s
        self._line = Line(url, "upload-gate-overrides", stats)
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def put_override(self, account: str, override: Override) -> None:
        """See OverrideStore."""
        expires_ms = max(1, -(-override.expires_at_us // 1000))
        command = (b"SET", f"{self._prefix}override:{{{account}}}", stored_override(override), b"PXAT", expires_ms)
        async with self._turn:
            await self._line.execute(*command, within_s=self._deadline_s)
