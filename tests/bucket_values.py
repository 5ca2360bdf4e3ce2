"""Stored values of buckets in their parts, as a reference for the scripts that move TATs in them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gate.stores.redis.layout import account_header, header

TAT = struct.Struct("<d")
MOST_ENTRIES = 101
"""Limits that a policy lacks, as which an account's value keeps no more."""


@dataclass(frozen=True, slots=True)
class Value:
    """A stored value; `kind` says what follows the TATs: nothing (`shared`), or what an `account` has, or `earlier account`.

    `lasts` and `reservations` are an account's, `behind` are its reservations.
    """

    kind: str
    tats: Sequence[tuple[bytes, float]] = ()
    entries: Sequence[tuple[bytes, float]] = ()
    behind: bytes = b""
    lasts: int = 77
    reservations: int = 3

    @property
    def is_own(self) -> bool:
        return self.kind != "shared"

    def __bytes__(self) -> bytes:
        ids = [id_ for id_, _ in self.tats]
        head = account_header(ids) if self.kind == "account" else header(ids)
        numbers = b"".join(TAT.pack(tat) for _, tat in self.tats)
        more = {"account": "<IBB", "earlier account": "<dBB"}.get(self.kind)
        between = struct.pack(more, self.lasts, len(self.entries), self.reservations) if more else b""
        return head + numbers + between + b"".join(id_ + TAT.pack(tat) for id_, tat in self.entries) + self.behind

    def tat(self, id_: bytes) -> float | None:
        """The TAT of that limit, None where it has none."""
        return dict([*self.entries, *self.tats]).get(id_)

    def place(self, id_: bytes) -> int:
        """Where the TAT of that limit begins, counted from 1; 0 where it has none."""
        start = 1 + 4 * len(self.tats)
        for n, (each, _) in enumerate(self.tats):
            if each == id_:
                return start + 8 * n + 1
        start += 8 * len(self.tats) + {"account": 6, "earlier account": 10}.get(self.kind, 0)
        return next((start + 12 * n + 5 for n, (each, _) in enumerate(self.entries) if each == id_), 0)

    def moved(self, id_: bytes, tat: float) -> Value:
        """The same with another TAT of the limit, which is an entry if the layout lacks it."""

        def changed(known: Sequence[tuple[bytes, float]]) -> list[tuple[bytes, float]]:
            return [(each, tat if each == id_ else was) for each, was in known]

        if any(each == id_ for each, _ in self.tats):
            return replace(self, tats=changed(self.tats))
        if any(each == id_ for each, _ in self.entries):
            return replace(self, entries=changed(self.entries))
        if self.is_own and len(self.entries) == MOST_ENTRIES:
            return self
        return replace(self, entries=[*self.entries, (id_, tat)])
