"""Deletes the keys that a replay left in Redis, by their prefix. It refuses the prefix of the system itself."""

from __future__ import annotations

from gate.stores.redis.connections.connect import line_to

SYSTEM_PREFIX = "ug:"
KEYS_A_CALL = 1000
DEADLINE_S = 5.0


async def drop(url: str, prefix: str) -> int:
    """Delete the keys that start with `prefix` and return their number. Scans the whole key space in small steps.

    Raises StoreUnavailable, and ValueError for a prefix that may be the system's.
    """
    if not prefix or prefix.startswith(SYSTEM_PREFIX) or set(prefix) & set("*?[]\\"):
        raise ValueError(f"{prefix!r} is not the prefix of a replay")
    line = line_to(url, "upload-gate-drop")
    gone = 0
    try:
        async for keys in line.scan(f"{prefix}*", KEYS_A_CALL, DEADLINE_S):
            if keys:
                gone += await line.delete(keys, DEADLINE_S)
        return gone
    finally:
        await line.close()
