"""Established members, the surroundings of an account with several features, and the features that are hot."""

from __future__ import annotations

from gate.core.duration import DAY_US
from streams.core.crowd import CONTENT, DEVICE, HOST, IP, KINDS, Crowd, HotFact, HotFacts, Kind, Surroundings

NOW_US = 1_795_428_000_000_000


def showed(
    crowd: Crowd, kind: int, value: int, accounts: int, established: int = 0, at_us: int = NOW_US, first: int = 0
) -> Crowd:
    for account in range(first, first + accounts):
        crowd.note(0, kind, value, account, at_us, account - first < established)
    return crowd


def name(kind: int, value: int) -> str:
    return f"{kind:x}{value:016x}"


def test_a_schools_tablet_is_told_from_a_farm_by_its_established_accounts() -> None:
    crowd = showed(showed(Crowd(), DEVICE, 7, 10, established=9), DEVICE, 8, 10)

    assert crowd.counts(DEVICE, 7) == (10, 9)
    assert crowd.counts(DEVICE, 8) == (10, 0)


def test_the_last_day_says_whether_an_account_is_established() -> None:
    crowd = showed(Crowd(), DEVICE, 7, 5)

    showed(crowd, DEVICE, 7, 5, established=2, at_us=NOW_US + DAY_US)
    assert crowd.counts(DEVICE, 7) == (5, 2)
    showed(crowd, DEVICE, 7, 5, established=1, at_us=NOW_US + 2 * DAY_US)

    assert crowd.counts(DEVICE, 7) == (5, 1)


def test_on_one_day_an_account_is_established_if_it_once_was() -> None:
    crowd = showed(Crowd(), DEVICE, 7, 5, established=2)

    showed(crowd, DEVICE, 7, 5)
    showed(crowd, DEVICE, 7, 5, established=1)

    assert crowd.counts(DEVICE, 7) == (5, 2)


def test_established_accounts_are_heard_as_well() -> None:
    (told,) = showed(Crowd(), DEVICE, 7, 10, established=9).take_changed(0)
    hears = showed(Crowd(), DEVICE, 7, 2, established=2, first=100)

    hears.hear(1, told.feature, told.record)

    assert (told.count, told.established) == (10, 9)
    assert hears.counts(DEVICE, 7) == (12, 11)


def test_of_several_devices_the_one_that_most_accounts_share_counts() -> None:
    crowd = showed(showed(showed(Crowd(), DEVICE, 7, 3), DEVICE, 8, 9, established=4), IP, 7, 2)

    assert crowd.around(0, (7, 8, 0), [], 0) == Surroundings(device_accounts=9, device_established=4)
    assert crowd.around([7, 99], 7, 1, 1) == Surroundings(ip_accounts=2, device_accounts=3)
    assert crowd.around((), (), (0,), ()) == Surroundings()


def test_of_features_that_equally_many_share_the_one_with_fewer_established_counts() -> None:
    crowd = showed(showed(Crowd(), DEVICE, 7, 9, established=9), DEVICE, 8, 9)

    assert crowd.around(0, (7, 8), 0, 0) == crowd.around(0, (8, 7), 0, 0) == Surroundings(device_accounts=9)


def test_a_further_kind_is_one_more_entry() -> None:
    crowd = showed(Crowd(kinds={**KINDS, 5: Kind(days=2)}), 5, 7, 9)

    (told,) = crowd.take_changed(0)

    assert crowd.count(5, 7) == 9
    assert told.feature == name(5, 7)
    showed(crowd, 5, 8, 1, at_us=NOW_US + DAY_US)
    assert crowd.count(5, 7) == 9
    showed(crowd, 5, 8, 1, at_us=NOW_US + 2 * DAY_US)
    assert crowd.count(5, 7) == 0


def test_features_from_their_kinds_level_on_are_hot_and_told_once() -> None:
    crowd = showed(showed(showed(Crowd(), DEVICE, 7, 2, established=1), DEVICE, 8, 1), HOST, 7, 15)
    hot = HotFacts(crowd)

    assert hot.changes() == [HotFact(name(DEVICE, 7), 2, 1)] == hot.all()
    assert hot.changes() == []
    showed(crowd, HOST, 7, 16)
    assert hot.changes() == [HotFact(name(HOST, 7), 16, 0)]


def test_what_is_heard_becomes_hot_and_what_ages_is_hot_no_longer() -> None:
    crowd = showed(Crowd(), IP, 1, 1)
    hot = HotFacts(crowd, {CONTENT: 8})
    (told,) = showed(Crowd(), CONTENT, 7, 9, established=2).take_changed(0)

    crowd.hear(3, told.feature, told.record)
    assert hot.changes() == [HotFact(told.feature, 9, 2)]
    for day in range(1, KINDS[CONTENT].days + 1):
        assert hot.changes() == []
        showed(crowd, IP, 1, 1, at_us=NOW_US + day * DAY_US)

    assert hot.changes() == [HotFact(told.feature, 0, 0)]
    assert hot.all() == []


def test_of_too_many_hot_features_those_with_most_accounts_stay() -> None:
    crowd = Crowd()
    hot = HotFacts(crowd, most=10)
    for value in range(1, 21):
        showed(crowd, DEVICE, value, 4 + value)
    first = hot.changes()

    showed(crowd, DEVICE, 99, 40)

    assert sorted(fact.accounts for fact in first) == list(range(15, 25))
    assert sorted(hot.changes(), key=lambda fact: fact.accounts) == [
        HotFact(name(DEVICE, 11), 0, 0),
        HotFact(name(DEVICE, 99), 40, 0),
    ]
    assert len(hot.all()) == 10


def test_a_full_table_takes_no_feature_that_no_more_accounts_share_than_those_without_a_place() -> None:
    crowd = Crowd()
    hot = HotFacts(crowd, most=10)
    for value in range(1, 61):
        showed(crowd, DEVICE, value, 3)
    first = hot.changes()

    showed(crowd, DEVICE, 98, 3)
    showed(crowd, DEVICE, 99, 4)

    assert [fact.accounts for fact in first] == [3] * 10
    assert sorted(fact.accounts for fact in hot.changes()) == [0, 4]
    assert name(DEVICE, 99) in {fact.feature for fact in hot.all()}


def test_a_feature_without_a_place_gets_one_when_there_is_room_and_a_further_account_shows_it() -> None:
    crowd = Crowd()
    hot = HotFacts(crowd, {CONTENT: 2}, most=2)
    for value, accounts in ((7, 5), (8, 5), (9, 3)):
        showed(crowd, CONTENT, value, accounts)
    hot.changes()
    later_us = NOW_US + (KINDS[CONTENT].days - 1) * DAY_US
    showed(crowd, CONTENT, 9, 3, at_us=later_us)
    showed(crowd, IP, 1, 1, at_us=later_us + DAY_US)
    gone = hot.changes()

    showed(crowd, CONTENT, 9, 4, at_us=later_us + DAY_US)

    assert {fact.feature: fact.accounts for fact in gone} == {name(CONTENT, 7): 0, name(CONTENT, 8): 0}
    assert hot.changes() == hot.all() == [HotFact(name(CONTENT, 9), 4, 0)]


def test_more_changes_than_are_kept_are_found_by_looking_at_everything() -> None:
    crowd = Crowd()
    hot = HotFacts(crowd, {IP: 2})
    hot.changes()

    for value in range(1, 100_102):
        showed(crowd, IP, value, 2)

    told: dict[str, int] = {}
    while hot.has_more:
        told.update((fact.feature, fact.accounts) for fact in hot.changes())
    assert len([accounts for accounts in told.values() if accounts]) == 10_000
    assert len(hot.all()) == 10_000
