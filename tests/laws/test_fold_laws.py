"""Laws of the pure core over whatever may come: events spoilt in any place, any signals, any order of counting."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gate.core.duration import HOUR_US
from gate.core.score import Stamp
from gate.core.signal import Signal
from streams.core.crowd import CEILING, IP, Crowd
from streams.core.events import (
    Fault,
    Unreadable,
    decode,
    encode,
)
from streams.core.facts import pack, unpack
from streams.core.window import added
from streams.files.scorecards import load_scorecard
from streams.pipeline.step import Record, process

SHIPPED = load_scorecard(None)
BASE: dict[str, Any] = {
    "type": "attempted",
    "id": "e-1",
    "at": "2026-11-23T10:00:00.123Z",
    "account": {"id": "a", "created_at": "2026-11-20T08:00:00Z"},
    "media": {"kind": "image", "bytes": 1, "sha256": "s"},
    "ip": "203.0.113.9",
    "device": "d",
    "text": "hello",
    "links": ["https://example.org/a"],
}
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["id", "x"]), scalars, max_size=2)
fields = st.tuples(st.sampled_from(sorted(BASE)), anything)
spoilt = st.builds(lambda one, two: json.dumps({**BASE, **dict((one, two))}).encode(), fields, fields)
times = st.datetimes().map(lambda at: at.isoformat() + "Z")
timely = st.builds(
    lambda at, made: json.dumps({**BASE, "at": at, "account": {"id": "a", "created_at": made}}).encode(), times, times
)
cut = st.builds(lambda value, at: value[: at % (len(value) + 1)], spoilt, st.integers(0, 2_000))
values = st.lists(spoilt | timely | cut | st.binary(max_size=40), min_size=1, max_size=8)


@given(values)
def test_every_record_is_folded_or_one_dead_letter_and_what_is_made_of_it_stays_in_bounds(given_: list[bytes]) -> None:
    batch = [Record(offset, b"a", value, (), 0) for offset, value in enumerate(given_)]

    effects = process(batch, {}, Crowd(), SHIPPED, b"salt", ("events", 0), "epoch", 0)

    offsets = [letter.offset for letter in effects.dead]
    assert offsets == sorted(set(offsets))
    assert len(offsets) + sum(effects.events.values()) == len(batch)
    assert all(letter.reason in set(Fault) for letter in effects.dead)
    assert all(letter.event == given_[letter.offset] for letter in effects.dead)
    for state in effects.states.values():
        assert len(state) < 1024
        assert pack(unpack(state)) == state
    for score, _ in effects.scores:
        assert all(0.0 <= part <= 1.0 for part in (score.bot, score.scam, score.risk))
        assert all(0.0 < reason.value <= 1.0 for reason in score.reasons)


@given(spoilt | timely)
def test_what_can_be_read_can_be_written_and_read_again(value: bytes) -> None:
    try:
        event = decode(value)
    except Unreadable:
        return

    assert decode(encode(event)) == event


@given(st.dictionaries(st.sampled_from(Signal), st.floats(0, 1)))
def test_any_signals_make_a_score_between_0_and_1(given_: dict[Signal, float]) -> None:
    values = [given_.get(signal, 0.0) for signal in Signal]

    score = SHIPPED.score("a", values, 0, 0, Stamp("epoch", 0))

    assert all(0.0 <= part <= 1.0 for part in (score.bot, score.scam, score.risk))
    assert max(score.bot, score.scam) <= score.risk + 1e-12


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=120), st.randoms())
def test_a_crowd_counts_the_same_in_any_order(given_: list[tuple[int, int]], order: Any) -> None:
    def counted(shown: list[tuple[int, int]]) -> int:
        crowd = Crowd()
        for partition, account in shown:
            crowd.note(partition, IP, 7, account, 1)
        return crowd.count(IP, 7)

    shuffled = list(given_)
    order.shuffle(shuffled)

    assert counted(given_) == counted(shuffled) == min(CEILING, len(set(given_)))


@given(st.lists(st.integers(0, 48 * HOUR_US), min_size=1, max_size=20), st.randoms())
def test_a_window_counts_the_same_in_any_order_and_never_more_than_there_was(given_: list[int], order: Any) -> None:
    def counted(moments: list[int]) -> float:
        count, last_us = 0.0, moments[0]
        for at_us in moments:
            count, last_us = added(count, last_us, at_us, HOUR_US), max(last_us, at_us)
        return count

    shuffled = list(given_)
    order.shuffle(shuffled)

    assert abs(counted(given_) - counted(shuffled)) < 1e-6
    assert 1.0 <= counted(given_) <= len(given_) + 1e-6
