"""Scores as bytes: the value of topic `accounts.scores.v1`, and a stored score in Redis.

    {"account": "a-17", "bot": 0.25, "scam": 0.5, "risk": 0.625, "reasons": [{"signal", "value", "weight"}],
     "at", "scored_at", "stamp": {"epoch", "offset"}, "scorecard": "9f2c", "version": 1}

Numbers have 6 digits after the point, times are RFC 3339 with µs. A document without `version`, written before there
were versions, is of version 1. Fields of a newer version are kept in `Score.extra` and written again.

A stored score is a head, which the scripts read, and then that document: risk, `at` and offset as little-endian
doubles (times in µs), the length of the epoch as u16, the epoch. Leaves to the stores which of two scores wins.
"""

from __future__ import annotations

import struct
from datetime import datetime
from functools import lru_cache
from typing import Final

import msgspec

from gate.core.score import Reason, Score, Stamp
from gate.errors import StateUnreadable
from gate.ports.scores import EncodedScore
from gate.records.times import time_of, us_of
from gate.records.unknown_fields import unknown_fields, with_unknown_fields

VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024
"""Longest score that is read; ours stay below 4 KiB."""

_HEAD = struct.Struct("<dddH")


class _Reason(msgspec.Struct, gc=False):
    signal: str
    value: float
    weight: float


class _Stamp(msgspec.Struct, gc=False):
    epoch: str
    offset: int


class _Score(msgspec.Struct, gc=False):
    account: str
    bot: float
    scam: float
    risk: float
    reasons: list[_Reason]
    at: datetime
    scored_at: datetime
    stamp: _Stamp
    scorecard: str
    version: int = VERSION


_KNOWN: Final = frozenset(_Score.__struct_fields__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Score).decode


def rounded(value: float) -> float:
    """`value` as it is stored: the double nearest to it with 6 digits after the point."""
    return round(value * 1_000_000) / 1_000_000


_rounded_weight = lru_cache(maxsize=256)(rounded)  # a scorecard has a few dozen weights
_time_of_batch = lru_cache(maxsize=4)(time_of)  # the scores of a batch are made at one time


def encode_score(score: Score) -> bytes:
    """`score` as one JSON object. Equal scores give equal bytes. Raises ValueError on a number that is not finite."""
    data = _encode(
        _Score(
            score.account,
            round(score.bot * 1_000_000) / 1_000_000,
            round(score.scam * 1_000_000) / 1_000_000,
            round(score.risk * 1_000_000) / 1_000_000,
            [
                _Reason(r.signal, round(r.value * 1_000_000) / 1_000_000, _rounded_weight(r.weight))
                for r in score.reasons
            ],
            time_of(score.at_us),
            _time_of_batch(score.scored_at_us),
            _Stamp(score.stamp.epoch, score.stamp.offset),
            score.scorecard,
        )
    )
    return with_unknown_fields(data, score.extra) if score.extra else data


def with_bytes(score: Score) -> EncodedScore:
    """`score` with its bytes, for stores and topics. Raises ValueError as `encode_score` does."""
    return tuple.__new__(
        EncodedScore, (score, encode_score(score))
    )  # a named tuple's own constructor takes twice as long


def decode_score(data: bytes) -> Score:
    """The score in `data`. Raises StateUnreadable."""
    if len(data) > MAX_BYTES:
        raise StateUnreadable(f"a score of {len(data)} bytes, more than {MAX_BYTES}")
    try:
        document = _decode(data)
        at_us, scored_at_us = us_of(document.at), us_of(document.scored_at)
        extra = unknown_fields(data, _KNOWN, VERSION, document.version)
    except (msgspec.DecodeError, ValueError, StateUnreadable) as error:
        raise StateUnreadable(f"not a score: {error}") from error
    for name in ("bot", "scam", "risk"):
        if not 0.0 <= getattr(document, name) <= 1.0:
            raise StateUnreadable(f"not a score: `{name}` is outside 0 to 1")
    return Score(
        document.account,
        document.bot,
        document.scam,
        document.risk,
        tuple(Reason(r.signal, r.value, r.weight) for r in document.reasons),
        at_us,
        scored_at_us,
        Stamp(document.stamp.epoch, document.stamp.offset),
        document.scorecard,
        extra,
    )


def stored_score(scored: EncodedScore) -> bytes:
    """A score as Redis stores it."""
    score, data = scored
    epoch = score.stamp.epoch.encode()
    return _HEAD.pack(rounded(score.risk), score.at_us, score.stamp.offset, len(epoch)) + epoch + data


def decode_stored_score(value: bytes) -> Score:
    """The score that Redis stores as `value`. Raises StateUnreadable."""
    if len(value) < _HEAD.size:
        raise StateUnreadable("a stored score is cut short")
    return decode_score(value[_HEAD.size + _HEAD.unpack_from(value)[3] :])
