"""The token lease store in Redis (or Valkey): draws from the buckets of `takes`, on one server or on a Cluster.

The keys and values are those of `gate.stores.redis.layout`; on a Cluster a shared entity keeps its buckets as an account does,
see `gate.stores.redis.cluster_parts`.
"""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from gate.core.limits.limit import NEVER_US
from gate.core.limits.token_lease import Exchange, Exchanged
from gate.errors import StoreUnavailable
from gate.stores.redis.cluster_parts import entity_prefix
from gate.stores.redis.connections.cluster import ClusterLine
from gate.stores.redis.connections.connect import line_to
from gate.stores.redis.connections.line import ReplyLost
from gate.stores.redis.connections.script_call import Run, Script
from gate.stores.redis.layout import account_key

MOST_AT_ONCE: Final = 64
"""Exchanges that share a call."""
_EXCHANGE: Final = struct.Struct("<BB4s4sddd")
_MET: Final = struct.Struct("<dd")
_NOW: Final = struct.Struct("<d")


class RedisTokenLeases:
    """A TokenLeaseStore; see ports for what it promises. It connects on first use; use it in one event loop, until close()."""

    def __init__(self, url: str, prefix: str = "ug:", deadline_s: float = 0.25) -> None:
        self._prefix = prefix
        self._deadline_s = deadline_s
        self._script = Script.named("exchange")
        self._line = line_to(url, "upload-gate-lease")
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def exchange(self, wanted: Sequence[Exchange], now_us: int | None = None) -> list[Exchanged | Exception]:
        """See TokenLeaseStore. The deadline bounds each call of the server."""
        met: list[Exchanged | Exception] = []
        async with self._turn:
            for start in range(0, len(wanted), MOST_AT_ONCE):
                met += await self._exchange(wanted[start : start + MOST_AT_ONCE], now_us)
        return met

    async def _exchange(self, wanted: Sequence[Exchange], now_us: int | None) -> list[Exchanged | Exception]:
        groups: dict[str, list[int]] = defaultdict(list)
        for n, one in enumerate(wanted):
            groups[one.entity if self._line.is_clustered else ""].append(n)
        runs = [self._run([wanted[n] for n in some], now_us) for some in groups.values()]
        replies: Sequence[bytes | Exception]
        try:
            if isinstance(self._line, ClusterLine):
                until_s = asyncio.get_running_loop().time() + self._deadline_s
                replies = await self._line.outcomes(runs, until_s, again=False)
            else:
                replies = await self._line.run(runs, self._deadline_s)
        except StoreUnavailable as error:
            error.may_have_run = isinstance(error, ReplyLost)
            replies = [error for _ in runs]
        met: list[Exchanged | Exception] = [StoreUnavailable("")] * len(wanted)
        for some, reply in zip(groups.values(), replies, strict=True):
            found: Sequence[Exchanged | Exception] = (
                [reply] * len(some) if isinstance(reply, Exception) else _read(reply)
            )
            for n, each in zip(some, found, strict=True):
                met[n] = each
        return met

    def _run(self, wanted: Sequence[Exchange], now_us: int | None) -> Run:
        keys: dict[str, int] = {}
        packed = b""
        for each in wanted:
            limit = each.limit
            key = keys.setdefault(self._key(each.entity), len(keys) + 1)
            unit_us = 1 if limit.by_bytes else limit.unit_us
            numbers = min(limit.tolerance_us, NEVER_US), unit_us, each.us
            packed += _EXCHANGE.pack(key, self._line.is_clustered, limit.id, limit.debt_id, *numbers)
        return Run(self._script, list(keys), ("" if now_us is None else now_us, packed))

    def _key(self, entity: str) -> str:
        if self._line.is_clustered:
            return account_key(entity_prefix(self._prefix), entity)
        return f"{self._prefix}2b:{entity}"


def _read(reply: bytes) -> list[Exchanged]:
    (now_us,) = _NOW.unpack_from(reply)
    return [Exchanged(int(us), int(full_at_us), int(now_us)) for us, full_at_us in _MET.iter_unpack(reply[_NOW.size :])]
