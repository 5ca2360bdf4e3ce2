"""The members of one feature, packed: eight bytes an account, those that showed it longest ago first.

A member is a 64-bit number: 15 bits of the day on which the account last showed the feature, one bit that says whether
the account was established then, 16 bits of its partition, 32 bits of its hash. Days are compared modulo 2^15, so a
member would come back to life after 89 years.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct

from streams.core.crowd.kinds import CEILING

SIZE = 8
ESTABLISHED = 1 << 48
WHO = ESTABLISHED - 1
WHO_AND_HOW = ESTABLISHED | WHO
"""All of a member but its day."""
FULL = CEILING * SIZE
"""In a row shorter than this every partition has room."""
DAY_BITS = 49
"""The lowest bit of a member's day."""
DAY = 0x7FFF
_UNESTABLISHED = bytes(range(0, 256, 2))
TOLD = 6
"""Bytes of a member in a record. The record's key names the partition, so its members do not."""
_member = Struct(">HHI")
_told = Struct(">HI")


def day_bits(day: int) -> int:
    """The bits of a day in a member. They are not 0 until the year 2059, so no member is 0, which means none."""
    return (day + 1 & DAY) << DAY_BITS


def member(partition: int, account: int, day: int, established: bool) -> int:
    """One account of a partition, which showed the feature on `day`."""
    return day_bits(day) | established << 48 | (partition & 0xFFFF) << 32 | account & 0xFFFF_FFFF


def age(one: int, today: int) -> int:
    """Days since a member showed the feature."""
    return (today + 1 - (one >> DAY_BITS)) & DAY


def live(row: bytes, today: int, days: int) -> bytes:
    """The members of the last `days` days."""
    at = 0
    while at < len(row) and (today + 1 - (row[at] << 7 | row[at + 1] >> 1)) & DAY >= days:
        at += SIZE
    return row[at:] if at else row


def newest_age(row: bytes, today: int) -> int:
    """Days since any account showed the feature."""
    return (today + 1 - (row[-8] << 7 | row[-7] >> 1)) & DAY


def established(row: bytes) -> int:
    """How many members are established."""
    return len(row[1::SIZE].translate(None, _UNESTABLISHED))


def position(row: bytes, who: bytes) -> int:
    """The position of the member with these last six bytes; -1 if there is none."""
    at = row.find(who)
    while at >= 0 and at & 7 != 2:
        at = row.find(who, at + 1)
    return at - 2 if at >= 0 else -1


def first_of(row: bytes, partition: bytes) -> tuple[int, int]:
    """The number of members of the partition (two bytes), and the position of the first."""
    highs, lows = row[2::SIZE], row[3::SIZE]
    if highs.count(partition[0]) == len(highs):  # as where there are no more than 256 partitions
        return lows.count(partition[1]), SIZE * lows.find(partition[1]) if partition[1] in lows else -1
    starts = [at for at in range(0, len(row), SIZE) if row[at + 2 : at + 4] == partition]
    return len(starts), starts[0] if starts else -1


def unpacked(row: bytes, today: int) -> Iterator[tuple[int, bool, int]]:
    """Yields for each member its age in days, whether it is established, and its partition."""
    for code, partition, _ in _member.iter_unpack(row):
        yield (today + 1 - (code >> 1)) & DAY, bool(code & 1), partition


def whole(row: bytes, today: int) -> Iterator[tuple[int, bool, int, int]]:
    """Yields for each member its age in days, whether it is established, its partition and its hash."""
    for code, partition, account in _member.iter_unpack(row):
        yield (today + 1 - (code >> 1)) & DAY, bool(code & 1), partition, account


def whom(row: bytes) -> Iterator[tuple[int, int]]:
    """Yields the partition and the hash of each member."""
    for _, partition, account in _member.iter_unpack(row):
        yield partition, account


def of_partition(row: bytes, partition: int) -> bytes:
    """The members of one partition in a row, six bytes each, without the partition."""
    high, low = divmod(partition & 0xFFFF, 256)
    if row[2::SIZE].count(high) * SIZE == row[3::SIZE].count(low) * SIZE == len(row):  # as most are
        theirs = row
    else:
        key = bytes((high, low))
        theirs = b"".join([row[at : at + SIZE] for at in range(0, len(row), SIZE) if row[at + 2 : at + 4] == key])
    told = bytearray(len(theirs) // SIZE * TOLD)
    for to, at in enumerate((0, 1, 4, 5, 6, 7)):
        told[to::TOLD] = theirs[at::SIZE]
    return bytes(told)


def unknown_of(told: bytes, known: bytes) -> bytes:
    """The members of `told` after those that `known` has in the same order; both are from `of_partition`.

    Most records repeat the known members with one more at the end, and without the first if there is no room.
    """
    at = known.find(told[:TOLD])
    if at < 0 or at % TOLD:
        return told
    both = min(len(told), len(known) - at)
    return told[both:] if told[:both] == known[at : at + both] else told


def read_back(told: bytes, partition: int, today: int, days: int) -> list[int]:
    """The members of the last `days` days in bytes that `of_partition` made; none if the length shows other bytes.

    Another partition may have reached a later day than today; its members count as members of today.
    """
    if len(told) % TOLD or len(told) > CEILING * TOLD:
        return []
    found: list[int] = []
    for code, account in _told.iter_unpack(told):
        own_age = (today + 1 - (code >> 1)) & DAY
        if own_age > DAY - days:
            found.append(member(partition, account, today, bool(code & 1)))
        elif own_age < days:
            found.append(code << 48 | (partition & 0xFFFF) << 32 | account)
    return found


def inserted(row: bytes, one: int, today: int) -> bytes:
    """The row with one more member, at its place in the order of days."""
    packed, own_age, at = one.to_bytes(SIZE, "big"), age(one, today), len(row)
    if not own_age:
        return row + packed
    while at and age(int.from_bytes(row[at - SIZE : at], "big"), today) < own_age:
        at -= SIZE
    return row + packed if at == len(row) else row[:at] + packed + row[at:]


def all_inserted(row: bytes, ones: Sequence[int], today: int) -> bytes:
    """The row with these members more, as if each were `inserted` after the one before it."""
    added = b"".join([one.to_bytes(SIZE, "big") for one in ones])
    latest = today + 1 & DAY
    if all(one >> DAY_BITS == latest for one in ones):
        return row + added
    both = row + added
    members = [both[at : at + SIZE] for at in range(0, len(both), SIZE)]
    members.sort(key=lambda member: -((latest - (member[0] << 7 | member[1] >> 1)) & DAY))
    return b"".join(members)
