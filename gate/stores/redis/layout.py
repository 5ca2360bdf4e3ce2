"""The values that the take script stores, as Python reads them: buckets, reservations, and the names of their keys.

    {prefix}2a:{ACCOUNT}            the account's buckets and its last reservations
    {prefix}2r:{ACCOUNT}N:UPLOAD    one reservation more, where the account has many; N is the length of the account's id;
                                    a hash stands for the id of an upload that is too long
    {prefix}2b:ENTITY               the buckets of a network, a device, a class or the platform
    {prefix}2f:ENTITY               the reservations of an entity that are open, where a limit counts them
    {prefix}2limits                 which limits each class had whose reservations are kept, by tag
    {prefix}2due                    reservations whose tokens return at the end of their lifetime, sorted by it; on a Cluster
                                    a list for each slot, {prefix}2due:{TAG}

The `2` is the version of the layout: gates of another layout never read these keys.

    buckets      n (u8), n limit ids (4 bytes), n TATs (doubles), then entries of limits that this policy does not have
    account      n + 64, ids, TATs as above, until when reservations last (u32, seconds), number of such entries (u8), number of
                 reservations (u8; 128 is added once one has a key of its own), the entries, the reservations; without the
                 64 until when reservations last is a double, in µs
    entry        limit id (4 bytes), TAT (double)
    reservation  its length (u16), name (u8 length), state, flags (u8), attempt (u32), began (double), µs until it ends (u48),
                 fingerprint (u16 length), then, by its flags: 64 names by newline (u16 length), 1 risk and its time (doubles),
                 and what was taken. Last comes, by the flag 2, who has the answer: attempts (u32), their number (u8). 8: the
                 score does not act, 16: its tokens return, 32: other checks have the answer too, without 2 nobody knows
                 which, 128: an earlier reservation of the upload had ended. Where it is settled, the number of the call that
                 settled it (u32) stands in the place of what was taken
    taken        tag of the limits (4 bytes), then, where every limit gave, the cost of each that counts bytes (u48), or, by the
                 flag 4, of each limit that gave  subject + 8 for bytes + 16 for what is in flight (u8), name of a shared
                 entity (u8 length), limit id, cost (u48)
    in flight    limit id (4 bytes), when it ends (double)

    fingerprint  of a check with network and device: 1 (u8), size (u56), their pseudonyms (8 bytes each), the first 4 bytes of
                 the SHA-1 of class and kind by newline; else class, kind, size, network and device by newline

All numbers are little-endian, times are µs. A limit id is a hash of the limit's name, so a policy may add, remove and reorder
limits. A debt is an entry under the limit's `debt_id`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from gate.core.duration import HOUR_US
from gate.core.fields.parse import UNDECODABLE
from gate.core.limits.gcra import LATEST_TAT_US, Refusal, Took
from gate.core.limits.limit import EntityLimits, Rate
from gate.core.limits.reservation import Reservation, ReservationState
from gate.core.limits.take import ClassLimits
from gate.core.standing import Standing
from gate.errors import StateUnreadable
from gate.stores.redis.account_keys import account_in, in_key
from gate.stores.redis.connections.cluster_map import tags

LATE_US: Final = HOUR_US
"""How long a reservation is kept beyond its lifetime, at most another one, so that a late report learns what happened."""
MOST_IN_VALUE: Final = 54
"""Reservations that lie in an account's value; each further one has a key of its own. It is a multiple of `FEW` in
`lua/take.lua`, because the script looks at each multiple of that whether there are too many."""
LONGEST_UPLOAD: Final = 250
"""Bytes of an upload's id that its name holds. The length of a name is one byte of its reservation."""
NAMED: Final = 3
NARROW: Final = 64
"""Added to the number of limits in an account's value; values of earlier releases lack it."""
_BY_BYTES, _IN_FLIGHT = 8, 16
_SCORED, _HELD, _LISTED, _DOES_NOT_ACT, _RETURNS, _SHARED, _NAMES, _ANEW = 1, 2, 4, 8, 16, 32, 64, 128
FINGERPRINT: Final = struct.Struct("<Q16s4s")
_HEAD = struct.Struct("<BBId6sH")
_ACCOUNT = struct.Struct("<IBB")
_WIDE_ACCOUNT = struct.Struct("<dBB")
_ENTRY = struct.Struct("<4sd")
_TIMES = struct.Struct("<dd")
_SIZE = struct.Struct("<H")


def account_key(prefix: str, account: str) -> str:
    """The key of an account's buckets and reservations."""
    return f"{prefix}2a:{{{in_key(account)}}}"


def upload_key(prefix: str, account: str, upload_id: str) -> str:
    """The key of a reservation where it has one of its own."""
    return f"{prefix}2r:{{{in_key(account)}}}{upload_name(account, upload_id)}"


def due_key(prefix: str, slot: int | None = None) -> str:
    """The key of the list of what is due, on a Cluster that of one slot."""
    return f"{prefix}2due" if slot is None else f"{prefix}2due:{{{tags()[slot]}}}"


def upload_name(account: str, upload_id: str) -> str:
    """The name of an upload among those of its account."""
    raw = upload_id.encode()
    return f"{len(account)}:{upload_id if len(raw) <= LONGEST_UPLOAD else upload_hash(raw)}"


def upload_hash(raw: bytes) -> str:
    """The hash that replaces an upload's id in its name where the id is longer than LONGEST_UPLOAD."""
    return blake2b(raw, digest_size=32).hexdigest()


def upload_of_key(prefix: str, key: str) -> tuple[str, str] | None:
    """Account and upload of an `upload_key`; None if it is none."""
    rest = key.removeprefix(f"{prefix}2r:{{")
    end = rest.find("}")
    while end >= 0:
        length, colon, upload_id = rest[end + 1 :].partition(":")
        account = account_in(rest[:end])
        if colon and length == str(len(account)):
            return account, upload_id
        end = rest.find("}", end + 1)
    return None


def header(ids: Sequence[bytes]) -> bytes:
    """The head of a value with buckets of these limits."""
    return bytes([len(ids)]) + b"".join(ids)


def account_header(ids: Sequence[bytes]) -> bytes:
    """The head of an account's value with buckets of these limits."""
    return bytes([NARROW + len(ids)]) + b"".join(ids)


class Described(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The limits of a class as reservations refer to them. All that are `leased` gave, from the lease of a gate."""

    name: str
    limits: tuple[DescribedLimit, ...]
    leased: tuple[DescribedLimit, ...] = ()


class DescribedLimit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One limit: the code of its subject, the name of a shared entity, its id, what it counts, its cost and its rate."""

    code: int
    entity: str
    id: bytes
    by_bytes: bool
    in_flight: bool
    cost_us: int
    rate: int = 0
    per_us: int = 0

    def took(self, cost_us: int | None = None) -> bytes:
        """How a reservation states an amount taken from the limit, without the cost where that is None."""
        flags = (_BY_BYTES if self.by_bytes else 0) | (_IN_FLIGHT if self.in_flight else 0)
        raw = self.entity.encode()
        named = bytes([len(raw)]) + raw if self.code == NAMED else b""
        cost = b"" if cost_us is None else cost_us.to_bytes(8, "little")[:6]
        return bytes([self.code | flags]) + named + self.id + cost


def described(limits: ClassLimits) -> Described:
    """The limits of a class, in the order of their numbers."""
    own = zip((0, 1, 2), (limits.account, limits.ip, limits.device), strict=True)
    parts = [*((code, "", each) for code, each in own if each is not None)]
    parts += [(NAMED, each.entity, each.limits) for each in limits.shared]
    leased = [(NAMED, each.entity, each.limits) for each in limits.leased]
    return Described(limits.name, _described(parts), _described(leased))


def _described(parts: Sequence[tuple[int, str, EntityLimits]]) -> tuple[DescribedLimit, ...]:
    return tuple(
        DescribedLimit(
            code,
            entity,
            at.id,
            at.by_bytes,
            at.in_flight,
            0 if at.in_flight else at.rate.cost_us(1),
            at.rate.rate,
            at.rate.per_us,
        )
        for code, entity, each in parts
        for at in each.limits
    )


def tagged(description: Described) -> tuple[bytes, bytes]:
    """The tag of a description, which is a hash of it, and its bytes."""
    data = _encode(description)
    return blake2b(data, digest_size=4).digest(), data


def read_described(data: bytes) -> Described:
    """The description in `data`. Raises StateUnreadable."""
    try:
        return _decode(data)
    except UNDECODABLE as error:
        raise StateUnreadable(f"not the limits of a class: {error}") from error


def read_buckets(value: bytes | None, account: bool = False) -> tuple[dict[bytes, int], bytes]:
    """The TATs of a value by limit id, debts included, and the reservations after them.

    A number that is no time is read as one later than any, which the model corrects as the take script does.
    """
    if not value:
        return {}, b""
    is_narrow = value[0] >= NARROW
    count, behind = value[0] - NARROW * is_narrow, _ACCOUNT if is_narrow else _WIDE_ACCOUNT
    start = 1 + 12 * count
    if len(value) < start + (behind.size if account else 0):
        return {}, b""
    ids = [value[1 + 4 * n : 5 + 4 * n] for n in range(count)]
    tats = dict(zip(ids, struct.unpack_from(f"<{count}d", value, 1 + 4 * count), strict=True))
    entries, records = value[start:], b""
    if account:
        _, foreign, _ = behind.unpack_from(value, start)
        at = start + behind.size
        entries, records = value[at : at + 12 * foreign], value[at + 12 * foreign :]
    whole = len(entries) - len(entries) % _ENTRY.size
    tats |= dict(_ENTRY.iter_unpack(entries[:whole]))
    return {
        id_: int(tat) if tat <= LATEST_TAT_US else LATEST_TAT_US + 1 for id_, tat in tats.items() if not tat < 0
    }, records


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


def read_reservation(record: bytes) -> tuple[Reservation, bytes]:
    """The reservation in `record` without what was taken, and the bytes that say so. Raises StateUnreadable."""
    try:
        what = _read_fingerprint(fingerprint_in(record))
        _, _, size, _, _ = what.split("\n")
        int(size)
    except ValueError as error:
        raise StateUnreadable(f"not a reservation: {error}") from error
    kept, flags, at = _read_answer(record, what)
    end, holders = len(record), ()
    if flags & _HELD:
        end -= 1 + 4 * record[-1]
        if end < at:
            raise StateUnreadable("a reservation that names more checks than it can hold")
        holders = struct.unpack_from(f"<{record[-1]}I", record, end)
    kept = msgspec.structs.replace(kept, holders=holders)
    is_open = kept.state is ReservationState.OPEN
    return kept, bytes([flags & _LISTED]) + (record[at:end] if is_open else b"")


def read_answer(record: bytes, what: str) -> Reservation:
    """What a check of the upload is answered: the reservation without what was taken and who has the answer.

    `what` stands in the place of the fingerprint in the record, which need not be readable. Raises StateUnreadable.
    """
    return _read_answer(record, what)[0]


def _read_answer(record: bytes, what: str) -> tuple[Reservation, int, int]:
    """The same, its flags, and where what was taken begins."""
    try:
        at = 3 + record[2]
        state, flags, attempt, began, span, length = _HEAD.unpack_from(record, at)
        if not 0.0 <= began <= LATEST_TAT_US:
            raise StateUnreadable("a reservation that began at no time")
        at += _HEAD.size + length
        names, standing = b"", Standing()
        if flags & _NAMES:
            (length,) = _SIZE.unpack_from(record, at)
            names, at = record[at + 2 : at + 2 + length], at + 2 + length
        if flags & _SCORED:
            risk, scored_at = _TIMES.unpack_from(record, at)
            if not (0.0 <= risk <= 1.0 and 0.0 <= scored_at <= LATEST_TAT_US):
                raise StateUnreadable("a reservation whose risk cannot be true")
            standing = Standing(risk, int(scored_at), as_of_us=int(began), acts=not flags & _DOES_NOT_ACT)
            at += _TIMES.size
        if at > len(record):
            raise StateUnreadable("a reservation that is cut short")
        until = int(began) + int.from_bytes(span, "little")
        shadow = tuple(names.decode(errors="replace").split("\n")) if names else ()
        refused = state == ReservationState.REFUSED
        kept = Reservation(
            what, ReservationState(state), attempt, int(began), until, standing, () if refused else shadow, (),
            Refusal(shadow[0], until) if refused else None, bool(flags & _RETURNS),
            flags & (_SHARED | _HELD) == _SHARED, (), bool(flags & _ANEW),
        )  # fmt: skip
        return kept, flags, at
    except (IndexError, ValueError, OverflowError, struct.error) as error:
        raise StateUnreadable(f"not a reservation: {error}") from error


def fingerprint_in(record: bytes) -> bytes:
    """The fingerprint as the reservation has it. Raises StateUnreadable."""
    try:
        at = 3 + record[2]
        *_, length = _HEAD.unpack_from(record, at)
    except (IndexError, struct.error) as error:
        raise StateUnreadable(f"not a reservation: {error}") from error
    return record[at + _HEAD.size : at + _HEAD.size + length]


def _read_fingerprint(data: bytes) -> str:
    """The fingerprint as text, without class and kind where it has a hash of them."""
    if data[:1] != b"\x01" or len(data) != FINGERPRINT.size:
        return data.decode()
    size, names, _ = FINGERPRINT.unpack(data)
    return f"\n\n{size >> 8}\n{names[:8].hex()}\n{names[8:].hex()}"


def tag_of(taken: bytes) -> bytes:
    """The tag of the limits that were taken from; empty where nothing was."""
    return taken[1:5]


def with_taken(kept: Reservation, account: str, taken: bytes, limits: Described) -> Reservation:
    """The reservation with what was taken, by `read_reservation`. The name of a shared entity begins with `=`."""
    *_, size, ip, device = kept.what.split("\n")
    entities = (f"account:{{{account}}}", f"ip:{ip}" if ip else "", f"device:{device}" if device else "")
    found: list[Took] = []
    rates = {limit.id: Rate(limit.rate, limit.per_us, 1) for limit in limits.limits if limit.by_bytes}
    at = 5
    try:
        if taken[0] & _LISTED:
            while at < len(taken):
                flags, at = taken[at], at + 1
                entity = "" if flags & 7 == NAMED else entities[flags & 7]
                if flags & 7 == NAMED:
                    end = at + 1 + taken[at]
                    entity, at = "=" + taken[at + 1 : end].decode(), end
                cost = int.from_bytes(taken[at + 4 : at + 10], "little")
                rate = rates.get(taken[at : at + 4]) if flags & _BY_BYTES else None
                found.append(Took(entity, taken[at : at + 4].hex(), cost, rate, bool(flags & _IN_FLIGHT)))
                at += 10
        else:
            for limit in limits.limits:
                entity = f"={limit.entity}" if limit.code == NAMED else entities[limit.code]
                cost = limit.cost_us
                if entity and limit.by_bytes:
                    cost, at = int.from_bytes(taken[at : at + 6], "little"), at + 6
                if entity:
                    found.append(Took(entity, limit.id.hex(), cost, rates.get(limit.id), limit.in_flight))
    except (IndexError, ValueError) as error:
        raise StateUnreadable(f"not what was taken: {error}") from error
    for limit in limits.leased:
        rate = Rate(limit.rate, limit.per_us, 1) if limit.by_bytes else None
        cost = limit.cost_us if rate is None else rate.cost_us(int(size))
        found.append(Took(limit.entity, limit.id.hex(), cost, rate, leased=True))
    return msgspec.structs.replace(kept, took=tuple(found))


def settled_record(record: bytes, state: ReservationState, number: bytes) -> bytes:
    """The same reservation in another state, without what was taken. `number` is that of the call that settles it."""
    at = 3 + record[2]
    _, flags, *_, length = _HEAD.unpack_from(record, at)
    end = at + _HEAD.size + length
    if flags & _NAMES:
        end += 2 + _SIZE.unpack_from(record, end)[0]
    if flags & _SCORED:
        end += _TIMES.size
    head = _SIZE.pack(end + len(number)) + record[2:at] + bytes([state, flags & ~_HELD])
    return head + record[at + 2 : end] + number


def held_record(record: bytes, holders: Sequence[int]) -> bytes:
    """The same reservation, of which these checks have the answer."""
    at = 3 + record[2]
    flags = record[at + 1]
    end = len(record) - (1 + 4 * record[-1] if flags & _HELD else 0)
    named = struct.pack(f"<{len(holders)}IB", *holders, len(holders))
    head = _SIZE.pack(end + len(named)) + record[2 : at + 1] + bytes([flags | _HELD | _SHARED])
    return head + record[at + 2 : end] + named


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Described).decode
