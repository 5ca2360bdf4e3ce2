"""Deletes the keys that a replay left in Redis, by their prefix. It refuses the prefix of the system itself."""

from __future__ import annotations

from gate.errors import StoreUnavailable
from gate.stores.redis.line import Line

SYSTEM_PREFIX = "ug:"
KEYS_A_CALL = 1000
DEADLINE_S = 5.0


async def drop(url: str, prefix: str) -> int:
    """Delete the keys that start with `prefix` and return their number. Scans the whole key space in small steps.

    Raises StoreUnavailable, and ValueError for a prefix that may be the system's.
    """
    if not prefix or prefix.startswith(SYSTEM_PREFIX) or set(prefix) & set("*?[]\\"):
        raise ValueError(f"{prefix!r} is not the prefix of a replay")
    line = Line(url, "upload-gate-drop")
    gone = 0
    try:
        cursor: bytes = b"0"
        while True:
            reply = await line.execute(
                b"SCAN", cursor, b"MATCH", f"{prefix}*", b"COUNT", KEYS_A_CALL, within_s=DEADLINE_S
            )
            if not isinstance(reply, list) or len(reply) != 2:
                raise StoreUnavailable("Redis did not answer SCAN with a list of keys")
            cursor, keys = reply
            if keys:
                gone += int(await line.execute(b"UNLINK", *keys, within_s=DEADLINE_S))
            if cursor == b"0":
                return gone
    finally:
        await line.close()
