"""One script of the stores, run on raw values in a real server, with what it leaves there and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate.stores.redis.connections.line import Line, Routed
from gate.stores.redis.connections.script_call import Argument, Run, Script

CLOCK_MS = 1_000_000
_NOTES_THE_CLOCK = b"redis.call('SET', ARGV[#ARGV], '', 'PX', %d)\n" % CLOCK_MS


@dataclass(frozen=True, slots=True)
class Left:
    """What a script answered, the values of its keys afterwards, and for how many ms they are kept (-1: for ever)."""

    reply: Any
    values: Sequence[bytes | None]
    kept_ms: Sequence[int]


async def left_by(
    line: Line, source: bytes, values: Mapping[str, bytes | None], args: Sequence[Argument], px: int = 0
) -> Left:
    """Store `values`, run the script with their keys, and read what is left; `px`: for how many ms they are stored.

    The clock stands still while a script runs. So a key that it writes first tells at which ms it ran.
    """
    keys = list(values)
    clock = f"{keys[0]}:clock"
    ends = (b"PX", px) if px else ()
    stored: list[Routed] = [("", (b"SET", key, value, *ends)) for key, value in values.items() if value is not None]
    if stored:
        await line.pipeline(stored, 5.0)
    (reply,) = await line.run([Run(Script(_NOTES_THE_CLOCK + source), keys, [*args, clock])], 5.0)
    reads: list[Routed] = [("", (b"PEXPIRETIME", key)) for key in (clock, *keys)]
    clock_end, *found = await line.pipeline([*reads, ("", (b"MGET", *keys))], 5.0)
    return Left(reply, found.pop(), [end - clock_end + CLOCK_MS if end >= 0 else end for end in found])
