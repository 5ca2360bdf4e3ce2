"""Bounded memories of an account's recent features, packed as bytes.

A *ring* keeps the marks of the last few distinct items in the order they came; all its marks have one length. *Dated
items* keep the few distinct items that were shown last by event time, each with when that was; they are the same in
whatever order events come.
"""

from __future__ import annotations


def holds(ring: bytes, mark: bytes) -> bool:
    """Whether `mark` is in the ring."""
    at = ring.find(mark)  # takes half as long as `in`
    while at > 0 and at % len(mark):  # a match across two neighbours is not a mark
        at = ring.find(mark, at + 1)
    return at >= 0


def remembered(ring: bytes, mark: bytes, items: int) -> bytes:
    """The ring with `mark` in it, in place of the oldest of `items`; the same object where it was in it already."""
    if ring.find(mark) >= 0 and holds(ring, mark):  # most marks are new
        return ring
    return (ring + mark)[-items * len(mark) :]


def dated(kept: bytes, one: bytes, date_bytes: int, items: int) -> bytes:
    """The dated items with `one` among them, at most `items`, the latest first.

    `one` is a big-endian date of `date_bytes` and the item behind it; an item that was shown twice keeps the later date.
    """
    if not kept or kept[date_bytes:] == one[date_bytes:]:  # the first item, or the only one again
        return kept if kept > one else one
    size = len(one)
    entries = {kept[at + date_bytes : at + size]: kept[at : at + size] for at in range(0, len(kept), size)}
    item = one[date_bytes:]
    before = entries.get(item)
    if before is None or before < one:
        entries[item] = one
    return b"".join(sorted(entries.values(), reverse=True)[:items])
