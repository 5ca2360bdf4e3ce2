"""Reads and writes one value in Redis over a line of the gate."""

from __future__ import annotations

from gate.stores.redis.connections.line import Line


async def get(line: Line, key: str) -> bytes:
    value = await line.execute(b"GET", key, within_s=5.0)
    assert isinstance(value, bytes)
    return value


async def put(line: Line, key: str, value: bytes) -> None:
    await line.execute(b"SET", key, value, b"PX", 3_600_000, within_s=5.0)
