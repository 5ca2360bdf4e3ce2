"""Counters of a stream of events between a source and a target: what was usual before each event, and the labels until
then.

An event has a source (an account), a target (what it acts on), a place (a device), a kind, and perhaps an amount. The
counters are read before the event is added to them, so a value never depends on its own event or a later one. They
hold, for each of the four and for pairs of them: how often, when last, decaying counts, the usual amount, how many
distinct partners, and smoothed odds of the labels. The same events in the same order give the same values.

Memory is bounded, as each table of entries is.

Labels come late in a running system. A removal by others and a report of the upload say `learn(event, now, 1)` with
the upload's event, a passed challenge says 0. The worker does not feed these counters: those of a source would follow
from its own events alone, but those of targets, places and kinds cross partitions and would not be exact under a
replay. In a worker the crowd counts what accounts share.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, log1p, sqrt
from typing import Final, NamedTuple

from streams.core import label_counters, run_counters
from streams.core.counter_tables import CounterTable, Key
from streams.core.label_counters import LABEL_COUNTERS, NEVER, LabelCounters
from streams.core.run_counters import RUN_COUNTERS, add_to_run, read_run

HOUR_S: Final = 3_600.0
PARTS: Final = ("source", "target", "place", "kind")
PAIRS: Final = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (0, 4), (1, 4))
"""Pairs of parts that are counted together; 4 is the amount, to the next whole number."""
RUNS_OF: Final = ("source", "source_target")
"""The part of an event whose runs are counted."""
BUDGET: Final = 200_000
_NAMES: Final = (*PARTS, "amount")
_LN2: Final = log(2.0)
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
    return (*names, *(f"{of}_{what}" for of in RUNS_OF for what in RUN_COUNTERS))


def _label_names() -> tuple[str, ...]:
    pairs = [f"{_NAMES[one]}_{_NAMES[other]}" for one, other in PAIRS]
    return tuple(f"{name}_{what}" for name in (*PARTS, *pairs) for what in LABEL_COUNTERS)


COUNT_NAMES: Final = _names()
"""The names of what `read` gives first, in order."""
LABEL_NAMES: Final = _label_names()
"""The names of the counters of labels, which come after them."""

# an entry of one part: count, last, fast, slow, sum and squares and weight of amounts, distinct partners by pair, labels
_COUNT, _LAST, _QUICK, _SLOW, _SUM, _SQUARES, _WEIGHT, _PARTNERS, _LABELS = 0, 1, 2, 3, 4, 5, 6, 7, 15
_WIDTH: Final = _LABELS + label_counters.WIDTH
# an entry of a pair: count, last, fast, labels
_PAIR_LABELS: Final = 3
_PAIR_WIDTH: Final = _PAIR_LABELS + label_counters.WIDTH


class Kept(NamedTuple):
    """What counters hold: entries by hashed key for each part, pair and run, and all labels with the abusive among them."""

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
        self._longest_gap = half_lives.fast / 10.0
        self._of_labels = LabelCounters(_LN2 / half_lives.label_slow, _LN2 / half_lives.label_fast)
        self._parts = tuple(CounterTable(budget, _WIDTH) for _ in PARTS)
        self._pairs = tuple(CounterTable(budget, _PAIR_WIDTH) for _ in PAIRS)
        self._runs = tuple(CounterTable(budget, run_counters.WIDTH) for _ in RUNS_OF)
        self._tables = (*self._parts, *self._pairs, *self._runs)
        self._labels, self._abusive = 5.0, 1.0

    def __len__(self) -> int:
        """Entries held in all tables."""
        return sum(map(len, self._tables))

    def kept(self) -> Kept:
        """All that was counted, with hashes for the names."""
        tables = tuple(table.hashed() for table in self._tables)
        return Kept(tables, (self._labels, self._abusive))

    def go_on_from(self, kept: Kept) -> None:
        """Begin with what another stream's counters kept. Its entries are beyond the budget until they are met."""
        for table, entries in zip(self._tables, kept.tables, strict=True):
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
                values += (0.0, NEVER, 0.0, 0.0, 0.0, (size - _USUAL_AMOUNT) / sqrt(3.0), _USUAL_AMOUNT)
                if labelled:
                    odds += self._of_labels.read(None, 0, now, base)
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
                odds += self._of_labels.read(entry, _LABELS, now, base)
        keys = self._keys(event)
        for number, (one, other) in enumerate(PAIRS):
            pair = self._pairs[number].get(keys[number])
            first = entries[one]
            before = first[_COUNT] if first else 0.0
            if pair is None:
                count, since, fast = 0.0, NEVER, 0.0
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
                odds += self._of_labels.read(pair, _PAIR_LABELS, now, base)
        for table, run in zip(self._runs, self._of_runs(event), strict=True):
            values += read_run(table.get(run), now, size, self._longest_gap)
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
        for table, run in zip(self._runs, self._of_runs(event), strict=True):
            add_to_run(table.entry(run), now, size, amount, self._longest_gap)
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
        base = self._abusive / self._labels
        self._labels = (self._labels + 1.0) * _BASE_FADE
        self._abusive = (self._abusive + label) * _BASE_FADE
        for table, key in zip(self._parts, event[:4], strict=True):
            self._of_labels.learn(table.entry(key), _LABELS, now, label, base)
        for number, pair in enumerate(self._keys(event)):
            self._of_labels.learn(self._pairs[number].entry(pair), _PAIR_LABELS, now, label, base)

    @staticmethod
    def _of_runs(event: CountedEvent) -> tuple[Key, Key]:
        return event.source, (event.source, event.target)

    @staticmethod
    def _keys(event: CountedEvent) -> tuple[tuple[str, str], ...]:
        source, target, place, kind, amount = event
        near = str(round(amount))
        return (
            (source, target), (source, place), (source, kind), (target, place), (target, kind), (place, kind),
            (source, near), (target, near),
        )  # fmt: skip
