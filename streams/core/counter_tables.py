"""Entries of counters by key, bounded: the last ones are always known.

A table has two generations of at most `budget` entries. When the younger is full it becomes the older one, which is
forgotten; an entry that is met again moves to the younger. So the last `budget` entries are always known, and at most
twice as many are held, about 400 bytes each.
"""

from __future__ import annotations

from hashlib import blake2b

Key = str | tuple[str, str]
Entry = list[float]


def hashed_key(key: Key) -> int:
    """The 64-bit hash of a key, by which stored counters are found."""
    text = key if isinstance(key, str) else "\0".join(key)
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


class CounterTable:
    """Entries by key in two generations, and entries of a former stream by the hash of their key."""

    __slots__ = ("_budget", "_old", "_width", "_young", "former")

    def __init__(self, budget: int, width: int) -> None:
        self._budget = budget
        self._width = width
        self._young: dict[Key, Entry] = {}
        self._old: dict[Key, Entry] = {}
        self.former: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old) + len(self.former)

    def get(self, key: Key) -> Entry | None:
        found = self._young.get(key) or self._old.get(key)
        return self.former.get(hashed_key(key)) if found is None and self.former else found

    def hashed(self) -> dict[int, Entry]:
        """All entries by the hash of their key."""
        own = {hashed_key(key): entry for entries in (self._old, self._young) for key, entry in entries.items()}
        return {**self.former, **own}

    def entry(self, key: Key) -> Entry:
        """The entry, to be changed; a new one if there is none."""
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is None and self.former:
                found = self.former.pop(hashed_key(key), None)
            found = found or [0.0] * self._width
            if len(self._young) >= self._budget:
                self._old = self._young
                self._young = {}
            self._young[key] = found
        return found
