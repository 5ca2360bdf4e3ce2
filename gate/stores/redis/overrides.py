"""The override store in Redis (or Valkey): `{prefix}override:{ACCOUNT}`, until the override expires.

`gate.records.override` defines the format of a stored override.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from gate.core.override import Override
from gate.records.override import read_stored_override, stored_override
from gate.stores.redis.account_keys import account_in, override_key
from gate.stores.redis.connections.connect import line_to
from gate.stores.redis.connections.line import Stats
from gate.stores.redis.connections.script_call import Run, Script

DEADLINE_S: Final = 2.0
KEYS_A_CALL: Final = 1_000
REPLACE: Final = Script.named("replace_override")


class RedisOverrideStore:
    """An OverrideStore; see ports for what it promises. It connects on first use; use it in one event loop, until close()."""

    def __init__(
        self, url: str, prefix: str = "ug:", deadline_s: float = DEADLINE_S, *, stats: Stats | None = None
    ) -> None:
        self._prefix = prefix
        self._deadline_s = deadline_s
        self._line = line_to(url, "upload-gate-overrides", stats)
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def put_override(self, account: str, override: Override) -> Override | None:
        """See OverrideStore."""
        value = stored_override(override)
        before = await self._replace(account, value, max(1, -(-override.expires_at_us // 1000)))
        return None if before is None or before == value else read_stored_override(before)[0]

    async def overrides(self, accounts: Sequence[str]) -> list[Override | None]:
        """See OverrideStore."""
        found: list[Override | None] = []
        for start in range(0, len(accounts), KEYS_A_CALL):
            keys = [override_key(self._prefix, account) for account in accounts[start : start + KEYS_A_CALL]]
            async with self._turn:
                values = await self._line.values(keys, self._deadline_s)
            found += [None if value is None else read_stored_override(value)[0] for value in values]
        return found

    async def now_us(self) -> int:
        """The server's clock in µs since 1970, by which overrides end. Raises StoreUnavailable."""
        async with self._turn:
            seconds, us = await self._line.execute(b"TIME", within_s=self._deadline_s, at=f"{self._prefix}override:")
        return int(seconds) * 1_000_000 + int(us)

    async def remove_override(self, account: str) -> Override | None:
        """See OverrideStore."""
        before = await self._replace(account)
        return None if before is None else read_stored_override(before)[0]

    async def _replace(self, account: str, *value: bytes | int) -> bytes | None:
        """Set the stored override, or delete it. Returns the value before; of a call that is repeated because its reply was
        lost, the value that the first one set."""
        run = Run(REPLACE, (override_key(self._prefix, account),), value)
        async with self._turn:
            before: bytes | None
            (before,) = await self._line.run((run,), self._deadline_s, again=True)
        return before

    async def all_overrides(self, most: int) -> dict[str, Override]:
        """See OverrideStore."""
        begin = f"{self._prefix}override:{{"
        accounts: set[str] = set()
        async with self._turn:
            async for keys in self._line.scan(f"{begin}*", KEYS_A_CALL, self._deadline_s):
                accounts.update(account_in(key.decode(errors="replace")[len(begin) : -1]) for key in keys)
                if len(accounts) >= most:
                    break
        named = sorted(accounts)
        found = await self.overrides(named)
        return {account: override for account, override in zip(named, found, strict=True) if override is not None}
