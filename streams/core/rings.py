"""Bounded memories of what an account showed lately, packed as bytes.

A *ring* keeps the last few distinct items in the order they came. *Dated items* keep the few distinct items that were
shown last by event time, each with when that was; they are the same in whatever order events come.
"""

from __future__ import annotations

MARK = 4
"""Bytes of an item of a ring."""


def remembered(ring: bytes, mark: bytes, items: int) -> bytes:
    """The ring with `mark` in it, in place of the oldest of `items`; the same object where it was in it already."""
    if mark in ring and _place(ring, mark, MARK) >= 0:
        return ring
    return (ring + mark)[-items * MARK :]


def dated(kept: bytes, item: bytes, date: bytes, items: int) -> bytes:
    """The dated items with `item` shown at `date` among them; at most `items`, the latest first.

    Dates are big-endian numbers of one size; an item that was shown twice keeps the later date.
    """
    one = date + item
    size = len(one)
    if kept.startswith(one):
        return kept
    entries = {kept[at + len(date) : at + size]: kept[at : at + size] for at in range(0, len(kept), size)}
    before = entries.get(item)
    if before is None or before < one:
        entries[item] = one
    return b"".join(sorted(entries.values(), reverse=True)[:items])


def _place(ring: bytes, mark: bytes, size: int) -> int:
    at = ring.find(mark)
    while at > 0 and at % size:  # across two neighbours, which is nobody's mark
        at = ring.find(mark, at + 1)
    return at
