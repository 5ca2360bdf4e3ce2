"""The breaker of a partition: each event counts once, whatever is done again and however it is cut."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from streams.worker.breaker import Breaker


def records(start: int, end: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(offset=offset) for offset in range(start, end)]


def test_a_batch_that_is_done_again_is_not_counted_again() -> None:
    breaker = Breaker()
    batch = records(0, 100)

    answers = [breaker.is_open_after(batch, batch[:51]) for _ in range(30)]

    assert answers == [False] * 30


def test_a_batch_that_opened_it_opens_it_again_when_it_is_done_again() -> None:
    breaker = Breaker()
    batch = records(0, 1_000)

    answers = [breaker.is_open_after(batch, batch[:501]) for _ in range(3)]

    assert answers == [True] * 3


def test_resuming_forgets_what_opened_it() -> None:
    breaker = Breaker()
    batch = records(0, 1_000)
    breaker.is_open_after(batch, batch)

    breaker.reset()

    assert not breaker.is_open_after(records(0, 999), records(0, 999))


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 300)), max_size=12), st.sets(st.integers(0, 6_000)))
def test_retries_that_are_cut_otherwise_change_no_answer(cuts: list[tuple[int, int]], unreadable: set[int]) -> None:
    once, often = Breaker(), Breaker()
    at = 0

    for length, back in cuts:
        batch = records(at, at + length)
        again = records(max(0, at - back), at + length)
        expected = once.is_open_after(batch, [r for r in batch if r.offset in unreadable])
        found = often.is_open_after(again, [r for r in again if r.offset in unreadable])

        assert found is expected
        at += length
