"""Scores as JSON, the value of topic `accounts.scores.v1` and the tail of a stored score.

Decides how a score is written: floats at 6 digits, times in RFC 3339 at µs. Leaves to the stores which of two wins.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from gate.core.score import Reason, Score, Stamp
from gate.errors import StateUnreadable
from gate.ports.scores import EncodedScore

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
MAX_BYTES = 64 * 1024
"""Longest score that is read; ours stay below 4 KiB."""


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


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Score).decode


def rounded(value: float) -> float:
    """`value` as it is stored: the double nearest to it with 6 digits after the point."""
    return round(value * 1_000_000) / 1_000_000


def encode_score(score: Score) -> bytes:
    """`score` as one JSON object. Equal scores give equal bytes. Raises ValueError on a number that is not finite."""
    return _encode(
        _Score(
            score.account,
            round(score.bot * 1_000_000) / 1_000_000,
            round(score.scam * 1_000_000) / 1_000_000,
            round(score.risk * 1_000_000) / 1_000_000,
            [
                _Reason(r.signal, round(r.value * 1_000_000) / 1_000_000, round(r.weight * 1_000_000) / 1_000_000)
                for r in score.reasons
            ],
            _EPOCH + timedelta(0, 0, score.at_us),
            _EPOCH + timedelta(0, 0, score.scored_at_us),
            _Stamp(score.stamp.epoch, score.stamp.offset),
            score.scorecard,
        )
    )


def with_bytes(score: Score) -> EncodedScore:
    """`score` with its bytes, for stores and topics. Raises ValueError as `encode_score` does."""
    return EncodedScore(score, encode_score(score))


def decode_score(data: bytes) -> Score:
    """The score in `data`; unknown fields are skipped, so that newer writers can be read.

    Raises StateUnreadable.
    """
    if len(data) > MAX_BYTES:
        raise StateUnreadable(f"a score of {len(data)} bytes, more than {MAX_BYTES}")
    try:
        wire = _decode(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise StateUnreadable(f"not a score: {error}") from error
    for name in ("bot", "scam", "risk"):
        if not 0.0 <= getattr(wire, name) <= 1.0:
            raise StateUnreadable(f"not a score: `{name}` is outside 0 to 1")
    if wire.at.tzinfo is None or wire.scored_at.tzinfo is None:
        raise StateUnreadable("not a score: a time without its zone")
    return Score(
        wire.account,
        wire.bot,
        wire.scam,
        wire.risk,
        tuple(Reason(r.signal, r.value, r.weight) for r in wire.reasons),
        (wire.at - _EPOCH) // _MICROSECOND,
        (wire.scored_at - _EPOCH) // _MICROSECOND,
        Stamp(wire.stamp.epoch, wire.stamp.offset),
        wire.scorecard,
    )
