"""Counters of a stream are what its whole history gives, computed anew from all events before each one."""

from __future__ import annotations

import random
from math import inf, log, log1p, sqrt
from operator import mul
from typing import NamedTuple

import pytest

from streams.core.counter_tables import CounterTable, hashed_key
from streams.core.counters import BY_COUNT, BY_TIME, COUNT_NAMES, LABEL_NAMES, CountedEvent, Counters, HalfLives
from streams.core.label_counters import LABEL_COUNTERS, LabelCounters
from streams.core.run_counters import RUN_COUNTERS, add_to_run, read_run

PARTS = ("source", "target", "place", "kind")
PAIRS = (
    ("source", "target"), ("source", "place"), ("source", "kind"), ("target", "place"), ("target", "kind"),
    ("place", "kind"), ("source", "amount"), ("target", "amount"),
)  # fmt: skip
NEVER = 12.0


class Past(NamedTuple):
    """An event of the past, when it was, and its label, if one came; `base` is the share of abusive labels before it."""

    event: CountedEvent
    at: float
    label: int | None
    base: float


def part(event: CountedEvent, name: str) -> str:
    return str(round(event.amount)) if name == "amount" else getattr(event, name)


def size_of(event: CountedEvent) -> float:
    return log(1.0 + event.amount) if event.amount > 0 else 0.0


class History:
    """All events so far, and the values that the next one should be read with."""

    def __init__(self, lives: HalfLives) -> None:
        self.lives = lives
        self.past: list[Past] = []

    def like(self, event: CountedEvent, *names: str) -> list[Past]:
        wanted = [part(event, name) for name in names]
        return [one for one in self.past if [part(one.event, name) for name in names] == wanted]

    def base(self) -> float:
        """The share of abusive labels, where four honest and one abusive came before all; old ones fade a little."""
        labels = [one.label for one in self.past if one.label is not None]
        fades = [0.9998 ** (len(labels) - number) for number in range(len(labels))]
        begun = 0.9998 ** len(labels)
        abusive = sum(fade * label for fade, label in zip(fades, labels, strict=True))
        return (begun + abusive) / (5.0 * begun + sum(fades))

    def values(self, event: CountedEvent, now: float) -> dict[str, float]:
        values = {"amount": size_of(event), "amount_round": float(event.amount == int(event.amount))}
        for name in PARTS:
            values |= {f"{name}_{what}": value for what, value in self.of_part(event, name, now).items()}
            values |= {f"{name}_{what}": value for what, value in self.of_labels(self.like(event, name), now).items()}
        for one, other in PAIRS:
            values |= {f"{one}_{other}_{what}": value for what, value in self.of_pair(event, one, other, now).items()}
            shared = self.like(event, one, other)
            values |= {f"{one}_{other}_{what}": value for what, value in self.of_labels(shared, now).items()}
        for name, parts in (("source", ["source"]), ("source_target", ["source", "target"])):
            values |= {f"{name}_{what}": value for what, value in self.of_run(event, parts, now).items()}
        return values

    def faded(self, some: list[Past], now: float, half_life: float) -> float:
        return sum(0.5 ** ((now - one.at) / half_life) for one in some)

    def of_part(self, event: CountedEvent, name: str, now: float) -> dict[str, float]:
        some = self.like(event, name)
        fast, slow = self.faded(some, now, self.lives.fast), self.faded(some, now, self.lives.slow)
        fades = [0.99 ** (len(some) - 1 - number) for number in range(len(some))]
        sizes = [size_of(one.event) for one in some]
        usual = (sum(map(mul, fades, sizes)) + 2 * 3.0) / (sum(fades) + 2)
        square = (sum(fade * size * size for fade, size in zip(fades, sizes, strict=True)) + 2 * 12.0) / (
            sum(fades) + 2
        )
        spread = square - usual * usual
        return {
            "count": log1p(len(some)),
            "gap": log1p(now - some[-1].at) if some else NEVER,
            "fast": log1p(fast),
            "slow": log1p(slow),
            "burst": log((fast + 0.1) / (slow * self.lives.fast / self.lives.slow + 0.1)),
            "amount_apart": (size_of(event) - usual) / sqrt(max(0.05, spread)),
            "amount_usual": usual,
        }

    def of_pair(self, event: CountedEvent, one: str, other: str, now: float) -> dict[str, float]:
        both, first, second = self.like(event, one, other), self.like(event, one), self.like(event, other)
        values = {
            "share": (len(both) + 0.5) / (len(first) + 2),
            "gap": log1p(now - both[-1].at) if both else NEVER,
            "fast": log1p(self.faded(both, now, self.lives.fast)),
        }
        if other != "amount":
            values["share_of_other"] = (len(both) + 0.5) / (len(second) + 2)
            values["spread"] = len({part(past.event, other) for past in first}) / (len(first) + 1)
            values["spread_of_other"] = len({part(past.event, one) for past in second}) / (len(second) + 1)
        return values

    def of_labels(self, some: list[Past], now: float) -> dict[str, float]:
        labelled = [(one.at, one.label, one.base) for one in some if one.label is not None]
        base = self.base()
        if not labelled:
            usual = log(base / (1 - base))
            return dict(zip(LABEL_COUNTERS, (usual, usual, NEVER, -1.0, base), strict=True))
        recent = labelled[0][2]
        for _, label, _ in labelled:
            recent += 0.3 * (label - recent)
        abusive = [at for at, label, _ in labelled if label]
        since = [label for at, label, _ in labelled]
        run = since[::-1].index(1) if abusive else len(since)

        def odds(half_life: float) -> float:
            of = {
                kind: sum(0.5 ** ((now - at) / half_life) for at, label, _ in labelled if label == kind)
                for kind in (0, 1)
            }
            return log((of[1] + 2 * base) / (of[0] + 2 * (1 - base)))

        return {
            "odds": odds(self.lives.label_slow),
            "odds_fast": odds(self.lives.label_fast),
            "abusive_gap": log1p(now - abusive[-1]) if abusive else NEVER,
            "honest_run": log1p(run),
            "abusive_recent": recent,
        }

    def of_run(self, event: CountedEvent, parts: list[str], now: float) -> dict[str, float]:
        some = self.like(event, *parts)
        if not some:
            return dict(zip(RUN_COUNTERS, (NEVER, NEVER, NEVER, 0.0, 0.0), strict=True))
        run: list[Past] = []
        last = now
        for one in reversed(some):
            if last - one.at > self.lives.fast / 10:
                break
            run.append(one)
            last = one.at
        size, sizes = size_of(event), [size_of(one.event) for one in some]
        return {
            "amount_change": size - sizes[-1],
            "amount_above_most": size - max(sizes),
            "amount_above_least": size - min(sizes),
            "run_count": log1p(len(run)),
            "run_amount": log1p(sum(one.event.amount for one in run)),
        }


def some_event(rng: random.Random) -> CountedEvent:
    amount = rng.choice((0.0, 1.0, 2.5, 40.0, 999.99))
    source, target, place, kind = (f"{name}{rng.randrange(4)}" for name in "stpk")
    return CountedEvent(source, target, place, kind, amount)


@pytest.mark.parametrize("lives", [BY_TIME, BY_COUNT], ids=["by time", "by count"])
def test_every_value_is_what_the_history_before_the_event_gives(lives: HalfLives) -> None:
    rng, counters, history, now = random.Random(5), Counters(lives), History(lives), 0.0
    names = (*COUNT_NAMES, *LABEL_NAMES)

    for _ in range(70):
        now += rng.choice((0.0, 1.0, lives.fast / 40, lives.fast / 9, lives.fast, lives.slow))
        event = some_event(rng)
        read = dict(zip(names, counters.read(event, now), strict=True))
        expected = history.values(event, now)

        assert read == pytest.approx(expected)

        counters.add(event, now)
        label = rng.choice((None, 0, 0, 1))
        history.past.append(Past(event, now, None, history.base()))
        if label is not None:
            history.past[-1] = Past(event, now, label, history.past[-1].base)
            counters.learn(event, now, label)


def test_half_lives_are_an_hour_and_twelve_and_a_week_for_labels_or_three_hundred_events() -> None:
    hour = 3_600.0

    assert (HalfLives(hour, 12 * hour, 12 * hour, 168 * hour)) == BY_TIME
    assert HalfLives(300.0, 3_000.0, 300.0, 3_000.0) == BY_COUNT


@pytest.mark.parametrize(("base", "odds"), [(0.0, -inf), (1.0, -inf), (0.5, 0.0)])
def test_without_a_label_the_odds_are_those_of_the_stream(base: float, odds: float) -> None:
    labels = LabelCounters(0.1, 0.2)

    assert labels.read(None, 0, 5.0, base) == labels.read([0.0] * 8, 0, 5.0, base) == (odds, odds, 12.0, -1.0, base)


def test_a_run_goes_on_over_the_longest_gap_and_no_longer() -> None:
    entry = [0.0] * 6
    for now in (0.0, 10.0, 20.5, 21.0):
        add_to_run(entry, now, 1.0, 4.0, 10.0)

    assert read_run(entry, 31.0, 1.0, 10.0)[3:] == (log1p(2), log1p(8.0))
    assert read_run(entry, 31.1, 1.0, 10.0)[3:] == (0.0, 0.0)


def test_the_last_entries_of_a_table_are_known_and_twice_as_many_are_held_at_most() -> None:
    table = CounterTable(3, 2)
    for number in range(20):
        table.entry(str(number))[0] = number + 1.0
        assert len(table) <= 6

    assert [table.get(str(number)) for number in (17, 18, 19)] == [[18.0, 0.0], [19.0, 0.0], [20.0, 0.0]]
    assert table.get("3") is None
    assert table.entry("3") == [0.0, 0.0]


def test_an_entry_that_is_met_again_outlasts_those_that_are_not() -> None:
    table = CounterTable(3, 1)
    for number in range(12):
        table.entry(str(number))
        table.entry("kept")[0] += 1.0

    assert table.get("kept") == [12.0]
    assert table.get("2") is None


def test_entries_of_a_former_stream_are_known_by_hash_until_they_are_met() -> None:
    first, second = CounterTable(4, 1), CounterTable(4, 1)
    for key in ("a", ("a", "b"), "c"):
        first.entry(key)[0] = 7.0
    second.former = first.hashed()

    met = second.entry(("a", "b"))
    met[0] = 9.0

    assert set(first.hashed()) == {hashed_key("a"), hashed_key(("a", "b")), hashed_key("c")}
    assert hashed_key(("a", "b")) != hashed_key("ab")
    assert 0 <= hashed_key("a") < 1 << 64
    assert len(second) == 3
    assert (second.get("a"), second.get(("a", "b")), second.get("d")) == ([7.0], [9.0], None)
    assert second.hashed() == {hashed_key("a"): [7.0], hashed_key(("a", "b")): [9.0], hashed_key("c"): [7.0]}
