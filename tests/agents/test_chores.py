"""Scoring all accounts again and forgetting inactive ones: turns, chunks, and what each turn's effects are."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gate.core.duration import DAY_US, HOUR_US
from gate.core.score import Stamp, replaces
from streams.core.crowd import Crowd
from streams.core.facts import Facts, pack
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import Effects, Scores, States, merged
from streams.pipeline.forget import forgotten, inactive
from streams.pipeline.rescore import rescored
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Scoring
from streams.worker.changelog import Accounts, Watermark
from streams.worker.chores import LOOKED_THROUGH_A_TURN, RESCORED_A_TURN, Chore, Chores

START_US = 1_795_000_000_000_000
LATER_US = START_US + 9 * DAY_US
SHIPPED = load_scorecard(None)


def states(*accounts: str, latest_us: int = START_US) -> dict[str, bytes]:
    return {account: pack(Facts(events=1, offset=3, latest_us=latest_us)) for account in accounts}


def all_taken(chores: Chores, accounts: dict[str, bytes], at: int) -> list[tuple[Chore, int]]:
    taken = []
    while chores.is_due(at):
        chore, names = chores.take(accounts, at)
        taken.append((chore, len(names)))
    return taken


def test_every_account_is_scored_again_once_in_chunks() -> None:
    chores = Chores()
    accounts = dict.fromkeys(map(str, range(RESCORED_A_TURN * 2 + 5)), b"")

    chores.rescore(10)

    assert not chores.is_due(9)
    assert [count for _, count in all_taken(chores, accounts, 10)] == [RESCORED_A_TURN, RESCORED_A_TURN, 5]
    assert chores.rescore_at is None


def test_a_second_request_begins_with_the_first_account_again() -> None:
    chores = Chores()
    accounts = dict.fromkeys(map(str, range(RESCORED_A_TURN + 1)), b"")
    chores.rescore(10)
    chores.take(accounts, 10)

    chores.rescore(11)

    assert sum(count for _, count in all_taken(chores, accounts, 11)) == RESCORED_A_TURN + 1


def test_nobody_is_scored_again_before_the_caller_allows_it_and_all_count_as_left_until_then() -> None:
    allowed: list[bool] = [False]
    chores = Chores(None, may_rescore=lambda: allowed[0])
    accounts = dict.fromkeys(map(str, range(RESCORED_A_TURN + 5)), b"")
    chores.rescore(10)

    before = chores.is_due(10), chores.has_turn(10), chores.unscored(len(accounts))
    allowed[0] = True
    chores.take(accounts, 10)

    assert before == (False, False, len(accounts))
    assert chores.unscored(len(accounts)) == 5
    assert chores.is_due(10)


def test_accounts_whose_scores_refuse_nothing_are_scored_again_and_no_others() -> None:
    chores = Chores()
    accounts = dict.fromkeys("abcdef", b"")
    chores.lagged([], 5)
    assert not chores.is_due(5)

    chores.lagged(["a", "b"], 5)
    chores.lagged(["b", "c"], 9)
    left, (chore, names) = chores.unscored(len(accounts)), chores.take(accounts, 9)

    assert left == 3
    assert (chore, sorted(names)) == (Chore.RESCORE, ["a", "b", "c"])
    assert (chores.rescore_at, chores.unscored(len(accounts))) == (None, 0)


def test_accounts_that_lag_while_others_are_scored_again_follow_them() -> None:
    chores = Chores()
    accounts = dict.fromkeys(map(str, range(RESCORED_A_TURN + 5)), b"")
    chores.rescore(1)
    chores.lagged(["0"], 1)  # among all that are to be scored
    assert chores.unscored(len(accounts)) == len(accounts)

    chores.take(accounts, 1)
    chores.lagged(["7"], 2)
    left = chores.unscored(len(accounts))

    assert left == 6
    assert all_taken(chores, accounts, 2) == [(Chore.RESCORE, 5), (Chore.RESCORE, 1)]
    assert chores.rescore_at is None


def test_all_are_scored_again_where_more_lag_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.worker.chores.MAX_LAGGED", 3)
    chores = Chores()
    accounts = dict.fromkeys("abcdef", b"")

    chores.lagged("abc", 5)
    few = chores.unscored(len(accounts))
    chores.lagged("d", 6)

    assert few == 3
    assert all_taken(chores, accounts, 6) == [(Chore.RESCORE, 6)]


def test_chores_have_every_second_turn() -> None:
    chores = Chores()
    chores.rescore(1)

    assert [chores.has_turn(1) for _ in range(4)] == [True, False, True, False]
    assert not Chores().has_turn(1)


def test_accounts_that_wait_go_with_batches_unless_none_comes_or_they_are_too_many_for_one() -> None:
    steps = [(1, 0), (2, 1), (3, 256), (4, 257), (5, 257), (6, 257), (7, 1), (7, 1), (7, 1), (8, 1)]
    waiting: list[int] = []
    chores = Chores(None, lambda: waiting[-1])

    turns: list[bool] = []
    for offset, count in steps:
        waiting.append(count)
        turns.append(chores.has_turn(offset))

    assert turns == [False, False, False, True, False, True, False, True, False, False]


def test_accounts_that_wait_are_no_chore_while_a_backlog_brings_batches_that_take_them() -> None:
    steps = [(1, 1, 8_000), (1, 256, 8_000), (1, 1_000, 8_000), (1, 1_001, 90_000), (1, 1_000, 8_000), (1, 1, 0)]
    waiting: list[int] = []
    chores = Chores(None, lambda: waiting[-1])

    turns: list[bool] = []
    for offset, count, behind in steps:
        waiting.append(count)
        turns.append(chores.has_turn(offset, behind))

    assert turns == [False, False, False, True, False, True]


def test_accounts_are_looked_through_once_in_a_day_of_event_time() -> None:
    chores = Chores(forget_after_us=30 * DAY_US)
    accounts = dict.fromkeys(map(str, range(LOOKED_THROUGH_A_TURN + 1)), b"")
    assert not chores.is_due(5)

    chores.passed(START_US, LATER_US)
    first = all_taken(chores, accounts, 5)
    chores.passed(START_US + DAY_US - 1, LATER_US)
    early = chores.is_due(5)
    chores.passed(START_US + DAY_US, LATER_US)

    assert first == [(Chore.FORGET, LOOKED_THROUGH_A_TURN), (Chore.FORGET, 1)]
    assert not early
    assert chores.is_due(5)
    chores.take(accounts, 5)
    assert chores.before_us == START_US + DAY_US - 30 * DAY_US


def test_one_event_of_a_sender_whose_clock_is_a_year_ahead_has_no_account_forgotten() -> None:
    chores = Chores(forget_after_us=30 * DAY_US)
    accounts = states(*map(str, range(10)))

    chores.passed(START_US + 365 * DAY_US, START_US + HOUR_US)
    chore, looked_at = chores.take(accounts, 5)

    assert (chore, len(looked_at)) == (Chore.FORGET, 10)
    assert inactive(looked_at, accounts, chores.before_us) == []


def test_a_worker_that_forgets_nobody_never_looks() -> None:
    chores = Chores(None)
    chores.passed(START_US, LATER_US)

    assert not chores.is_due(5)


def test_only_accounts_whose_last_event_is_too_old_are_forgotten() -> None:
    known = states("old", latest_us=START_US - 1) | states("edge") | {"broken": b"\x03no"}

    assert inactive([*known, "unknown"], known, START_US) == ["old"]


def test_forgetting_writes_tombstones_for_state_and_score() -> None:
    effects = forgotten(["a"], 12)

    assert list(effects.part(States).records(0)) == [(b"a", None)]
    assert list(effects.part(Scores).records(0)) == [(b"a", None)]
    assert effects.next_offset == 12


def written(effects: Iterable[Effects]) -> dict[bytes | None, bool]:
    one = merged(list(effects))
    return {key: value is not None for part in (one.part(States),) for key, value in part.records(0)}


def test_of_forgetting_an_account_and_hearing_of_it_again_the_later_counts() -> None:
    heard = Effects.of(13, States({"a": b"1", "b": b"1"}))
    gone = forgotten(["a"], 12)

    assert written([gone, heard]) == {b"a": True, b"b": True}
    assert written([heard, gone]) == {b"a": False, b"b": True}
    assert written([heard, gone, heard]) == {b"a": True, b"b": True}


def test_forgotten_accounts_come_back_where_the_transaction_failed() -> None:
    accounts = Accounts(0)
    accounts.fold(states("a", "b"))
    accounts.committed(1, Watermark("e", 1), 1)
    before = accounts.bytes

    accounts.fold({}, ["a"])
    halved = accounts.bytes
    accounts.take_back()

    assert accounts.states == states("a", "b")
    assert (before, halved) == (len(states("a")["a"]) * 2, len(states("a")["a"]))
    assert accounts.bytes == before


def test_scores_made_again_come_after_those_before_and_before_those_of_the_next_event() -> None:
    stamps = Stamps("c/t", 1, (4,), 700)
    known = states("a", "b")

    effects = rescored(["a", "gone"], known, Scoring(Crowd(), SHIPPED, stamps.stamp, START_US, True), stamps, 20)

    (scored,) = effects.scores
    stamp = scored.score.stamp
    home = stamp.partitions
    assert stamp == Stamp("c/t", 19, 1, home, START_US // 1_000)
    assert replaces(stamp, Stamp("c/t", 19, 1, home, 700))
    assert replaces(stamp, Stamp("c/t", 3, 1, home, 700))
    assert replaces(Stamp("c/t", 20, 1, home, stamp.generation), stamp)
    assert effects.states == {}


def test_a_score_that_is_made_again_stands_for_the_last_evidence_and_acts_only_near_the_end() -> None:
    """A refused attempt came an hour after the last upload."""
    facts = Facts(events=2, offset=3, uploads=1, last_us=START_US, latest_us=START_US + HOUR_US)
    stamps = Stamps("c/t", 0, (4,), 100)

    near, far = (
        rescored(["a"], {"a": pack(facts)}, Scoring(Crowd(), SHIPPED, stamps.stamp, START_US, acts), stamps, 10).scores
        for acts in (True, False)
    )

    assert [(score.at_us, score.acts) for score, _ in (*near, *far)] == [(START_US, True), (START_US, False)]


def test_accounts_whose_surroundings_have_changed_have_a_turn_after_a_rescore_and_before_a_search() -> None:
    waiting = [1, 1]
    chores = Chores(30 * DAY_US, lambda: bool(waiting))
    chores.passed(START_US, LATER_US)
    chores.rescore(1)
    turns = []

    for _ in range(4):
        chore, names = chores.take({"a": b""}, 1)
        turns.append((chore, list(names)))
        if chore is Chore.BACKFILL:
            waiting.pop()

    assert turns == [(Chore.RESCORE, ["a"]), (Chore.BACKFILL, []), (Chore.BACKFILL, []), (Chore.FORGET, ["a"])]
