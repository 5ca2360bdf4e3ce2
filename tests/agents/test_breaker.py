"""The breaker of a partition: each event counts once, and unreadable events do not stop readable ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.worker.breaker import KEPT_EVERY, KEPT_WHOLE, Breaker, BreakerVerdict

READ, QUARANTINE, HALT = BreakerVerdict.READ, BreakerVerdict.QUARANTINE, BreakerVerdict.HALT


def records(start: int, end: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(offset=offset) for offset in range(start, end)]


def in_quarantine() -> Breaker:
    """After 1,000 events, of which the first 900 were unreadable."""
    breaker = Breaker()
    breaker.judge(records(0, 1_000), records(0, 900))
    return breaker


@pytest.mark.parametrize(
    ("events", "unreadable", "verdict"),
    [
        (999, 999, READ), (1_000, 500, READ), (1_000, 501, QUARANTINE), (1_000, 980, QUARANTINE), (1_000, 981, HALT),
        (1_000, 1_000, HALT),
    ],
)  # fmt: skip
def test_exactly_so_many_unreadable_events_of_so_many_are_one_too_many(
    events: int, unreadable: int, verdict: BreakerVerdict
) -> None:
    batch = records(0, events)

    assert Breaker().judge(batch, batch[:unreadable]) is verdict


def test_a_batch_that_is_done_again_is_not_counted_again() -> None:
    breaker = Breaker()
    batch = records(0, 100)

    verdicts = [breaker.judge(batch, batch) for _ in range(30)]
    rest = records(100, 1_000)

    assert verdicts == [READ] * 30
    assert breaker.judge(rest, rest[:400]) is READ


@pytest.mark.parametrize(("unreadable", "verdict"), [(501, QUARANTINE), (1_000, HALT)])
def test_a_batch_that_is_done_again_meets_the_same_verdict(unreadable: int, verdict: BreakerVerdict) -> None:
    breaker = Breaker()
    batch = records(0, 1_000)

    assert [breaker.judge(batch, batch[:unreadable]) for _ in range(3)] == [verdict] * 3


def test_nobody_halts_a_partition_with_forty_nine_unreadable_events_for_each_readable_one() -> None:
    breaker = Breaker()

    verdicts = set()
    for at in range(0, 100_000, 50):
        batch = records(at, at + 50)
        verdicts.add(breaker.judge(batch, batch[1:]))

    assert verdicts == {READ, QUARANTINE}


def test_a_quarantine_ends_when_a_quarter_is_unreadable_and_not_before() -> None:
    breaker = in_quarantine()

    above = breaker.judge(records(1_000, 3_599), [])
    at = breaker.judge(records(3_599, 3_600), [])

    assert 900 / 3_599 > 0.25
    assert (above, at) == (QUARANTINE, READ)


def test_of_a_quarantine_exactly_ten_thousand_and_then_one_in_a_hundred_are_kept() -> None:
    breaker = Breaker()
    kept = []

    for at in range(0, 50_000, 1_000):
        batch = records(at, at + 1_000)
        bad = batch[:950]
        breaker.judge(batch, bad)
        kept += [record.offset for record in bad if breaker.keeps(record.offset)]

    bad_offsets = [n for n in range(50_000) if n % 1_000 < 950]
    whole, rest = bad_offsets[:KEPT_WHOLE], bad_offsets[KEPT_WHOLE:]
    assert kept == whole + [n for n in rest if n % KEPT_EVERY == 0]
    assert len(kept) == 10_000 + 395


def test_what_is_done_again_is_kept_or_not_kept_as_before() -> None:
    breaker = in_quarantine()
    batch = records(1_000, 13_000)
    bad = batch[:11_700]

    breaker.judge(batch, bad)
    first = [breaker.keeps(record.offset) for record in bad]
    breaker.judge(batch[:7_000], bad[:7_000])
    again = [breaker.keeps(record.offset) for record in bad]

    assert first == again
    assert not all(first)


def test_after_a_quarantine_every_dead_letter_is_kept_again() -> None:
    breaker = in_quarantine()
    flood = records(1_000, 30_000)
    breaker.judge(flood, flood[: 20 * 1_000])
    thinned = breaker.keeps(29_001)

    breaker.judge(records(30_000, 200_000), [])

    assert not thinned
    assert breaker.keeps(200_001)


def test_resuming_forgets_what_halted_it() -> None:
    breaker = Breaker()
    batch = records(0, 1_000)
    breaker.judge(batch, batch)

    breaker.reset()

    assert breaker.verdict is READ
    assert breaker.judge(records(0, 999), records(0, 999)) is READ


def test_a_draining_partition_keeps_every_letter_and_halts_again_only_after_it_was_readable() -> None:
    breaker = Breaker()
    breaker.reset(drains=True)
    junk = records(0, 40_000)

    drained = breaker.judge(junk, junk)
    kept = all(breaker.keeps(record.offset) for record in junk)
    mended = [breaker.judge(records(at, at + 1_000), []) for at in range(40_000, 160_000, 1_000)][-1]
    later = records(160_000, 400_000)
    verdict = breaker.judge(later, later)

    assert (drained, kept, mended, verdict) == (QUARANTINE, True, READ, HALT)


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 300)), max_size=12), st.sets(st.integers(0, 6_000)))
def test_retries_that_are_cut_otherwise_change_no_verdict(cuts: list[tuple[int, int]], unreadable: set[int]) -> None:
    once, often = Breaker(), Breaker()
    at = 0

    for length, back in cuts:
        batch = records(at, at + length)
        again = records(max(0, at - back), at + length)
        expected = once.judge(batch, [r for r in batch if r.offset in unreadable])
        found = often.judge(again, [r for r in again if r.offset in unreadable])

        assert found is expected
        at += length


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=20), st.integers(3, 100))
def test_no_cut_into_batches_halts_while_three_of_a_hundred_are_readable(cuts: list[int], readable: int) -> None:
    breaker = Breaker()
    at = 0

    for length in cuts:
        batch = records(at, at + length)
        at += length

        assert breaker.judge(batch, [r for r in batch if r.offset % 100 >= readable]) is not HALT
