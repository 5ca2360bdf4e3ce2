"""Stores the limits for which the tags in reservations stand, at `{prefix}2limits`."""

from __future__ import annotations

from typing import Final

from gate.errors import StoreUnavailable
from gate.stores.redis.connections.line import Line
from gate.stores.redis.unrolled import Unrolled

LIMITS_TTL_MS: Final = 64 * 86_400_000
"""How long it is kept which limits a class had: longer than any reservation."""


async def store_tags(line: Line, prefix: str, unrolled: Unrolled, within_s: float) -> None:
    """Store what the tags of a script will stand for, before the first of them is in a reservation. Raises StoreUnavailable."""
    if not unrolled.tags:
        return
    key = f"{prefix}2limits"
    pairs = [part for pair in unrolled.tags.items() for part in pair]
    try:
        await line.execute(b"HSET", key, *pairs, within_s=within_s / 2)
        await line.execute(b"PEXPIRE", key, LIMITS_TTL_MS, within_s=within_s / 2)
    except StoreUnavailable as error:
        if not str(error.__cause__).startswith("WRONGTYPE"):
            raise  # else the key holds no hash: gates of this policy need it for nothing
