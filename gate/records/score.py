"""Scores as bytes: the value of topic `accounts.scores.v1`, and a stored score in Redis.

    {"account": "a-17", "bot": 0.25, "scam": 0.5, "risk": 0.625, "reasons": [{"signal", "value", "weight"}],
     "at", "scored_at", "stamp": {"epoch", "offset", "partition", "partitions", "generation"}, "scorecard": "9f2c",
     "version": 1}

A reason's value is null where it was not known; a signal that reads two features also has `"second"`, the value of the
second one, if that was known.

A score that decays also has `"half_life"` in seconds and `"base"`, the risk of an account without evidence; without
them, or with a half-life of null, it does not decay. `"acts": false` marks a score that was made while the stream was
far behind.

`"models"` is the hash of the models that the features came from, absent without any. `"shadow"` has bot, scam, risk,
scorecard and models of a score that was made beside this one to be compared; nothing decides by it.

Numbers have 6 digits after the point, times are RFC 3339 with µs. A document without `version`, written before there
were versions, is of version 1; a stamp without `generation` is of a release that knew none. Fields of a newer version
are kept in `Score.extra` and written again.

A stored score is a head, which the scripts read, and then that document. The head: risk, `at` and offset as
little-endian doubles (times in µs), the length of the epoch as u16, the epoch; then up to two sections, each with a byte
that names it. A score that decays or does not act: 12, half-life in µs as u56, base in millionths as u32, u8 that is 1 if it
acts; of an earlier release 17, half-life and base as doubles, the u8. A stamp with a generation: 3, generation as u56, of an
earlier release 2, generation as double; then `partitions` and `partition` as u32. The document begins with `{`.
Leaves to the stores which of two scores wins.
"""

from __future__ import annotations

import struct
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from gate.core.fields.parse import UNDECODABLE
from gate.core.score import Reason, Score, ShadowScore, Stamp
from gate.errors import StateUnreadable
from gate.ports.scores import EncodedScore
from gate.records.times import time_of, us_of
from gate.records.unknown_fields import unknown_fields, with_unknown_fields

VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024
"""Longest score that is read; ours stay below 4 KiB."""
LONGEST_HALF_LIFE_S: Final = 10 * 365 * 86_400

_HEAD = struct.Struct("<dddH")
pack_head = _HEAD.pack
"""Packs the beginning of a stored score: risk, time in µs, offset, and the length of the epoch."""
_DECAY = struct.Struct("<B7sIB")
_WIDE_DECAY = struct.Struct("<BddB")
_STAMP = struct.Struct("<B7sII")
_WIDE_STAMP = struct.Struct("<BdII")
_WITH_DECAY, _WITH_WIDE_DECAY, _WITH_STAMP, _WITH_WIDE_STAMP = 12, 17, 3, 2
_DECAYS: Final = {_WITH_DECAY: _DECAY, _WITH_WIDE_DECAY: _WIDE_DECAY}
_RISK = struct.Struct("<dd")
_SECTIONS: Final = (
    {_WITH_DECAY: _DECAY.size, _WITH_WIDE_DECAY: _WIDE_DECAY.size},
    {_WITH_STAMP: _STAMP.size, _WITH_WIDE_STAMP: _WIDE_STAMP.size},
)


class ReasonDocument(msgspec.Struct, gc=False):
    """A reason as it is written."""

    signal: str
    value: float | None
    weight: float
    second: float | msgspec.UnsetType | None = msgspec.UNSET


class _Stamp(msgspec.Struct, gc=False):
    epoch: str
    offset: int
    partition: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] | msgspec.UnsetType = msgspec.UNSET
    partitions: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] | msgspec.UnsetType = msgspec.UNSET
    generation: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] | msgspec.UnsetType = msgspec.UNSET


class _Shadow(msgspec.Struct, gc=False):
    bot: float
    scam: float
    risk: float
    scorecard: str
    models: str | msgspec.UnsetType = msgspec.UNSET


class _Score(msgspec.Struct, gc=False):
    account: str
    bot: float
    scam: float
    risk: float
    reasons: list[ReasonDocument]
    at: datetime
    scored_at: datetime
    stamp: _Stamp
    scorecard: str
    version: int = VERSION
    half_life: float | msgspec.UnsetType | None = msgspec.UNSET
    base: float | msgspec.UnsetType = msgspec.UNSET
    acts: bool | msgspec.UnsetType = msgspec.UNSET
    models: str | msgspec.UnsetType = msgspec.UNSET
    shadow: _Shadow | msgspec.UnsetType | None = msgspec.UNSET


_KNOWN: Final = frozenset(_Score.__struct_fields__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Score).decode


def rounded(value: float) -> float:
    """`value` as it is stored: the double nearest to it with 6 digits after the point."""
    return round(value * 1_000_000) / 1_000_000


_rounded_weight = lru_cache(maxsize=256)(rounded)  # a scorecard has a few hundred points


def encode_score(score: Score) -> bytes:
    """`score` as one JSON object. Equal scores give equal bytes. Raises ValueError on a number that is not finite."""
    stamp, half_life_us = score.stamp, score.half_life_us
    # a stamp with a generation has all fields, and is written as it stands
    written: Any = stamp if stamp.generation else _Stamp(stamp.epoch, stamp.offset)
    data = _encode(
        _Score(
            score.account,
            round(score.bot * 1_000_000) / 1_000_000,
            round(score.scam * 1_000_000) / 1_000_000,
            round(score.risk * 1_000_000) / 1_000_000,
            list(map(reason_document, score.reasons)),
            time_of(score.at_us),
            time_of(score.scored_at_us),
            written,
            score.scorecard,
            VERSION,
            half_life_us / 1_000_000 if half_life_us else msgspec.UNSET,
            _rounded_weight(score.base) if half_life_us else msgspec.UNSET,
            msgspec.UNSET if score.acts else False,
            score.models or msgspec.UNSET,
            msgspec.UNSET if score.shadow is None else _shadow(score.shadow),
        )
    )
    return with_unknown_fields(data, score.extra) if score.extra else data


def _shadow(shadow: ShadowScore) -> _Shadow:
    bot, scam, risk = rounded(shadow.bot), rounded(shadow.scam), rounded(shadow.risk)
    return _Shadow(bot, scam, risk, shadow.scorecard, shadow.models or msgspec.UNSET)


def _read_shadow(shadow: _Shadow | msgspec.UnsetType | None) -> ShadowScore | None:
    if shadow is msgspec.UNSET or shadow is None:
        return None
    return ShadowScore(shadow.bot, shadow.scam, shadow.risk, shadow.scorecard, shadow.models or "")


def reason_document(reason: Reason) -> ReasonDocument:
    """The reason as it is written, with rounded numbers."""
    value, second = reason.value, reason.second
    return ReasonDocument(
        reason.signal,
        None if value is None else round(value * 1_000_000) / 1_000_000,
        _rounded_weight(reason.weight),
        msgspec.UNSET if second is None else round(second * 1_000_000) / 1_000_000,
    )


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
        half_life_us, base = _decay(document)
        extra = unknown_fields(data, _KNOWN, VERSION, document.version)
    except (*UNDECODABLE, ValueError, StateUnreadable) as error:
        raise StateUnreadable(f"not a score: {error}") from error
    for name in ("bot", "scam", "risk"):
        if not 0.0 <= getattr(document, name) <= 1.0:
            raise StateUnreadable(f"not a score: `{name}` is outside 0 to 1")
    return Score(
        document.account,
        document.bot,
        document.scam,
        document.risk,
        tuple(
            Reason(r.signal, r.value, r.weight, None if r.second is msgspec.UNSET else r.second)
            for r in document.reasons
        ),
        at_us,
        scored_at_us,
        _read(document.stamp),
        document.scorecard,
        extra,
        half_life_us,
        base,
        document.acts is not False,
        document.models or "",
        _read_shadow(document.shadow),
    )


def _read(stamp: _Stamp) -> Stamp:
    return Stamp(stamp.epoch, stamp.offset, stamp.partition or 0, stamp.partitions or 0, stamp.generation or 0)


def _decay(document: _Score) -> tuple[int, float]:
    """The half-life in µs and the base. Raises StateUnreadable where they cannot be true."""
    if document.half_life is msgspec.UNSET or document.half_life is None:
        return 0, 0.0
    if not 0.0 < document.half_life <= LONGEST_HALF_LIFE_S:
        raise StateUnreadable("`half_life` is not between 0 and 10 years")
    base = 0.0 if document.base is msgspec.UNSET else document.base
    if not 0.0 <= base <= 1.0:
        raise StateUnreadable("`base` is outside 0 to 1")
    return max(1, round(document.half_life * 1_000_000)), base


def stored_score(scored: EncodedScore) -> bytes:
    """A score as Redis stores it."""
    score, data = scored
    stamp = score.stamp
    length, sections = sections_of(
        stamp.epoch, stamp.generation, stamp.partitions, stamp.partition, score.half_life_us, score.base, score.acts
    )
    return pack_head(rounded(score.risk), score.at_us, stamp.offset, length) + sections + data


def sections_of(
    epoch: str, generation: int, partitions: int, partition: int, half_life_us: int, base: float, acts: bool
) -> tuple[int, bytes]:
    """The length of the epoch, and the head of a stored score from the epoch on."""
    head = encoded = epoch.encode()
    if half_life_us or not acts:
        head += _DECAY.pack(_WITH_DECAY, half_life_us.to_bytes(7, "little"), round(base * 1_000_000), acts)
    if generation:
        head += _STAMP.pack(_WITH_STAMP, generation.to_bytes(7, "little"), partitions, partition)
    return len(encoded), head


class StoredRisk(NamedTuple):
    """What a check reads of a stored score: the numbers before its document, which may be of a newer version."""

    risk: float
    at_us: int
    half_life_us: int = 0
    base: float = 0.0
    acts: bool = True


def decode_stored_risk(value: bytes) -> StoredRisk:
    """The risk by which a check judges, as the take script reads it. Raises StateUnreadable."""
    if len(value) < _RISK.size:
        raise StateUnreadable("a stored score is cut short")
    risk, at = _RISK.unpack_from(value)
    if not (0.0 <= risk <= 1.0 and 0.0 <= at < 2.0**53):
        raise StateUnreadable("a stored score whose risk or time cannot be true")
    start = _HEAD.size + _HEAD.unpack_from(value)[3] if len(value) >= _HEAD.size else len(value)
    form = _DECAYS.get(value[start]) if start < len(value) else None
    if form is None or len(value) < start + form.size:
        return StoredRisk(risk, int(at))
    _, stored_half_life, stored_base, acts = form.unpack_from(value, start)
    is_narrow = isinstance(stored_half_life, bytes)
    half_life = int.from_bytes(stored_half_life, "little") if is_narrow else stored_half_life
    base = stored_base / 1_000_000 if is_narrow else stored_base
    if not (0.0 <= half_life < 2.0**53 and 0.0 <= base <= 1.0 and acts <= 1):
        return StoredRisk(risk, int(at))
    return StoredRisk(risk, int(at), int(half_life), base, acts == 1)


def decode_stored_score(value: bytes) -> Score:
    """The score that Redis stores as `value`. Raises StateUnreadable."""
    if len(value) < _HEAD.size:
        raise StateUnreadable("a stored score is cut short")
    start = _HEAD.size + _HEAD.unpack_from(value)[3]
    for sizes in _SECTIONS:
        start += sizes.get(value[start] if start < len(value) else 0, 0)
    return decode_score(value[start:])
