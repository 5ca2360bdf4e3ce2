"""Checks and scores as the scripts read them: packed numbers, one string for a whole batch.

Packed, because each word of a command costs the server and the client more than the numbers in it. What the layouts
mean stands at the top of each script.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any

import msgspec

from gate.core.bucket import Price, Refusal, Tariff
from gate.core.score import Score
from gate.core.standing import Ask, Override, Plan, Standing, Taken
from gate.errors import StateUnreadable
from gate.ports import Scored
from gate.records.score import decode_score, rounded

MAX_SPAN_US = 1 << 51
"""Costs and tolerances are capped at 71 years, so that no sum in a script leaves the exact integers of a double."""

_PLAN = struct.Struct("<ddd")
_PRICE = struct.Struct("<8sddB")
_ANSWER = struct.Struct("<BddddBH")
_SCORE = struct.Struct("<dddH")
_OVERRIDE = struct.Struct("<dB")
_COUNT = struct.Struct("<H")
_NEVER = float("inf")
_UNKNOWN = Standing()


class _Words(msgspec.Struct, frozen=True):
    reason: str
    owner: str


_encode_words = msgspec.json.Encoder().encode
_decode_words = msgspec.json.Decoder(_Words).decode


class Batch:
    """The arguments of one call, and how to read its reply. Packed at once for all asks, not for each."""

    __slots__ = ("_plans", "arguments")

    def __init__(self, asks: Sequence[Ask], prefix: bytes) -> None:
        plans: defaultdict[Plan, int] = defaultdict(count(1).__next__)  # numbers what it is asked for, from 1
        heads: list[int] = []
        costs: list[int] = []
        words: list[str] = []
        for ask in asks:
            plan, account, upload, ip, device = ask.plan, ask.account, ask.upload_id, ask.ip or "", ask.device or ""
            now = -1 if ask.now_us is None else ask.now_us
            heads += (plans[plan], now, len(account), len(upload), len(ip), len(device))
            words += (account, upload, ip, device)
            if plan.by_bytes:
                size = ask.size
                costs += [min(rate.cost_us(size), MAX_SPAN_US) for rate in plan.by_bytes]
        text = "".join(words)
        if not text.isascii():
            _count_bytes(heads, words)
        packed = _heads(len(asks)).pack(len(asks), *heads) + _doubles(len(costs)).pack(*costs)
        self._plans = tuple(plans)
        self.arguments = (prefix, _packed_plans(self._plans), packed, text.encode())

    def read(self, reply: Sequence[Any]) -> list[Taken]:
        """What the script answered, one for each ask."""
        found: list[Taken] = []
        for flags, now, risk, at, wait, plan, price in _ANSWER.iter_unpack(reply[0]):
            standing = Standing(risk, int(at)) if flags & 4 else _UNKNOWN
            refusal = self._refusal(plan - 1, price - 1, flags, wait) if plan else None
            found.append(Taken(standing, flags & 1 == 1, flags & 2 == 2, refusal, (), int(now)))
        for ask, words in zip(reply[1::2], reply[2::2], strict=True):
            found[ask] = _with_words(found[ask], words)
        return found

    def _refusal(self, plan: int, price: int, flags: int, wait: float) -> Refusal:
        return Refusal(_prices(self._plans[plan])[price].limit, None if flags & 8 else int(wait))


def _count_bytes(heads: list[int], words: list[str]) -> None:
    """Put lengths in bytes where there are such in characters."""
    for ask in range(len(words) // 4):
        heads[6 * ask + 2 : 6 * ask + 6] = [len(word.encode()) for word in words[4 * ask : 4 * ask + 4]]


def _with_words(taken: Taken, words: bytes) -> Taken:
    """What few answers have: an override, names of shadow limits."""
    (length,) = _COUNT.unpack_from(words)
    end = _COUNT.size + length
    override = decode_override(words[_COUNT.size : end]) if length else None
    shadow = tuple(words[end:].decode().split("\n")) if len(words) > end else ()
    standing = Standing(taken.standing.risk, taken.standing.at_us, override)
    return Taken(standing, taken.charged, taken.repeated, taken.refusal, shadow, taken.now_us)


def score_key(prefix: str, account: str) -> str:
    """Where an account's score is kept."""
    return f"{prefix}score:{{{account}}}"


def override_key(prefix: str, account: str) -> str:
    """Where staff's word on an account is kept."""
    return f"{prefix}override:{{{account}}}"


def pack_score(scored: Scored) -> bytes:
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
def _heads(asks: int) -> struct.Struct:
    return struct.Struct("<H" + "BdHHBB" * asks)


@lru_cache(maxsize=1024)
def _doubles(length: int) -> struct.Struct:
    return struct.Struct(f"<{length}d")


@lru_cache(maxsize=256)
def _packed_plans(plans: tuple[Plan, ...]) -> bytes:
    return _COUNT.pack(len(plans)) + b"".join(map(_packed_plan, plans))


def _packed_plan(plan: Plan) -> bytes:
    refuse_at = _NEVER if plan.refuse_at is None else plan.refuse_at
    parts = [_PLAN.pack(refuse_at, plan.max_score_age_us, plan.lifetime_us)]
    parts += [_packed_tariff(tariff) for tariff in (plan.account, plan.ip, plan.device)]
    parts.append(bytes((len(plan.shared),)))
    for charge in plan.shared:
        entity = charge.entity.encode()
        parts += (_COUNT.pack(len(entity)), entity, _packed_tariff(charge.tariff))
    return b"".join(parts)


def _packed_tariff(tariff: Tariff | None) -> bytes:
    prices = () if tariff is None else tariff.prices
    parts = [bytes((len(prices),))]
    names: list[bytes] = []
    for price in prices:
        name = price.limit.encode()
        cost, tolerance = min(price.rate.cost_us(1), MAX_SPAN_US), min(price.rate.tolerance_us, MAX_SPAN_US)
        flags = price.shadow + 2 * price.by_bytes
        parts.append(_PRICE.pack(blake2b(name, digest_size=8).digest(), cost, tolerance, flags))
        if price.shadow:
            names.append(bytes((len(name),)) + name)
    return b"".join(parts + names)


def _prices(plan: Plan) -> list[Price]:
    """All prices of a plan, in the order of its packed form."""
    return [price for tariff in plan.tariffs for price in tariff.prices]
