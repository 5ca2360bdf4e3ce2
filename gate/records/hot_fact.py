"""Hot facts as bytes: the records of topic `crowd.hot.v1`, and the entries of the stream in Redis.

Key: `device:` or `network:` and the 16 hex digits of the pseudonym, or `newcomer:` and those of the seconds between creation
and first upload up to which it holds. Value, or a tombstone where it is not hot any more:

    {"accounts": 30, "established": 0, "risk": 0.776, "expires": "2026-12-03", "version": 1, "later_risk": 0.391,
     "salt": "9c1f03ab"}

`risk` holds for accounts up to a day old, `later_risk` for older ones; if it is absent, `risk` holds for them too.
`expires` is the first day, in UTC, on which the fact does not hold. `salt` identifies the worker's salt. Fields of a
newer version are passed over.
"""

from __future__ import annotations

from datetime import date
from typing import Final, NamedTuple

import msgspec

from gate.core.fields.parse import UNDECODABLE
from gate.core.hot_facts import HotKind, SharedFeature
from gate.errors import StateUnreadable

VERSION: Final = 1
MAX_BYTES: Final = 4_096
_EPOCH: Final = date(1970, 1, 1).toordinal()
_HEX: Final = frozenset("0123456789abcdef")
_DIGITS: Final = 16
MARK_CHARS: Final = 8
_KINDS: Final = frozenset(kind.value for kind in HotKind)


class HotKey(NamedTuple):
    """Which feature a record speaks of."""

    kind: HotKind
    hash: str


class _HotFact(msgspec.Struct, gc=False):
    accounts: int
    established: int
    risk: float
    expires: date
    version: int = VERSION
    later_risk: float | msgspec.UnsetType = msgspec.UNSET
    salt: str | msgspec.UnsetType = msgspec.UNSET


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_HotFact).decode


def encode_hot_key(kind: HotKind, hash_: str) -> bytes:
    """The key of a feature."""
    return f"{kind}:{hash_}".encode()


def encode_hot_fact(fact: SharedFeature) -> bytes:
    """The value of a fact."""
    expires = date.fromordinal(_EPOCH + fact.expires_day)
    later = msgspec.UNSET if fact.later_risk is None else round(fact.later_risk, 6)
    salt = fact.salt_mark or msgspec.UNSET
    risk = round(fact.risk, 6)
    return _encode(_HotFact(fact.accounts, fact.established, risk, expires, later_risk=later, salt=salt))


def decode_hot_key(key: bytes | None) -> HotKey:
    """The feature that a key names. Raises StateUnreadable."""
    kind, colon, hash_ = (key or b"").decode("ascii", "replace").partition(":")
    if not colon or kind not in _KINDS or len(hash_) != _DIGITS or not _HEX.issuperset(hash_):
        raise StateUnreadable("not the key of a hot fact")
    return HotKey(HotKind(kind), hash_)


def decode_hot_fact(key: HotKey, value: bytes) -> SharedFeature:
    """The fact in a record. Raises StateUnreadable."""
    if len(value) > MAX_BYTES:
        raise StateUnreadable(f"a hot fact of {len(value)} bytes, more than {MAX_BYTES}")
    try:
        read = _decode(value)
    except (*UNDECODABLE, ValueError) as error:
        raise StateUnreadable(f"not a hot fact: {error}") from error
    later = None if read.later_risk is msgspec.UNSET else read.later_risk
    is_risk = 0.0 <= read.risk <= 1.0 and (later is None or 0.0 <= later <= 1.0)
    if read.version < 1 or not is_risk or not 0 <= read.established <= read.accounts:
        raise StateUnreadable("not a hot fact: a number in it cannot be true")
    expires_day = read.expires.toordinal() - _EPOCH
    salt = "" if read.salt is msgspec.UNSET else read.salt[:MARK_CHARS]
    return SharedFeature(key.kind, key.hash, read.accounts, read.established, read.risk, expires_day, later, salt)
