"""The values that the take script stores, as Python reads them: buckets, reservations, and the names of their keys.

    {prefix}2a:{ACCOUNT}            the account's buckets and its last reservations
    {prefix}2r:{ACCOUNT}N:UPLOAD    one reservation more, where the account has many; N is the length of the account's id
    {prefix}2b:ENTITY               the buckets of a network, a device, a class or the platform
    {prefix}2f:ENTITY               the reservations of an entity that are open, where a limit counts them
    {prefix}2due                    reservations whose tokens return at the end of their lifetime, sorted by it

The `2` is the version of the layout: gates of another layout never read these keys.

    buckets      n (u8), n limit ids (4 bytes), n TATs (doubles), then entries of limits that this policy does not have
    account      n, ids, TATs as above, until when reservations last (double), number of such entries (u8), number of
                 reservations (u8; 128 is added once one has a key of its own), the entries, the reservations
    entry        limit id (4 bytes), TAT (double)
    reservation  its length (u16), upload (u8 length), state, flags (u8), attempt (u32), began (double), µs until it ends (u48),
                 fingerprint (u16 length), then, by its flags: 64 names by newline (u16 length), 1 risk and its time (doubles),
                 32 class of the limits (u8 length), and what was taken to the end. 8: the score does not act, 16: it returns
    taken        subject + 8 for bytes + 16 for what is in flight (u8), name of a shared entity (u8 length), limit id, cost (u48)
    in flight    limit id (4 bytes), when it ends (double)

All numbers are little-endian, times are µs. A limit id is a hash of the limit's name, so a policy may add, remove and reorder
limits. A debt is an entry under the limit's `debt_id`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from gate.core.duration import HOUR_US
from gate.core.limits.gcra import Refusal, Took
from gate.core.limits.limit import Limit
from gate.core.limits.reservation import Reservation, ReservationState
from gate.core.standing import Standing
from gate.errors import StateUnreadable

LATE_US: Final = HOUR_US
"""How long a reservation is kept beyond its lifetime, at most another one, so that a late report is told what happened."""
CODES: Final = {"account": 0, "ip": 1, "device": 2}
NAMED: Final = 3
_BY_BYTES, _IN_FLIGHT = 8, 16
_SCORED, _DOES_NOT_ACT, _RETURNS, _OTHER_LIMITS, _NAMES = 1, 8, 16, 32, 64
_HEAD = struct.Struct("<BBId6sH")
_ACCOUNT = struct.Struct("<dBB")
_ENTRY = struct.Struct("<4sd")
_TIMES = struct.Struct("<dd")
_SIZE = struct.Struct("<H")


def account_key(prefix: str, account: str) -> str:
    """The key of an account's buckets and reservations."""
    return f"{prefix}2a:{{{account}}}"


def upload_key(prefix: str, account: str, upload_id: str) -> str:
    """The key of a reservation where it has one of its own."""
    return f"{prefix}2r:{{{account}}}{upload_name(account, upload_id)}"


def upload_name(account: str, upload_id: str) -> str:
    """The name of an upload among those of its account."""
    return f"{len(account)}:{upload_id}"


def upload_of_key(prefix: str, key: str) -> tuple[str, str] | None:
    """Account and upload of an `upload_key`; None if it is none."""
    rest = key.removeprefix(f"{prefix}2r:{{")
    end = rest.find("}")
    while end >= 0:
        length, colon, upload_id = rest[end + 1 :].partition(":")
        if colon and length == str(end):
            return rest[:end], upload_id
        end = rest.find("}", end + 1)
    return None


def header(ids: Sequence[bytes]) -> bytes:
    """The head of a value with buckets of these limits."""
    return bytes([len(ids)]) + b"".join(ids)


def took_prefix(code: int, name: str | None, limit: Limit) -> bytes:
    """What a reservation says was taken from `limit`, without the cost of bytes."""
    flags = (_BY_BYTES if limit.by_bytes else 0) | (_IN_FLIGHT if limit.in_flight else 0)
    raw = (name or "").encode()
    named = bytes([len(raw)]) + raw if code == NAMED else b""
    cost = b"" if limit.by_bytes else (0 if limit.in_flight else limit.rate.cost_us(1)).to_bytes(8, "little")[:6]
    return bytes([code | flags]) + named + limit.id + cost


def read_buckets(value: bytes | None, account: bool = False) -> tuple[dict[bytes, int], bytes]:
    """The TATs of a value by limit id, debts included, and the reservations after them."""
    if not value:
        return {}, b""
    count = value[0]
    start = 1 + 12 * count
    if len(value) < start + (_ACCOUNT.size if account else 0):
        return {}, b""
    ids = [value[1 + 4 * n : 5 + 4 * n] for n in range(count)]
    tats = dict(zip(ids, struct.unpack_from(f"<{count}d", value, 1 + 4 * count), strict=True))
    entries, records = value[start:], b""
    if account:
        _, foreign, _ = _ACCOUNT.unpack_from(value, start)
        at = start + _ACCOUNT.size
        entries, records = value[at : at + 12 * foreign], value[at + 12 * foreign :]
    whole = len(entries) - len(entries) % _ENTRY.size
    tats |= dict(_ENTRY.iter_unpack(entries[:whole]))
    return {id_: int(tat) for id_, tat in tats.items() if 0 <= tat < 2**53}, records


def read_flights(value: bytes | None) -> dict[bytes, list[int]]:
    """When what is in flight ends, by limit id."""
    found: dict[bytes, list[int]] = {}
    data = value or b""
    for id_, until in _ENTRY.iter_unpack(data[: len(data) - len(data) % _ENTRY.size]):
        if 0 <= until < 2**53:
            found.setdefault(id_, []).append(int(until))
    return found


def located(records: bytes, name: bytes) -> bytes | None:
    """The reservation of the upload `name` among `records`, None if it is not there."""
    at = 0
    while at + 3 <= len(records):
        (size,) = _SIZE.unpack_from(records, at)
        if size < 25 or at + size > len(records):
            return None
        if records[at + 2] == len(name) and records[at + 3 : at + 3 + len(name)] == name:
            return records[at : at + size]
        at += size
    return None


def read_reservation(record: bytes, account: str, limit_of: Callable[[bytes], str]) -> Reservation:
    """The reservation in `record`. `limit_of` gives the name of a limit by its id. Raises StateUnreadable."""
    try:
        at = 3 + record[2]
        state, flags, attempt, began, span, length = _HEAD.unpack_from(record, at)
        what = record[at + _HEAD.size : at + _HEAD.size + length].decode()
        at += _HEAD.size + length
        names, standing, limits = b"", Standing(), ""
        if flags & _NAMES:
            (length,) = _SIZE.unpack_from(record, at)
            names, at = record[at + 2 : at + 2 + length], at + 2 + length
        if flags & _SCORED:
            risk, scored_at = _TIMES.unpack_from(record, at)
            standing = Standing(risk, int(scored_at), as_of_us=int(began), acts=not flags & _DOES_NOT_ACT)
            at += _TIMES.size
        if flags & _OTHER_LIMITS:
            limits, at = record[at + 1 : at + 1 + record[at]].decode(), at + 1 + record[at]
        until = int(began) + int.from_bytes(span, "little")
        shadow = tuple(names.decode().split("\n")) if names else ()
        refused = state == ReservationState.REFUSED
        return Reservation(
            what, ReservationState(state), attempt, int(began), until, standing, () if refused else shadow,
            tuple(_read_taken(record[at:], account, what, limit_of)), Refusal(shadow[0], until) if refused else None,
            bool(flags & _RETURNS), limits,
        )  # fmt: skip
    except (IndexError, ValueError, OverflowError, struct.error) as error:
        raise StateUnreadable(f"not a reservation: {error}") from error


def _read_taken(data: bytes, account: str, what: str, limit_of: Callable[[bytes], str]) -> list[Took]:
    """What was taken; the name of a shared entity begins with `=`."""
    *_, ip, device = what.split("\n")
    entities = (f"account:{{{account}}}", f"ip:{ip}", f"device:{device}")
    found: list[Took] = []
    at = 0
    while at < len(data):
        flags, at = data[at], at + 1
        code = flags & 7
        if code == NAMED:
            length = data[at]
            entity, at = "=" + data[at + 1 : at + 1 + length].decode(), at + 1 + length
        else:
            entity = entities[code]
        limit, cost = limit_of(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 10], "little")
        found.append(Took(entity, limit, cost, bool(flags & _BY_BYTES), bool(flags & _IN_FLIGHT)))
        at += 10
    return found


def settled_record(record: bytes, state: ReservationState) -> bytes:
    """The same reservation in another state, without what was taken."""
    at = 3 + record[2]
    _, flags, *_, length = _HEAD.unpack_from(record, at)
    end = at + _HEAD.size + length
    if flags & _NAMES:
        end += 2 + _SIZE.unpack_from(record, end)[0]
    if flags & _SCORED:
        end += _TIMES.size
    if flags & _OTHER_LIMITS:
        end += 1 + record[end]
    return _SIZE.pack(end) + record[2:at] + bytes([state]) + record[at + 1 : end]
