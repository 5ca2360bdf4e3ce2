"""What a pause would have stopped: the counts of the last 15 minutes, over all gates, in words."""

from __future__ import annotations

from gate.app.recent_uploads import RecentUploads
from gate.cli.preview import Narrowed, recent_sentences
from gate.core.duration import MINUTE_US
from gate.core.pause.scope import Action, Scope
from gate.ports.boards import Acknowledgement

NOON_US = 1_800_000_000_000_000 // MINUTE_US * MINUTE_US


def count(recent: RecentUploads, class_: str, lets_in: bool, harmless: bool, now_us: int) -> None:
    if now_us >= recent.next_us:
        recent.turn(now_us)
    key = (class_, lets_in, harmless)
    recent.current[key] = recent.current.get(key, 0) + 1


def test_uploads_count_for_fifteen_minutes_and_no_longer() -> None:
    recent, counted_s = RecentUploads(), list[int]()
    for minute in range(20):
        count(recent, "new", minute % 2 == 0, True, NOON_US + minute * MINUTE_US)
        counted_s.append(recent.seconds(NOON_US + minute * MINUTE_US))

    last = recent.by_class(NOON_US + 19 * MINUTE_US)
    later = recent.by_class(NOON_US + 30 * MINUTE_US)
    never = recent.by_class(NOON_US + 40 * MINUTE_US)

    assert last == {"new": (15, 7, 7)}
    assert later == {"new": (4, 2, 2)}
    assert never == {}
    assert counted_s == [min(60 * minute, 900) for minute in range(20)]
    assert recent.seconds(NOON_US + 50 * MINUTE_US) == 900


def test_a_clock_that_is_set_back_loses_no_count() -> None:
    recent = RecentUploads()
    count(recent, "new", True, False, NOON_US)
    count(recent, "new", True, False, NOON_US - 5 * MINUTE_US)

    assert recent.by_class(NOON_US) == {"new": (2, 2, 0)}


def test_after_a_clock_that_was_ahead_uploads_count_for_fifteen_minutes_again() -> None:
    recent, ahead_us = RecentUploads(), 5 * 365 * 24 * 60 * MINUTE_US
    for minute in range(3):
        count(recent, "new", True, True, NOON_US + ahead_us + minute * MINUTE_US)
    set_back = recent.by_class(NOON_US + 2 * MINUTE_US), recent.seconds(NOON_US + 2 * MINUTE_US)
    for minute in range(3, 30):
        count(recent, "new", True, True, NOON_US + minute * MINUTE_US)

    assert set_back == ({"new": (3, 3, 3)}, 120)
    assert recent.by_class(NOON_US + 29 * MINUTE_US) == {"new": (15, 15, 15)}
    assert recent.seconds(NOON_US + 29 * MINUTE_US) == 900


def gate(name: str, **recent: tuple[int, int, int]) -> Acknowledgement:
    return Acknowledgement(name, "http://gate", 1, 0, recent=recent, recent_s=900)


def test_the_preview_adds_up_all_gates_by_class_and_says_how_much_was_harmless() -> None:
    gates = [gate("g-1", new=(100, 90, 9), regular=(500, 500, 490)), gate("g-2", new=(20, 10, 1))]

    said = recent_sentences(gates, 3, Scope(classes=frozenset({"new"})), Action.STOP)

    assert said == [
        "in the last 15m it would have stopped 100 of 600 uploads let in (17%), as 2 gates counted, without the 1 that have "
        "not counted yet",
        "by class: new 100; 10% of them are of accounts without a score or with a harmless one",
    ]


def test_a_narrower_scope_is_bounded_and_a_class_that_nobody_met_is_warned_of() -> None:
    said = recent_sentences(
        [gate("g-1", new=(10, 10, 10))], 1, Scope(classes=frozenset({"vip"}), kinds=frozenset({"image"})), Action.REVIEW
    )

    assert said[0].startswith("in the last 15m it would have sent to review at most 0 of 10 uploads")
    assert "class vip reached any gate" in said[-1]


def test_a_list_of_accounts_is_not_said_to_meet_every_upload() -> None:
    accounts = Scope(accounts=frozenset({"a-1"}))

    said = recent_sentences([gate("g-1", new=(9, 9, 9))], 1, accounts, Action.STOP, Narrowed(counts=True))

    assert said == [
        "what it would have met in the last 15m is unknown: gates count by class alone",
        "it only counts, and holds none of them",
    ]


def test_a_pause_that_leaves_accounts_alone_or_only_counts_is_previewed_as_that() -> None:
    gates = [gate("g-1", new=(1_000, 800, 9))]

    said = recent_sentences(gates, 1, Scope(), Action.STOP, Narrowed(percent=10, exempts=True, counts=True))

    assert "would have stopped at most 800 of 800" in said[0]
    assert said[-3:] == [
        "of those it holds the uploads of 10% of the accounts, about 80",
        "what it exempts is counted in, so it would have held fewer",
        "it only counts, and holds none of them",
    ]
