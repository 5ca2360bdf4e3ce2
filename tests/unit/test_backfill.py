"""Accounts whose surroundings have changed are scored again: who waits, how many at once, and what their scores say."""

from __future__ import annotations

import pytest

from gate.core.duration import DAY_US
from gate.core.score import Stamp, replaces
from streams.core.crowd import DEVICE, IP, STEPS, Backfill, Crowd, account_ids, account_number
from streams.core.crowd import backfill as module
from streams.core.crowd.account_ids import AccountIds
from streams.core.crowd.record import name
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline import step
from streams.pipeline.effects import Effects, Scores, States, merged
from streams.pipeline.hashes import Hashes
from streams.pipeline.rescore import backfilled
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Record, Scoring, process
from tests.unit.test_process import record

AT_US = 1_795_428_000_000_000
SHIPPED = load_scorecard(None)
WEB = load_web_links()


@pytest.fixture(autouse=True)
def few_accounts_share_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts have other numbers in every process. Of sixteen, two share a slot in one of thirty small tables."""
    monkeypatch.setattr(account_ids, "FIRST_SLOTS", 1 << 20)


class Partition:
    """One partition of a worker that fills in for its owner: folds batches and keeps states, last scores and offset."""

    def __init__(self, number: int = 0, crowd: Crowd | None = None, backfill: Backfill | None = None) -> None:
        self.crowd = crowd or Crowd()
        self.backfill = backfill or Backfill(self.crowd)
        self.stamps = Stamps("epoch", number, (4,), 100)
        self.states: dict[str, bytes] = {}
        self.risks: dict[str, float] = {}
        self.next = 0

    def batch(self, *records: Record) -> Effects:
        effects = process(
            records, self.states, self.crowd, SHIPPED, Hashes(b"salt"), WEB, ("events", self.stamps.partition), "epoch",
            AT_US, self.stamps, backfill=self.backfill,
        )  # fmt: skip
        self.states.update(effects.states)
        self.keep(effects)
        return effects

    def turn(self) -> Effects:
        effects = backfilled(
            self.backfill,
            self.states,
            Scoring(self.crowd, SHIPPED, self.stamps.stamp, AT_US, True),
            self.stamps,
            self.next,
        )
        self.keep(effects)
        return effects

    def keep(self, effects: Effects) -> None:
        self.risks.update((score.account, score.risk) for score, _ in effects.scores)
        self.next = effects.next_offset


def upload(offset: int, account: str, device: str = "farm") -> Record:
    return record(offset, account, device=device, ip=None, media={"kind": "image"}, text=None, links=[])


def scored(effects: Effects) -> list[str]:
    return [score.account for score, _ in effects.scores]


def test_who_showed_a_device_first_is_scored_again_when_it_turns_out_to_be_shared() -> None:
    one = Partition()
    first = one.batch(upload(0, "a"))
    alone = one.risks["a"]

    second = one.batch(upload(1, "b"))

    assert scored(first) == ["a"]
    assert scored(second) == ["b", "a"]
    assert second.part(Scores).backfilled == 1
    assert one.risks["a"] == pytest.approx(one.risks["b"])
    assert one.risks["a"] > alone


@pytest.mark.parametrize("others", [0, 10])
def test_those_with_new_scores_no_longer_wait_whether_many_or_few_have_one(others: int) -> None:
    backfill = Backfill(Crowd())
    backfill.give_back(0, ["a", "b", "c", "d"])

    taken = backfill.take(0, 2, dict.fromkeys(["b", "d", *map(str, range(others))]))

    assert taken == ["a", "c"]
    assert backfill.waiting(0) == 0


def test_members_of_the_batch_itself_are_scored_once() -> None:
    effects = Partition().batch(*(upload(n, f"a-{n}") for n in range(5)))

    assert sorted(scored(effects)) == [f"a-{n}" for n in range(5)]
    assert effects.part(Scores).backfilled == 0


def test_a_step_between_two_levels_makes_nobody_wait() -> None:
    one = Partition()
    for n in range(8):
        one.batch(upload(n, f"a-{n}"))

    assert STEPS[DEVICE] == (2, 3, 4, 6, 8, 12, 16)
    assert [one.batch(upload(8 + n, f"b-{n}")).part(Scores).backfilled for n in range(8)] == [0, 0, 0, 11, 0, 0, 0, 15]


def test_an_account_that_showed_it_again_is_not_scored_for_that() -> None:
    one = Partition()
    one.batch(upload(0, "a"))
    one.batch(upload(1, "b"))

    assert scored(one.batch(upload(2, "a"))) == ["a"]


def test_what_is_heard_of_other_partitions_counts_too() -> None:
    one = Partition()
    one.batch(upload(0, "a"), upload(1, "b"))
    (device,) = one.crowd.values_of(DEVICE)

    one.crowd.hear(3, name(DEVICE, device), 20)

    assert one.backfill.waiting(0)
    assert sorted(scored(one.turn())) == ["a", "b"]
    assert not one.backfill.waiting(0)


def test_nobodys_turn_comes_before_what_their_scores_need_was_looked_at() -> None:
    early, crowd = [True], Crowd()
    backfill = Backfill(crowd, is_early=lambda: early[0])
    one = Partition(0, crowd, backfill)
    one.batch(upload(0, "a"))

    before = scored(one.batch(upload(1, "b"))), backfill.waiting(0)
    early[0] = False

    assert before == (["b"], 0)
    assert backfill.waiting(0) == 2
    assert scored(one.turn()) == ["a", "b"]


def test_each_partition_has_its_own_accounts_scored() -> None:
    crowd = Crowd()
    backfill = Backfill(crowd)
    low, high = Partition(0, crowd, backfill), Partition(3, crowd, backfill)
    low.batch(upload(0, "a"))

    assert scored(high.batch(upload(0, "b"))) == ["b"]
    assert scored(low.batch(upload(1, "c", "other"))) == ["c", "a"]


def test_a_score_made_again_wins_over_every_earlier_one_and_over_no_later_one() -> None:
    one = Partition()
    (first,) = one.batch(upload(0, "a")).scores
    again = next(s for s in one.batch(upload(1, "b")).scores if s.score.account == "a").score.stamp
    one.crowd.hear(3, name(DEVICE, *one.crowd.values_of(DEVICE)), 30)

    turn = {score.account: score.stamp for score, _ in one.turn().scores}

    later = one.batch(upload(2, "a")).scores[0].score.stamp
    assert replaces(again, first.score.stamp)
    assert replaces(turn["a"], again)
    assert replaces(turn["b"], Stamp("epoch", 1, 0, turn["b"].partitions, 100))
    assert replaces(later, turn["a"])
    assert not replaces(again, turn["a"])


def test_a_batch_takes_a_few_and_the_next_ones_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "BACKFILLED_A_BATCH", 3)
    one = Partition()
    one.batch(*(upload(n, f"a-{n}") for n in range(7)))

    taken = [
        one.batch(upload(7 + n, f"b-{n}", "farm" if not n else f"own-{n}")).part(Scores).backfilled for n in range(4)
    ]

    assert taken == [3, 3, 1, 0]


@pytest.mark.parametrize(("accounts", "most"), [(0, 256), (2_048, 256), (4_000, 500), (8_000, 1_000), (90_000, 1_000)])
def test_a_batch_takes_an_eighth_of_its_own_accounts_within_bounds(accounts: int, most: int) -> None:
    taken = step.go_with_a_batch(accounts)

    assert taken == most


def test_too_many_that_wait_are_skipped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 4)
    one = Partition()
    one.batch(*(upload(n, f"a-{n}") for n in range(7)))

    part = one.batch(upload(7, "b")).part(Scores)

    counted = {increment.metric: increment.amount for increment in part.increments()}
    assert counted["upload_gate_scores_backfilled"] == 4
    assert counted["upload_gate_scores_backfill_skipped"] == 4


def test_no_account_waits_again_for_a_step_that_was_reached_however_many_features_there_are() -> None:
    crowd = Crowd()
    backfill = Backfill(crowd)
    values = [number * 0x9E3779B97F4A7C15 & 0xFFFF_FFFF_FFFF_FFFF for number in range(1, 80_001)]
    for value in values:
        for account in (1, 2):
            crowd.note(0, IP, value, account, AT_US)
    backfill.remember(["a"], [account_number("a")])
    crowd.note(0, IP, values[0], account_number("a"), AT_US)
    backfill.take(0, 1_000)

    waited = 0
    for value in values[:500]:
        crowd.note(0, IP, value, account_number("a"), AT_US)
        crowd.note(0, IP, value, 1, AT_US, established=True)
        waited += len(backfill.take(0, 1_000))

    assert waited <= 25


def test_a_feature_whose_step_made_room_may_reach_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FEATURES", 1)
    crowd = Crowd()
    backfill = Backfill(crowd)
    for value in (1, 2):
        for account in ("a", "b"):
            backfill.remember([account], [account_number(account)])
            crowd.note(0, IP, value, account_number(account), AT_US)
        backfill.take(0, 100)
    backfill.remember(["c"], [account_number("c")])
    crowd.note(0, IP, 1, account_number("c"), AT_US)

    assert sorted(backfill.take(0, 100)) == ["a", "b", "c"]


def test_a_state_that_cannot_be_read_or_scored_is_passed_over() -> None:
    one = Partition()
    one.batch(upload(0, "a"), upload(1, "b"))
    one.states["a"] = b"\x03no"

    assert scored(one.batch(upload(2, "c"))) == ["c", "b"]


def test_parts_that_are_merged_add_up_and_keep_the_last_score() -> None:
    one = Partition()
    first, second = one.batch(upload(0, "a")), one.batch(upload(1, "b"))

    both = merged([first, second])

    assert sorted(scored(both)) == ["a", "b"]
    assert both.part(Scores).backfilled == 1
    assert both.part(States).packed.keys() == {"a", "b"}


def test_an_account_is_known_by_its_hash_until_another_takes_its_slot() -> None:
    ids = AccountIds(max_slots=4)
    names = [f"a-{n}" for n in range(40)]

    for account in names:
        ids.remember([account], [account_number(account)])

    held = [ids.held(account_number(account)) for account in names]
    assert 1 <= sum(account is not None for account in held) <= 4
    assert all(account in (None, given) for account, given in zip(held, names, strict=True))


def test_a_table_of_ids_that_grows_loses_none() -> None:
    ids = AccountIds()
    names = [f"a-{n}" for n in range(20_000)]

    ids.remember(names, [*map(account_number, names)])

    assert sum(ids.held(account_number(account)) == account for account in names) > 0.8 * len(names)


def test_a_count_that_falls_with_the_days_makes_nobody_wait() -> None:
    crowd = Crowd()
    backfill = Backfill(crowd)
    days = {"a": (0,), "b": (0,), "c": (0,), "d": (0, 6), "e": (7,)}
    for day in range(8):
        for account, shown in days.items():
            if day in shown:
                backfill.remember([account], [account_number(account)])
                crowd.note(0, IP, 1, account_number(account), AT_US + day * DAY_US)
        crowd.note(0, IP, 2, 7, AT_US + day * DAY_US)  # somebody opens each day
        taken = backfill.take(0, 100)
        if day == 0:
            assert sorted(taken) == ["a", "b", "c", "d"]
    assert crowd.count(IP, 1) == 2
    assert taken == []
