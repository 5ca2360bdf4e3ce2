"""Counters of a stream of events between a source and a target: what was usual until now, and what the labels said.

An event has a source (an account), a target (what it acts on), a place (a device), a kind, and perhaps an amount. The
counters are read before the event is added to them, so a value never depends on its own event or a later one. They
hold, for each of the four and for pairs of them: how often, when last, decaying counts, the usual amount, how many
distinct partners, and smoothed odds of the labels. The same events in the same order give the same values.

Memory is bounded: each table has two generations of at most `budget` entries. When the younger is full it becomes the
older one, which is forgotten; an entry that is met again moves to the younger. So the last `budget` entries are always
known, and at most twice as many are held, about 400 bytes each.

Labels come late in a running system. A removal by others and a report of the upload say `learn(event, now, 1)` with
the upload's event, a passed challenge says 0. The worker does not feed these counters: those of a source would follow
from its own events alone, but those of targets, places and kinds cross partitions and would not be exact under a
replay. What accounts share is counted by the crowd there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import exp, inf, log, log1p, sqrt
from typing import Final, NamedTuple

HOUR_S: Final = 3_600.0
PARTS: Final = ("source", "target", "place", "kind")
PAIRS: Final = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (0, 4), (1, 4))
"""Pairs of parts that are counted together; 4 is the amount, to the next whole number."""
BUDGET: Final = 200_000
_NAMES: Final = (*PARTS, "amount")
_LN2: Final = log(2.0)
_NEVER: Final = 12.0
_USUAL_AMOUNT, _USUAL_SQUARE, _PRIOR = 3.0, 12.0, 2.0
_FADE: Final = 0.99
_BASE_FADE: Final = 0.9998


class CountedEvent(NamedTuple):
    """One event as the counters see it; `` stands for a part that is unknown."""

    source: str
    target: str
    place: str
    kind: str
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class HalfLives:
    """In the unit of `now`: how fast counts fade, twice, and how fast labels do, twice."""

    fast: float
    slow: float
    label_fast: float
    label_slow: float


BY_TIME: Final = HalfLives(HOUR_S, 12 * HOUR_S, 12 * HOUR_S, 168 * HOUR_S)
"""For events with times, in seconds."""
BY_COUNT: Final = HalfLives(300.0, 3_000.0, 300.0, 3_000.0)
"""For events without times: `now` is the number of the event."""


def _names() -> tuple[str, ...]:
    names = ["amount", "amount_round"]
    for part in PARTS:
        names += [
            f"{part}_{what}" for what in ("count", "gap", "fast", "slow", "burst", "amount_apart", "amount_usual")
        ]
    for one, other in PAIRS:
        pair = f"{_NAMES[one]}_{_NAMES[other]}"
        names += [f"{pair}_{what}" for what in ("share", "gap", "fast")]
        if other < len(PARTS):
            names += [f"{pair}_share_of_other", f"{pair}_spread", f"{pair}_spread_of_other"]
    return tuple(names)


def _label_names() -> tuple[str, ...]:
    pairs = [f"{_NAMES[one]}_{_NAMES[other]}" for one, other in PAIRS]
    return tuple(f"{name}_odds{speed}" for name in (*PARTS, *pairs) for speed in ("", "_fast"))


COUNT_NAMES: Final = _names()
"""The names of what `read` gives first, in order."""
LABEL_NAMES: Final = _label_names()
"""The names of what it gives after them: log odds of the labels."""

# an entry of one part: count, last, fast, slow, sum and squares and weight of amounts, distinct partners by pair,
# then labels: number, abusive, time, and the same fading fast
_COUNT, _LAST, _QUICK, _SLOW, _SUM, _SQUARES, _WEIGHT, _PARTNERS, _LABELS = 0, 1, 2, 3, 4, 5, 6, 7, 15
_WIDTH: Final = 20
# an entry of a pair: count, last, fast, then labels
_PAIR_LABELS: Final = 3
_PAIR_WIDTH: Final = 8

Key = str | tuple[str, str]


def _hash(key: Key) -> int:
    """64 bits that stand for a key where counters are kept."""
    text = key if isinstance(key, str) else "\0".join(key)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class _Table:
    """Entries by key in two generations, and entries of a former stream by the hash of their key."""

    __slots__ = ("_budget", "_old", "_width", "_young", "former")

    def __init__(self, budget: int, width: int) -> None:
        self._budget = budget
        self._width = width
        self._young: dict[Key, list[float]] = {}
        self._old: dict[Key, list[float]] = {}
        self.former: dict[int, list[float]] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old) + len(self.former)

    def get(self, key: Key) -> list[float] | None:
        found = self._young.get(key) or self._old.get(key)
        return self.former.get(_hash(key)) if found is None and self.former else found

    def hashed(self) -> dict[int, list[float]]:
        """All entries by the hash of their key."""
        own = {_hash(key): entry for entries in (self._old, self._young) for key, entry in entries.items()}
        return {**self.former, **own}

    def entry(self, key: Key) -> list[float]:
        """The entry, to be changed; a new one if there is none."""
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is None and self.former:
                found = self.former.pop(_hash(key), None)
            found = found or [0.0] * self._width
            if len(self._young) >= self._budget:
                self._old = self._young
                self._young = {}
            self._young[key] = found
        return found


class Kept(NamedTuple):
    """What counters hold: entries by hashed key for each part and pair, and all labels with the abusive among them."""

    tables: tuple[dict[int, list[float]], ...]
    labels: tuple[float, float]


class Counters:
    """The counters of one stream. Events must come in order."""

    def __init__(self, half_lives: HalfLives, budget: int = BUDGET, labelled: bool = True) -> None:
        """Without `labelled` no odds are read."""
        self._labelled = labelled
        self._fade_fast = _LN2 / half_lives.fast
        self._fade_slow = _LN2 / half_lives.slow
        self._ratio = half_lives.fast / half_lives.slow
        self._label_slow = _LN2 / half_lives.label_slow
        self._label_fast = _LN2 / half_lives.label_fast
        self._parts = tuple(_Table(budget, _WIDTH) for _ in PARTS)
        self._pairs = tuple(_Table(budget, _PAIR_WIDTH) for _ in PAIRS)
        self._labels, self._abusive = 5.0, 1.0

    def __len__(self) -> int:
        """Entries held in all tables."""
        return sum(map(len, (*self._parts, *self._pairs)))

    def kept(self) -> Kept:
        """All that was counted, with hashes for the names."""
        tables = tuple(table.hashed() for table in (*self._parts, *self._pairs))
        return Kept(tables, (self._labels, self._abusive))

    def go_on_from(self, kept: Kept) -> None:
        """Begin with what another stream's counters kept. Its entries are beyond the budget until they are met."""
        for table, entries in zip((*self._parts, *self._pairs), kept.tables, strict=True):
            table.former = {key: list(entry) for key, entry in entries.items()}
        self._labels, self._abusive = kept.labels

    def read(self, event: CountedEvent, now: float) -> list[float]:
        """The values before this event, in the order of COUNT_NAMES and, if labels count, LABEL_NAMES."""
        amount = event.amount
        size = log1p(amount) if amount > 0.0 else 0.0
        values = [size, 1.0 if amount == int(amount) else 0.0]
        base = self._abusive / self._labels
        labelled = self._labelled
        odds: list[float] = []
        entries = [table.get(key) for table, key in zip(self._parts, event[:4], strict=True)]
        for entry in entries:
            if entry is None:
                values += (0.0, _NEVER, 0.0, 0.0, 0.0, (size - _USUAL_AMOUNT) / sqrt(3.0), _USUAL_AMOUNT)
                if labelled:
                    odds += self._odds(None, 0, now, base)
                continue
            gap = now - entry[_LAST]
            fast, slow = entry[_QUICK] * exp(-gap * self._fade_fast), entry[_SLOW] * exp(-gap * self._fade_slow)
            weight = entry[_WEIGHT] + _PRIOR
            usual = (entry[_SUM] + _PRIOR * _USUAL_AMOUNT) / weight
            spread = (entry[_SQUARES] + _PRIOR * _USUAL_SQUARE) / weight - usual * usual
            values += (
                log1p(entry[_COUNT]), log1p(gap), log1p(fast), log1p(slow),
                log((fast + 0.1) / (slow * self._ratio + 0.1)),
                (size - usual) / sqrt(spread if spread > 0.05 else 0.05), usual,
            )  # fmt: skip
            if labelled:
                odds += self._odds(entry, _LABELS, now, base)
        keys = self._keys(event)
        for number, (one, other) in enumerate(PAIRS):
            pair = self._pairs[number].get(keys[number])
            first = entries[one]
            before = first[_COUNT] if first else 0.0
            if pair is None:
                count, since, fast = 0.0, _NEVER, 0.0
            else:
                count, gap = pair[0], now - pair[1]
                since, fast = log1p(gap), log1p(pair[2] * exp(-gap * self._fade_fast))
            values += ((count + 0.5) / (before + 2.0), since, fast)
            if other < 4:
                second = entries[other]
                after = second[_COUNT] if second else 0.0
                values += (
                    (count + 0.5) / (after + 2.0),
                    (first[_PARTNERS + number] if first else 0.0) / (before + 1.0),
                    (second[_PARTNERS + number] if second else 0.0) / (after + 1.0),
                )
            if labelled:
                odds += self._odds(pair, _PAIR_LABELS, now, base)
        return values + odds

    def add(self, event: CountedEvent, now: float) -> None:
        """Count the event."""
        amount = event.amount
        size = log1p(amount) if amount > 0.0 else 0.0
        entries = [table.entry(key) for table, key in zip(self._parts, event[:4], strict=True)]
        for entry in entries:
            gap = now - entry[_LAST]
            entry[_QUICK] = entry[_QUICK] * exp(-gap * self._fade_fast) + 1.0
            entry[_SLOW] = entry[_SLOW] * exp(-gap * self._fade_slow) + 1.0
            entry[_COUNT] += 1.0
            entry[_LAST] = now
            entry[_SUM] = entry[_SUM] * _FADE + size
            entry[_SQUARES] = entry[_SQUARES] * _FADE + size * size
            entry[_WEIGHT] = entry[_WEIGHT] * _FADE + 1.0
        for number, ((one, other), key) in enumerate(zip(PAIRS, self._keys(event), strict=True)):
            pair = self._pairs[number].entry(key)
            if not pair[0]:
                entries[one][_PARTNERS + number] += 1.0
                if other < 4:
                    entries[other][_PARTNERS + number] += 1.0
            pair[2] = pair[2] * exp(-(now - pair[1]) * self._fade_fast) + 1.0
            pair[0] += 1.0
            pair[1] = now

    def learn(self, event: CountedEvent, now: float, label: int) -> None:
        """Count the label of an event that was added before: 1 abusive, 0 honest."""
        self._labels = (self._labels + 1.0) * _BASE_FADE
        self._abusive = (self._abusive + label) * _BASE_FADE
        for table, key in zip(self._parts, event[:4], strict=True):
            self._count_label(table.entry(key), _LABELS, now, label)
        for number, pair in enumerate(self._keys(event)):
            self._count_label(self._pairs[number].entry(pair), _PAIR_LABELS, now, label)

    def _count_label(self, entry: list[float], at: int, now: float, label: int) -> None:
        gap = now - entry[at + 2]
        slow, fast = exp(-gap * self._label_slow), exp(-gap * self._label_fast)
        entry[at] = entry[at] * slow + 1.0
        entry[at + 1] = entry[at + 1] * slow + label
        entry[at + 2] = now
        entry[at + 3] = entry[at + 3] * fast + 1.0
        entry[at + 4] = entry[at + 4] * fast + label

    def _odds(self, entry: list[float] | None, at: int, now: float, base: float) -> tuple[float, float]:
        if entry is None or not entry[at]:
            usual = log(base / (1.0 - base)) if 0.0 < base < 1.0 else -inf
            return usual, usual
        gap = now - entry[at + 2]
        slow, fast = exp(-gap * self._label_slow), exp(-gap * self._label_fast)
        good, bad = 2.0 * (1.0 - base), 2.0 * base
        abusive, quick = entry[at + 1] * slow, entry[at + 4] * fast
        return (
            log((abusive + bad) / (entry[at] * slow - abusive + good)),
            log((quick + bad) / (entry[at + 3] * fast - quick + good)),
        )

    @staticmethod
    def _keys(event: CountedEvent) -> Sequence[tuple[str, str]]:
        source, target, place, kind, amount = event
        near = str(round(amount))
        return (
            (source, target), (source, place), (source, kind), (target, place), (target, kind), (place, kind),
            (source, near), (target, near),
        )  # fmt: skip
