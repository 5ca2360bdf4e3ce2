"""Take requests and answers as the take script reads and writes them: packed numbers, one string for a whole batch.

Packed, because each argument of a command costs the server and the client more than the numbers in it. The layouts
stand at the top of `lua/take.lua`. They are here, beside the script, and not in `gate.records`, because only the script
reads them and nothing keeps them; what Redis stores of scores and overrides is `gate.records`' part.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any, Final

import msgspec

from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityLimits, Limit
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.standing import Standing
from gate.errors import StateUnreadable
from gate.records.override import decode_stored_override, obeyed_override

MAX_SPAN_US: Final = 1 << 51
"""Costs and tolerances are capped at 71 years, so that no sum in a script leaves the exact integers of a double."""

_CHARGED, _REPEATED, _SCORED, _NEVER_FITS, _UNREADABLE = 1, 2, 4, 8, 16
_ANSWER = struct.Struct("<BddddBH")
_COUNT = struct.Struct("<H")
_NEVER = float("inf")
_UNKNOWN = Standing()

_pack = msgspec.msgpack.Encoder().encode


class Batch:
    """The arguments of one call, and how to read its reply. Packed at once for all requests, not for each.

    `unreadable` counts the checks of the batch for which a stored value was not believed, once the reply is read.
    """

    __slots__ = ("_class_limits", "arguments", "unreadable")

    def __init__(self, requests: Sequence[TakeRequest], prefix: bytes) -> None:
        numbers: defaultdict[ClassLimits, int] = defaultdict(
            count(1).__next__
        )  # numbers each class as it comes, from 1
        given: list[object] = [len(requests)]
        for request in requests:
            limits = request.class_limits
            rates = limits.byte_rates
            given += (
                numbers[limits],
                len(rates),
                request.now_us,
                request.account,
                request.upload_id,
                request.ip,
                request.device,
            )
            for rate in rates:
                cost = rate.cost_us(request.size)
                given.append(cost if cost < MAX_SPAN_US else MAX_SPAN_US)
        self.unreadable = 0
        self._class_limits = tuple(numbers)
        self.arguments = (prefix, _packed_class_limits(self._class_limits), _pack(given))

    def read(self, reply: Sequence[Any]) -> list[TakeResult]:
        """What the script answered, one for each request."""
        results: list[TakeResult] = []
        for flags, now, risk, at, wait, class_, limit in _ANSWER.iter_unpack(reply[0]):
            standing = Standing(risk, int(at)) if flags & _SCORED else _UNKNOWN
            refusal = self._refusal(class_ - 1, limit - 1, flags, wait) if class_ else None
            charged, repeated = flags & _CHARGED == _CHARGED, flags & _REPEATED == _REPEATED
            results.append(TakeResult(standing, charged, repeated, refusal, (), int(now)))
            if flags >= _UNREADABLE:
                self.unreadable += 1
        for at, more in zip(reply[1::2], reply[2::2], strict=True):
            results[at] = self._with_more(results[at], more)
        return results

    def _refusal(self, class_: int, limit: int, flags: int, wait: float) -> Refusal:
        name = _limits(self._class_limits[class_])[limit].name
        return Refusal(name, None if flags & _NEVER_FITS else int(wait))

    def _with_more(self, result: TakeResult, more: bytes) -> TakeResult:
        """What few answers have: an override, names of shadow limits."""
        (length,) = _COUNT.unpack_from(more)
        end = _COUNT.size + length
        override = None
        if length:
            value = more[_COUNT.size : end]
            try:
                override = decode_stored_override(value)
            except StateUnreadable:
                override = obeyed_override(value)
                self.unreadable += 1
        shadow = tuple(more[end:].decode().split("\n")) if len(more) > end else ()
        standing = Standing(result.standing.risk, result.standing.at_us, override)
        return TakeResult(standing, result.charged, result.repeated, result.refusal, shadow, result.now_us)


@lru_cache(maxsize=256)
def _packed_class_limits(class_limits: tuple[ClassLimits, ...]) -> bytes:
    return _pack([_listed(each) for each in class_limits])


def _listed(class_limits: ClassLimits) -> list[object]:
    numbers = count(1)
    costs = count(-1, -1)

    def listed(limits: EntityLimits | None) -> list[object] | bool:
        return limits is not None and [value for each in limits.limits for value in _limit_values(each, numbers, costs)]

    refuse_at = _NEVER if class_limits.refuse_at is None else class_limits.refuse_at
    own = [listed(limits) for limits in (class_limits.account, class_limits.ip, class_limits.device)]
    shared = [value for each in class_limits.shared for value in (each.entity, listed(each.limits))]
    return [refuse_at, class_limits.max_score_age_us, class_limits.lifetime_us, *own, shared]


def _limit_values(limit: Limit, numbers: Iterator[int], costs: Iterator[int]) -> tuple[object, ...]:
    id_ = b64encode(blake2b(limit.name.encode(), digest_size=6).digest()).decode()
    cost = next(costs) if limit.by_bytes else min(limit.rate.cost_us(1), MAX_SPAN_US)
    return id_, cost, min(limit.rate.tolerance_us, MAX_SPAN_US), limit.shadow and limit.name, next(numbers)


def _limits(class_limits: ClassLimits) -> list[Limit]:
    """All limits of a class, in the order of their packed form."""
    return [limit for each in class_limits.entity_limits for limit in each.limits]
