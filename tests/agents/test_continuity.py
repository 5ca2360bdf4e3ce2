"""Where a partition goes on after its log, its changelog, its scorecard or the number of partitions changed."""

from __future__ import annotations

import pytest

from streams.worker.changelog import Watermark
from streams.worker.continuity import Log, LogChange, Resumption, ScoreBasis, next_generation, resume, score_basis

NOW_MS = 1_795_000_000_000


def log(begin: int, end: int, *, has_id: bool = True, committed: int | None = None) -> Log:
    return Log("c/t", begin, end, has_id, committed)


@pytest.mark.parametrize(
    ("mark", "now", "expected"),
    [
        (None, log(3, 10), Resumption(LogChange.FIRST, "c/t", 3)),
        (None, log(3, 10, committed=8), Resumption(LogChange.CHANGELOG_LOST, "c/t", 3)),
        (Watermark("c/t", 7), log(0, 10), Resumption(LogChange.NONE, "c/t", 7)),
        (Watermark("c/t", 10), log(0, 10), Resumption(LogChange.NONE, "c/t", 10)),
        (Watermark("c/t+1", 5), log(0, 10), Resumption(LogChange.NONE, "c/t+1", 5)),
        (Watermark("c/t", 7), log(9, 10), Resumption(LogChange.EXPIRED, "c/t", 9, 2)),
        (Watermark("c/t", 7), log(10, 10), Resumption(LogChange.EXPIRED, "c/t", 10, 3)),
        (Watermark("c/other", 7), log(0, 10), Resumption(LogChange.RECREATED, "c/t", 0)),
        (Watermark("c/t", 11), log(0, 10), Resumption(LogChange.TRUNCATED, "c/t+1", 10, 1)),
        (Watermark("c/t+1", 11), log(2, 10), Resumption(LogChange.TRUNCATED, "c/t+2", 10, 1)),
        (Watermark("c/t", 11), log(0, 10, has_id=False), Resumption(LogChange.RECREATED, "c/t+1", 0)),
    ],
)
def test_each_change_of_the_log_has_one_outcome(mark: Watermark | None, now: Log, expected: Resumption) -> None:
    assert resume(mark, now) == expected


def taken_up(
    mark: Watermark | None, now: Log, scoring: str = "card/3", partitions: int = 4, requests: int = 0
) -> ScoreBasis:
    return score_basis(mark, resume(mark, now), now, scoring, partitions, requests, NOW_MS)


MARK = Watermark("c/t", 7, None, 500, "card/3", (4,), 0)


def test_nothing_changed_means_the_same_generation_and_nothing_to_score_again() -> None:
    assert taken_up(MARK, log(0, 10)) == ScoreBasis(500, "card/3", (4,), 0, None)


@pytest.mark.parametrize(
    ("scoring", "requests"), [("newer/3", 0), ("card/4", 0), ("card/3", 1)], ids=["scorecard", "layout", "request"]
)
def test_another_scorecard_or_layout_or_a_request_scores_all_again_in_a_new_generation(
    scoring: str, requests: int
) -> None:
    found = taken_up(MARK, log(0, 10), scoring, requests=requests)

    assert found == ScoreBasis(NOW_MS, scoring, (4,), requests, 7)


def test_a_generation_grows_even_while_the_clock_is_behind_it() -> None:
    ahead = Watermark("c/t", 7, None, NOW_MS + 5, "card/3", (4,), 0)

    assert taken_up(ahead, log(0, 10), "newer/3").generation == NOW_MS + 6
    assert next_generation(1, NOW_MS) == NOW_MS


@pytest.mark.parametrize("now", [Log("c/new", 0, 10), log(0, 5)], ids=["created anew", "truncated"])
def test_another_epoch_begins_with_a_generation_above_all_before_it(now: Log) -> None:
    assert taken_up(MARK, now).generation == NOW_MS


def test_a_lost_changelog_is_built_again_and_scored_again_where_it_had_been() -> None:
    found = taken_up(None, log(2, 10, committed=9))

    assert found == ScoreBasis(NOW_MS, "card/3", (4,), 0, 9)


def test_scoring_again_that_was_not_finished_goes_on() -> None:
    unfinished = Watermark("c/t", 7, None, 500, "card/3", (4,), 0, 5)

    assert taken_up(unfinished, log(0, 10)) == ScoreBasis(500, "card/3", (4,), 0, 5)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [((), 4, (4,)), ((4,), 4, (4,)), ((4,), 8, (4, 8)), ((4, 8), 8, (4, 8)), ((4, 8), 6, (4, 6))],
)
def test_the_numbers_of_partitions_that_a_topic_had_are_kept(
    before: tuple[int, ...], now: int, expected: tuple[int, ...]
) -> None:
    mark = Watermark("c/t", 7, None, 500, "card/3", before, 0)

    assert taken_up(mark, log(0, 10), partitions=now).counts == expected


def test_a_watermark_of_an_earlier_release_is_scored_again_in_a_generation() -> None:
    found = taken_up(Watermark("c/t", 7), log(0, 10))

    assert found == ScoreBasis(NOW_MS, "card/3", (4,), 0, 7)
