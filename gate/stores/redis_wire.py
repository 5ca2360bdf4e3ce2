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

import msgspec

from gate.core.bucket import Refusal, Tariff
from gate.core.score import Score
from gate.core.standing import Ask, Override, Standing, Taken
from gate.errors import StateUnreadable
from gate.ports import Scored
from gate.records.score import decode_score, rounded

MAX_SPAN_US = 1 << 51
"""Costs and tolerances are capped at 71 years, so that no sum in a script leaves the exact integers of a double."""

_PRICE = struct.Struct("<8sddB")
_REPLY = struct.Struct("<BddddHBH")
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
    """The keys and the two arguments of one call, and how to read its replies."""

    __slots__ = ("_tariffs", "keys", "packed_asks", "packed_tariffs")

    def __init__(self, asks: Sequence[Ask], prefix: str) -> None:
        keys: defaultdict[str, int] = defaultdict(count(1).__next__)  # numbers what it is asked for, from 1
        tariffs: defaultdict[Tariff, int] = defaultdict(count(1).__next__)
        score, override, upload, bucket = f"{prefix}score:{{", f"{prefix}override:{{", f"{prefix}u:", f"{prefix}b:"
        parts = [_COUNT.pack(len(asks))]
        for ask in asks:
            account, charges = ask.account, ask.charges
            numbers = [
                keys[f"{score}{account}}}"],
                keys[f"{override}{account}}}"],
                keys[f"{upload}{len(account)}:{{{account}}}:{ask.upload_id}"],
            ]
            costs: list[int] = []
            for charge in charges:
                tariff = charge.tariff
                numbers += keys[bucket + charge.entity], tariffs[tariff]
                for rate in tariff.by_bytes:
                    costs.append(min(rate.cost_us(charge.size), MAX_SPAN_US))
            refuse_at = _NEVER if ask.refuse_at is None else ask.refuse_at
            now = -1 if ask.now_us is None else ask.now_us
            head = (refuse_at, ask.max_score_age_us, ask.lifetime_us, now, len(charges), len(costs))
            parts.append(_ask_of(len(charges), len(costs)).pack(*head, *numbers, *costs))
        self.keys = list(keys)
        self._tariffs = list(tariffs)
        self.packed_tariffs = _COUNT.pack(len(tariffs)) + b"".join(map(_packed, tariffs))
        self.packed_asks = b"".join(parts)

    def read(self, replies: Sequence[bytes]) -> list[Taken]:
        """What the script answered, one for each ask."""
        return [self._read(reply) for reply in replies]

    def _read(self, reply: bytes) -> Taken:
        flags, now, risk, at, wait, tariff, price, length = _REPLY.unpack_from(reply)
        override: Override | None = None
        shadow: tuple[str, ...] = ()
        if len(reply) > _REPLY.size:
            end = _REPLY.size + length
            override = decode_override(reply[_REPLY.size : end]) if length else None
            shadow = tuple(reply[end:].decode().split("\n")) if len(reply) > end else ()
        refusal = None
        if tariff:
            refusal = Refusal(self._limit(tariff - 1, price - 1), None if flags & 8 else int(wait))
        if override is None and not flags & 4:
            standing = _UNKNOWN
        else:
            standing = Standing(risk, int(at), override) if flags & 4 else Standing(override=override)
        return Taken(standing, flags & 1 == 1, flags & 2 == 2, refusal, shadow, int(now))

    def _limit(self, tariff: int, price: int) -> str:
        return self._tariffs[tariff].prices[price].limit


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
def _ask_of(charges: int, costs: int) -> struct.Struct:
    return struct.Struct(f"<ddddBB{3 + 2 * charges}H{costs}d")


@lru_cache(maxsize=1024)
def _packed(tariff: Tariff) -> bytes:
    parts = [bytes((len(tariff.prices),))]
    names: list[bytes] = []
    for price in tariff.prices:
        name = price.limit.encode()
        cost, tolerance = min(price.rate.cost_us(1), MAX_SPAN_US), min(price.rate.tolerance_us, MAX_SPAN_US)
        flags = price.shadow + 2 * price.by_bytes
        parts.append(_PRICE.pack(blake2b(name, digest_size=8).digest(), cost, tolerance, flags))
        if price.shadow:
            names.append(bytes((len(name),)) + name)
    return b"".join(parts + names)
