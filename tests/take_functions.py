"""The functions of the take script, each called by itself in a real server."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from gate.stores.redis.bucket_layouts import quoted
from gate.stores.redis.connections.line import Line
from gate.stores.redis.connections.script_call import Argument
from gate.stores.redis.unrolled import Unrolled

Lua = bytes | float | bool | None | Sequence["Lua"]
"""What a function is given or returns; a sequence is a table, and is given alone."""
_SHOWN = """
local function shown(...)
  local all = {}
  for i = 1, select('#', ...) do
    local x = select(i, ...)
    local kind = type(x)
    all[i] = kind == 'number' and 'n' .. string.format('%.17g', x) or kind == 'string' and 's' .. x or kind .. tostring(x)
  end
  return all
end
"""


def literal(value: Lua) -> str:
    """The value as Lua."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return quoted(value)
    if isinstance(value, (int, float)):
        return "(0/0)" if math.isnan(value) else "(1/0)" if math.isinf(value) else repr(value)
    return f"{{{', '.join(map(literal, value))}}}"


async def ran(line: Line, code: str, keys: Sequence[Argument] = (), requests: int = 0) -> list[Lua]:
    """What `code` returns behind the functions of the script of no class. The last keys are the uploads' own."""
    functions, _, _ = Unrolled(()).script.source.decode("latin-1").partition("\nlocal out, times")
    source = f"{functions}\n{_SHOWN}\nlocal function run()\n{code}\nend\nreturn shown(run())"
    reply = await line.execute(
        b"EVAL", source.encode("latin-1"), len(keys), *keys, struct.pack("<H", requests), within_s=5.0
    )
    return [_read(each) for each in reply]


async def called(line: Line, name: str, *given: Lua, now: float = 0, recorded: bool = False) -> list[Lua]:
    """What the function returns at `now`."""
    clock = f"now, recorded = {literal(now)}, {literal(recorded)}"
    return await ran(line, f"{clock}\nreturn {name}({', '.join(map(literal, given))})")


def _read(shown: bytes) -> Lua:
    for kind, meant in ((b"booleantrue", True), (b"booleanfalse", False), (b"nilnil", None)):
        if shown == kind:
            return meant
    return shown[1:] if shown[:1] == b"s" else float(shown[1:])
