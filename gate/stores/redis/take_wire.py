"""Checks and scores as the scripts read them: packed numbers, one string for a whole batch.

Packed, because each word of a command costs the server and the client more than the numbers in it. What the layouts
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


class _Words(msgspec.Struct, frozen=True):
    reason: str
    owner: str


_pack = msgspec.msgpack.Encoder().encode
_encode_words = msgspec.json.Encoder().encode
_decode_words = msgspec.json.Decoder(_Words).decode


class Batch:
    """The arguments of one call, and how to read its reply. Packed at once for all asks, not for each."""

    __slots__ = ("_plans", "arguments")

    def __init__(self, asks: Sequence[TakeRequest], prefix: bytes) -> None:
        plans: defaultdict[ClassLimits, int] = defaultdict(count(1).__next__)  # numbers what it is asked for, from 1
        given: list[object] = [len(asks)]
        for ask in asks:
            plan = ask.plan
            rates = plan.by_bytes
            given += (plans[plan], len(rates), ask.now_us, ask.account, ask.upload_id, ask.ip, ask.device)
            for rate in rates:
                cost = rate.cost_us(ask.size)
                given.append(cost if cost < MAX_SPAN_US else MAX_SPAN_US)
        self._plans = tuple(plans)
        self.arguments = (prefix, _packed_plans(self._plans), _pack(given))

    def read(self, reply: Sequence[Any]) -> list[TakeResult]:
        """What the script answered, one for each ask."""
        found: list[TakeResult] = []
        for flags, now, risk, at, wait, plan, price in _ANSWER.iter_unpack(reply[0]):
            standing = Standing(risk, int(at)) if flags & 4 else _UNKNOWN
            refusal = self._refusal(plan - 1, price - 1, flags, wait) if plan else None
            found.append(TakeResult(standing, flags & 1 == 1, flags & 2 == 2, refusal, (), int(now)))
        for ask, words in zip(reply[1::2], reply[2::2], strict=True):
            found[ask] = _with_words(found[ask], words)
        return found

    def _refusal(self, plan: int, price: int, flags: int, wait: float) -> Refusal:
        return Refusal(_prices(self._plans[plan])[price].limit, None if flags & 8 else int(wait))


def _with_words(taken: TakeResult, words: bytes) -> TakeResult:
    """What few answers have: an override, names of shadow limits."""
    (length,) = _COUNT.unpack_from(words)
    end = _COUNT.size + length
    override = decode_override(words[_COUNT.size : end]) if length else None
    shadow = tuple(words[end:].decode().split("\n")) if len(words) > end else ()
    standing = Standing(taken.standing.risk, taken.standing.at_us, override)
    return TakeResult(standing, taken.charged, taken.repeated, taken.refusal, shadow, taken.now_us)


def score_key(prefix: str, account: str) -> str:
    """Where an account's score is kept."""
    return f"{prefix}score:{{{account}}}"


def override_key(prefix: str, account: str) -> str:
    """Where staff's word on an account is kept."""
    return f"{prefix}override:{{{account}}}"


def pack_score(scored: EncodedScore) -> bytes:
    """A score as it is stored: what the scripts read, then the whole score as JSON."""
    score, spelt = scored
    epoch = score.stamp.epoch.encode()
    return _SCORE.pack(rounded(score.risk), score.at_us, score.stamp.offset, len(epoch)) + epoch + spelt


def unpack_score(value: bytes) -> Score:
    """Raises StateUnreadable."""
    if len(value) < _SCORE.size:
        raise StateUnreadable("a stored score is cut short")
    return decode_score(value[_SCORE.size + _SCORE.unpack_from(value)[3] :])


def pack_override(override: Override) -> bytes:
    """An override as it is stored."""
    words = _encode_words(_Words(override.reason, override.owner))
    return _OVERRIDE.pack(override.expires_at_us, override.allow) + words


def decode_override(value: bytes) -> Override:
    """Raises StateUnreadable."""
    try:
        expires, allow = _OVERRIDE.unpack_from(value)
        words = _decode_words(value[_OVERRIDE.size :])
    except (struct.error, msgspec.DecodeError) as error:
        raise StateUnreadable(f"not an override: {error}") from error
    return Override(allow == 1, words.reason, words.owner, int(expires))


@lru_cache(maxsize=256)
def _packed_plans(plans: tuple[ClassLimits, ...]) -> bytes:
    return _pack([_listed(plan) for plan in plans])


def _listed(plan: ClassLimits) -> list[object]:
    prices = count(1)
    costs = count(-1, -1)

    def listed(tariff: EntityLimits | None) -> list[object] | bool:
        return tariff is not None and [word for price in tariff.prices for word in _priced(price, prices, costs)]

    refuse_at = _NEVER if plan.refuse_at is None else plan.refuse_at
    own = [listed(tariff) for tariff in (plan.account, plan.ip, plan.device)]
    shared = [word for charge in plan.shared for word in (charge.entity, listed(charge.tariff))]
    return [refuse_at, plan.max_score_age_us, plan.lifetime_us, *own, shared]


def _priced(price: Limit, prices: Iterator[int], costs: Iterator[int]) -> tuple[object, ...]:
    limit = b64encode(blake2b(price.limit.encode(), digest_size=6).digest()).decode()
    cost = next(costs) if price.by_bytes else min(price.rate.cost_us(1), MAX_SPAN_US)
    return limit, cost, min(price.rate.tolerance_us, MAX_SPAN_US), price.shadow and price.limit, next(prices)


def _prices(plan: ClassLimits) -> list[Limit]:
    """All prices of a plan, in the order of its packed form."""
    return [price for tariff in plan.tariffs for price in tariff.prices]
