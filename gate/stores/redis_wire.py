"""Checks and scores as the scripts read them: packed numbers, one string for a whole batch.

Packed, because each word of a command costs the server and the client more than the numbers in it. What the layouts
mean stands at the top of each script.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import msgspec

from gate.core.bucket import Refusal
from gate.core.score import Score
from gate.core.standing import Ask, Override, Standing, Taken
from gate.errors import StateUnreadable
from gate.ports import Scored
from gate.records.score import decode_score, rounded

MAX_SPAN_US = 1 << 51
"""Costs and tolerances are capped at 71 years, so that no sum in a script leaves the exact integers of a double."""

_ASK = struct.Struct("<HHHddddB")
_TERM = struct.Struct("<8sddB")
_REPLY = struct.Struct("<BddddHH")
_SCORE = struct.Struct("<dddH")
_OVERRIDE = struct.Struct("<dB")
_COUNT = struct.Struct("<H")
_NEVER = float("inf")

Term = tuple[str, int, int, bool]
"""A limit's name, cost, tolerance and whether it is a shadow: what many checks of a batch have in common."""


class _Words(msgspec.Struct, frozen=True):
    reason: str
    owner: str


_encode_words = msgspec.json.Encoder().encode
_decode_words = msgspec.json.Decoder(_Words).decode


class Batch:
    """The keys and the two arguments of one call, and how to read its replies."""

    __slots__ = ("asks", "keys", "packed_asks", "packed_terms", "terms")

    def __init__(self, asks: Sequence[Ask], prefix: str) -> None:
        keys: dict[str, int] = {}
        terms: dict[Term, int] = {}
        parts = [_COUNT.pack(len(asks))]
        for ask in asks:
            account = ask.account
            numbers: list[int] = []
            for key in (score_key(prefix, account), override_key(prefix, account), upload_key(prefix, ask)):
                numbers.append(keys.setdefault(key, len(keys) + 1))
            refuse_at = _NEVER if ask.refuse_at is None else ask.refuse_at
            now = -1 if ask.now_us is None else ask.now_us
            parts.append(_ASK.pack(*numbers, refuse_at, ask.max_score_age_us, ask.lifetime_us, now, len(ask.charges)))
            pairs: list[int] = []
            for charge in ask.charges:
                term = (charge.limit, charge.cost_us, charge.tolerance_us, charge.shadow)
                pairs.append(keys.setdefault(f"{prefix}b:{charge.entity}", len(keys) + 1))
                pairs.append(terms.setdefault(term, len(terms) + 1))
            parts.append(_pairs(len(pairs)).pack(*pairs))
        self.asks = asks
        self.keys = list(keys)
        self.terms = list(terms)
        self.packed_terms = _COUNT.pack(len(terms)) + b"".join([_packed_term(*term) for term in terms])
        self.packed_asks = b"".join(parts)

    def read(self, replies: Sequence[bytes]) -> list[Taken]:
        """What the script answered, one for each ask."""
        return [self._read(reply) for reply in replies]

    def _read(self, reply: bytes) -> Taken:
        flags, now, risk, at, wait, number, length = _REPLY.unpack_from(reply)
        override: Override | None = None
        shadow: tuple[str, ...] = ()
        if len(reply) > _REPLY.size:
            end = _REPLY.size + length
            override = decode_override(reply[_REPLY.size : end]) if length else None
            shadow = tuple(reply[end:].decode().split("\n")) if len(reply) > end else ()
        refusal = None
        if number:
            refusal = Refusal(self.terms[number - 1][0], None if flags & 8 else int(wait))
        standing = Standing(risk, int(at), override) if flags & 4 else Standing(override=override)
        return Taken(standing, flags & 1 == 1, flags & 2 == 2, refusal, shadow, int(now))


def score_key(prefix: str, account: str) -> str:
    """Where an account's score is kept."""
    return f"{prefix}score:{{{account}}}"


def override_key(prefix: str, account: str) -> str:
    """Where staff's word on an account is kept."""
    return f"{prefix}override:{{{account}}}"


def upload_key(prefix: str, ask: Ask) -> str:
    """Where it is kept that an upload was charged. The length comes first, so that no two pairs of ids share one."""
    return f"{prefix}u:{len(ask.account)}:{{{ask.account}}}:{ask.upload_id}"


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
def _pairs(length: int) -> struct.Struct:
    return struct.Struct(f"<{length}H")


@lru_cache(maxsize=4096)
def _packed_term(limit: str, cost_us: int, tolerance_us: int, shadow: bool) -> bytes:
    name = limit.encode()
    mark = blake2b(name, digest_size=8).digest()
    numbers = _TERM.pack(mark, min(cost_us, MAX_SPAN_US), min(tolerance_us, MAX_SPAN_US), shadow)
    return numbers + bytes((len(name),)) + name
