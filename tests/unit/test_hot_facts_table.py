"""Which hot facts a table keeps and which one an upload meets, at the bounds of day, room and age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from gate.core.duration import DAY_US
from gate.core.fields.times import MAX_AHEAD_US
from gate.core.hot_facts import (
    LONGEST_DAYS,
    MOST,
    MOST_AGES,
    NEWBORN_US,
    YOUNG_US,
    HotFactTable,
    HotKind,
    MetFact,
    SharedFeature,
    newcomer_name,
)

TODAY = 20_000
NOW_US = TODAY * DAY_US + 5
NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US)
DEVICE = SharedFeature(HotKind.DEVICE, "d", 30, 0, 0.8, TODAY + 7)
NETWORK = SharedFeature(HotKind.NETWORK, "n", 30, 0, 0.6, TODAY + 7)


def table(*facts: SharedFeature, most: int = MOST) -> HotFactTable:
    held = HotFactTable(most)
    for fact in facts:
        held.put(fact, NOW_US)
    return held


def test_a_gate_holds_10_000_hot_facts_for_at_most_8_days_of_accounts_of_a_week() -> None:
    assert (MOST, LONGEST_DAYS, YOUNG_US) == (10_000, 8, 7 * DAY_US)


@pytest.mark.parametrize(("days", "kept"), [(0, False), (1, True), (8, True), (9, False), (-1, False)])
def test_a_fact_is_kept_that_expires_within_8_days_and_any_other_takes_away_the_earlier_one(
    days: int, kept: bool
) -> None:
    held = table(DEVICE, replace(DEVICE, expires_day=TODAY + days))

    assert len(held) == kept


def test_expired_facts_are_dropped_on_the_next_day() -> None:
    held = table(replace(DEVICE, expires_day=TODAY + 1), replace(NETWORK, expires_day=TODAY + 2))

    held.put(replace(DEVICE, hash="d-2"), NOW_US + DAY_US)

    assert (set(held.devices), set(held.networks)) == ({"d-2"}, {"n"})


@pytest.mark.parametrize(
    ("new", "kept"),
    [
        (replace(NETWORK, hash="n-2", risk=0.7), {"d", "n-2"}),
        (replace(NETWORK, hash="n-2", risk=0.5), {"d", "n"}),
        (replace(NETWORK, hash="n-2", accounts=31), {"d", "n-2"}),
        (replace(NETWORK, hash="n-2", accounts=29), {"d", "n"}),
        (replace(NETWORK, risk=0.1), {"d", "n"}),
    ],
)
def test_a_full_table_drops_the_lowest_risk_for_a_higher_one(new: SharedFeature, kept: set[str]) -> None:
    held = table(DEVICE, NETWORK, new, most=2)

    assert {*held.devices, *held.networks} == kept
    assert len(held) == 2


def test_a_full_table_goes_by_the_latest_risk_of_each_fact() -> None:
    facts = [replace(DEVICE, hash=f"d-{n}", risk=0.1 * n) for n in range(1, 4)]
    held = table(*facts, most=2)

    held.put(replace(DEVICE, hash="d-2", risk=0.9), NOW_US)
    held.put(replace(DEVICE, hash="d-4", risk=0.5), NOW_US)

    assert set(held.devices) == {"d-2", "d-4"}


@pytest.mark.parametrize(
    ("device", "network", "met"),
    [
        ("d", "n", MetFact(0.8, "device:d", False)),
        ("x", "n", MetFact(0.6, "network:n", False)),
        (None, "n", MetFact(0.6, "network:n", False)),
        ("d", None, MetFact(0.8, "device:d", False)),
        (None, None, None),
        ("n", "d", None),
    ],
)
def test_an_upload_meets_the_fact_of_the_higher_risk(
    device: str | None, network: str | None, met: MetFact | None
) -> None:
    assert table(DEVICE, NETWORK).met(device, network, None, NOW_US) == met


def test_of_two_equal_risks_the_device_s_is_met_and_of_a_higher_one_the_network_s() -> None:
    equal, higher = replace(NETWORK, risk=0.8), replace(NETWORK, risk=0.81)

    assert table(DEVICE, equal).met("d", "n", None, NOW_US) == MetFact(0.8, "device:d", False)
    assert table(DEVICE, higher).met("d", "n", None, NOW_US) == MetFact(0.81, "network:n", False)


@pytest.mark.parametrize(
    ("age_us", "risk"), [(0, 0.8), (NEWBORN_US, 0.8), (NEWBORN_US + 1, 0.3), (YOUNG_US, 0.3), (YOUNG_US + 1, None)]
)
def test_an_account_meets_the_risk_of_its_age_until_it_is_a_week_old(age_us: int, risk: float | None) -> None:
    held = table(replace(DEVICE, later_risk=0.3))

    met = held.met("d", None, NOW - timedelta(microseconds=age_us), NOW_US)

    assert met == (None if risk is None else MetFact(risk, "device:d", True))


def test_a_fact_without_a_later_risk_has_one_risk() -> None:
    assert DEVICE.later_risk is None
    assert (DEVICE.risk_of(True), DEVICE.risk_of(False)) == (0.8, 0.8)


@pytest.mark.parametrize(("late_us", "met"), [(-1, True), (0, False)])
def test_a_fact_is_met_until_the_day_on_which_it_expires(late_us: int, met: bool) -> None:
    assert (table(DEVICE).met("d", None, None, (TODAY + 7) * DAY_US + late_us) is not None) is met


def test_a_feature_that_is_no_longer_hot_is_dropped_alone() -> None:
    held = table(DEVICE, NETWORK)

    held.drop(HotKind.DEVICE, "d")
    held.drop(HotKind.DEVICE, "n")

    assert (set(held.devices), set(held.networks)) == (set(), {"n"})


def newcomer(seconds: int, risk: float = 0.5) -> SharedFeature:
    return SharedFeature(HotKind.NEWCOMER, newcomer_name(seconds), 0, 0, risk, TODAY + 7)


def met_at(held: HotFactTable, age_us: int, device: str | None = None) -> MetFact | None:
    return held.met(device, None, NOW - timedelta(microseconds=age_us), NOW_US)


@pytest.mark.parametrize(
    ("age_us", "met"),
    [
        (0, (0.5, 30)),
        (-MAX_AHEAD_US, (0.5, 30)),
        (-MAX_AHEAD_US - 1, None),
        (30_000_000 - 1, (0.5, 30)),
        (30_000_000, (0.4, 600)),
        (600_000_000 - 1, (0.4, 600)),
        (600_000_000, None),
    ],
)
def test_an_account_without_a_score_meets_the_fact_of_its_age(age_us: int, met: tuple[float, int] | None) -> None:
    held = table(newcomer(600, 0.4), newcomer(30))

    expected = None if met is None else MetFact(met[0], f"newcomer:{newcomer_name(met[1])}", False)
    assert met_at(held, age_us) == expected


def test_an_account_of_unknown_age_or_older_than_a_day_is_no_newcomer() -> None:
    held = table(newcomer(7 * 86_400))

    assert held.met(None, None, None, NOW_US) is None
    assert met_at(held, NEWBORN_US) is None
    assert met_at(held, NEWBORN_US - 1) is not None


def test_a_newcomer_on_a_hot_device_meets_the_risk_of_the_device() -> None:
    held = table(newcomer(30, 0.9), DEVICE)

    assert met_at(held, 0, "d") == MetFact(0.8, "device:d", True)
    assert met_at(held, 0, "elsewhere") == MetFact(0.9, f"newcomer:{newcomer_name(30)}", False)


def test_a_fact_of_newcomers_ends_with_its_day() -> None:
    held = table(newcomer(30))
    late_us = (TODAY + 7) * DAY_US
    created = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=late_us)

    assert held.met(None, None, created, late_us - 1) is not None
    assert held.met(None, None, created, late_us) is None


def test_a_gate_holds_few_facts_of_newcomers() -> None:
    held = table(*(newcomer(seconds) for seconds in range(1, MOST_AGES + 2)))
    held.put(newcomer(1, 0.7), NOW_US)

    assert len(held) == len(held.newcomers) == MOST_AGES
    assert met_at(held, 0) == MetFact(0.7, f"newcomer:{newcomer_name(1)}", False)


def test_devices_of_a_higher_risk_push_out_no_fact_of_newcomers_and_leave_none_out() -> None:
    devices = [SharedFeature(HotKind.DEVICE, f"{n:016x}", 30, 0, 0.9, TODAY + 7) for n in range(6)]
    early, late = HotFactTable(3), HotFactTable(3)

    for fact in (newcomer(30), *devices):
        early.put(fact, NOW_US)
    for fact in (*devices, newcomer(30)):
        late.put(fact, NOW_US)

    for held in (early, late):
        assert (len(held.devices), len(held.newcomers)) == (3, 1)
        assert met_at(held, 0) == MetFact(0.5, f"newcomer:{newcomer_name(30)}", False)


def test_facts_of_newcomers_leave_devices_their_room() -> None:
    held = HotFactTable(2)
    for fact in (*(newcomer(seconds, 0.9) for seconds in range(1, 8)), DEVICE, NETWORK):
        held.put(fact, NOW_US)

    assert (len(held.devices), len(held.networks), len(held.newcomers)) == (1, 1, 7)


def test_a_fact_that_has_ended_hides_no_other() -> None:
    last_day = replace(DEVICE, risk=0.99, expires_day=TODAY + 1)
    later_us = (TODAY + 1) * DAY_US
    created = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=later_us)
    held = table(last_day, NETWORK, newcomer(30))

    met = [held.met("d", network, created, later_us) for network in ("n", None)]

    assert [fact.name for fact in met if fact is not None] == ["network:n", f"newcomer:{newcomer_name(30)}"]
