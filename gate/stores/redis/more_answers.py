"""Reads the rare parts of the take script's answers: an override, shadow limits, the limit of a repeated refusal."""

from __future__ import annotations

import struct
from typing import Final

from msgspec.structs import replace

from gate.core.limits.gcra import Refusal
from gate.core.limits.take import TakeResult
from gate.records.override import read_stored_override

_COUNT: Final = struct.Struct("<H")


def with_more(result: TakeResult, more: bytes) -> tuple[TakeResult, bool]:
    """The whole answer, and whether its override could be read."""
    (length,) = _COUNT.unpack_from(more)
    end = _COUNT.size + length
    override, limits_of, is_readable = None, result.limits_of, True
    if length:
        override, is_readable = read_stored_override(more[_COUNT.size : end])
    shadow = tuple(more[end:].decode(errors="replace").split("\n")) if len(more) > end else ()
    refusal = result.refusal
    if refusal is not None and not refusal.limit:
        refusal, shadow = Refusal(shadow[0], refusal.retry_after_us), ()
    if limits_of is not None and override is not None:
        limits_of = override.limits
    standing = replace(result.standing, override=override)
    return replace(result, standing=standing, refusal=refusal, shadow=shadow, limits_of=limits_of), is_readable
