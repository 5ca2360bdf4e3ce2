"""Checks and scores as the scripts read them: packed numbers, one string for a whole batch.

Packed, because each argument of a command costs the server and the client more than the numbers in it. What the layouts
mean stands at the top of each script.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any

import msgspec

from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityLimits, Limit
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.score import Score
from gate.core.standing import Standing
from gate.errors import StateUnreadable
from gate.ports.scores import EncodedScore
from gate.records.score import decode_score, rounded

MAX_SPAN_US = 1 << 51
"""Costs and tolerances are capped at 71 years, so that no sum in a script leaves the exact integers of a double."""

_ANSWER = struct.Struct("<BddddBH")
_SCORE = struct.Struct("<dddH")
_OVERRIDE = struct.Struct("<dB")
_COUNT = struct.Struct("<H")
_NEVER = float("inf")
_UNKNOWN = Standing()


class _Remarks(msgspec.Struct, frozen=True):
    reason: str
    owner: str


_pack = msgspec.msgpack.Encoder().encode
_encode_remarks = msgspec.json.Encoder().encode
_decode_remarks = msgspec.json.Decoder(_Remarks).decode


class Batch:
    """The arguments of one call, and how to read its reply. Packed at once for all requests, not for each."""

    __slots__ = ("_class_limits", "arguments")

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
        self._class_limits = tuple(numbers)
        self.arguments = (prefix, _packed_class_limits(self._class_limits), _pack(given))

    def read(self, reply: Sequence[Any]) -> list[TakeResult]:
        """What the script answered, one for each request."""
        found: list[TakeResult] = []
        for flags, now, risk, at, wait, class_, limit in _ANSWER.iter_unpack(reply[0]):
            standing = Standing(risk, int(at)) if flags & 4 else _UNKNOWN
            refusal = self._refusal(class_ - 1, limit - 1, flags, wait) if class_ else None
            found.append(TakeResult(standing, flags & 1 == 1, flags & 2 == 2, refusal, (), int(now)))
        for at, more in zip(reply[1::2], reply[2::2], strict=True):
            found[at] = _with_more(found[at], more)
        return found

    def _refusal(self, class_: int, limit: int, flags: int, wait: float) -> Refusal:
        return Refusal(_limits(self._class_limits[class_])[limit].name, None if flags & 8 else int(wait))


def _with_more(result: TakeResult, more: bytes) -> TakeResult:
    """What few answers have: an override, names of shadow limits."""
    (length,) = _COUNT.unpack_from(more)
    end = _COUNT.size + length
    override = decode_override(more[_COUNT.size : end]) if length else None
    shadow = tuple(more[end:].decode().split("\n")) if len(more) > end else ()
    standing = Standing(result.standing.risk, result.standing.at_us, override)
    return TakeResult(standing, result.charged, result.repeated, result.refusal, shadow, result.now_us)


def score_key(prefix: str, account: str) -> str:
    """Where an account's score is kept."""
    return f"{prefix}score:{{{account}}}"


def override_key(prefix: str, account: str) -> str:
    """Where the staff override of an account is kept."""
    return f"{prefix}override:{{{account}}}"


def pack_score(scored: EncodedScore) -> bytes:
    """A score as it is stored: what the scripts read, then the whole score as JSON."""
    score, data = scored
    epoch = score.stamp.epoch.encode()
    return _SCORE.pack(rounded(score.risk), score.at_us, score.stamp.offset, len(epoch)) + epoch + data


def unpack_score(value: bytes) -> Score:
    """Raises StateUnreadable."""
    if len(value) < _SCORE.size:
        raise StateUnreadable("a stored score is cut short")
    return decode_score(value[_SCORE.size + _SCORE.unpack_from(value)[3] :])


def pack_override(override: Override) -> bytes:
    """An override as it is stored."""
    remarks = _encode_remarks(_Remarks(override.reason, override.owner))
    return _OVERRIDE.pack(override.expires_at_us, override.allow) + remarks


def decode_override(value: bytes) -> Override:
    """Raises StateUnreadable."""
    try:
        expires, allow = _OVERRIDE.unpack_from(value)
        remarks = _decode_remarks(value[_OVERRIDE.size :])
    except (struct.error, msgspec.DecodeError) as error:
        raise StateUnreadable(f"not an override: {error}") from error
    return Override(allow == 1, remarks.reason, remarks.owner, int(expires))


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
