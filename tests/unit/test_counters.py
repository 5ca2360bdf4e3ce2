"""Counters of events: they never know their own event, labels move odds, memory is bounded, kept counters go on."""

from __future__ import annotations

from math import log1p

import pytest

from streams.core.counters import BY_COUNT, BY_TIME, COUNT_NAMES, LABEL_NAMES, CountedEvent, Counters

NAMES = (*COUNT_NAMES, *LABEL_NAMES)


def read(counters: Counters, event: CountedEvent, now: float) -> dict[str, float]:
    return dict(zip(NAMES, counters.read(event, now), strict=True))


def event(source: str = "a", target: str = "shop", amount: float = 10.0) -> CountedEvent:
    return CountedEvent(source, target, "phone", "buy", amount)


def test_a_value_is_read_before_its_event_is_counted() -> None:
    counters = Counters(BY_COUNT)

    before = read(counters, event(), 1.0)
    again = read(counters, event(), 1.0)
    counters.add(event(), 1.0)
    after = read(counters, event(), 2.0)

    assert before == again
    assert before["source_count"] == 0.0
    assert after["source_count"] == log1p(1)
    assert after["source_gap"] == log1p(1.0)


def test_a_count_fades_to_half_within_its_half_life() -> None:
    counters = Counters(BY_TIME)
    counters.add(event(), 0.0)

    later = read(counters, event(), BY_TIME.fast)

    assert later["source_fast"] == pytest.approx(log1p(0.5))


def test_a_burst_shows_against_what_is_usual() -> None:
    steady, bursting = Counters(BY_COUNT), Counters(BY_COUNT)
    for number in range(40):
        steady.add(event(), number * 100.0)
        bursting.add(event(), 3_960.0 + number)

    calm, hectic = read(steady, event(), 4_000.0), read(bursting, event(), 4_000.0)

    assert hectic["source_burst"] > calm["source_burst"] + 1.0


def test_pairs_know_what_share_of_a_source_goes_to_a_target() -> None:
    counters = Counters(BY_COUNT)
    for number in range(8):
        counters.add(event(target="shop" if number % 4 else "bank"), float(number))

    usual, rare = read(counters, event(target="shop"), 9.0), read(counters, event(target="bank"), 9.0)

    assert usual["source_target_share"] == pytest.approx(6.5 / 10)
    assert rare["source_target_share"] == pytest.approx(2.5 / 10)
    assert usual["source_target_spread"] == pytest.approx(2 / 9)


def test_labels_move_the_odds_of_what_shares_a_part_and_fade_with_time() -> None:
    counters = Counters(BY_COUNT)
    for number in range(20):
        bad = event(source=f"b{number}", target="mule")
        good = event(source=f"g{number}", target="shop")
        for one, label in ((bad, 1), (good, 0)):
            counters.add(one, float(number))
            counters.learn(one, float(number), label)

    mule, shop = read(counters, event("new", "mule"), 20.0), read(counters, event("new", "shop"), 20.0)
    faded = read(counters, event("new", "mule"), 20_000.0)

    assert mule["target_odds"] > 1.0 > -1.0 > shop["target_odds"]
    assert abs(faded["target_odds"]) < 0.3
    assert mule["source_odds"] == shop["source_odds"]


def test_labels_in_turn_are_counted_by_label_and_not_only_by_time() -> None:
    counters = Counters(BY_COUNT)
    unknown = read(counters, event(), 0.0)
    for number, label in enumerate((0, 1, 0, 0)):
        counters.add(event(), float(number))
        counters.learn(event(), float(number), label)

    known, other = read(counters, event(), 10.0), read(counters, event("b", "bank"), 10.0)

    assert unknown["source_abusive_gap"] == other["source_abusive_gap"] == 12.0
    assert known["source_abusive_gap"] == known["source_target_abusive_gap"] == log1p(9.0)
    assert known["source_honest_run"] == log1p(2)
    assert unknown["source_honest_run"] == other["source_honest_run"] == -1.0
    assert 0.0 < known["source_abusive_recent"] < 0.3


def test_an_amount_is_compared_with_those_before_it_in_the_run_of_its_source() -> None:
    counters = Counters(BY_TIME)
    for now, amount in ((0.0, 900.0), (7_200.0, 1.0), (7_260.0, 50.0)):
        counters.add(event(amount=amount), now)

    going_on, later = read(counters, event(amount=50.0), 7_300.0), read(counters, event(amount=50.0), 9_000.0)
    elsewhere = read(counters, event(target="bank", amount=50.0), 7_300.0)

    assert going_on["source_amount_change"] == 0.0
    assert going_on["source_amount_above_most"] == pytest.approx(log1p(50) - log1p(900))
    assert going_on["source_amount_above_least"] == pytest.approx(log1p(50) - log1p(1))
    assert (going_on["source_run_count"], going_on["source_run_amount"]) == (log1p(2), log1p(51))
    assert (later["source_run_count"], later["source_run_amount"]) == (0.0, 0.0)
    assert elsewhere["source_run_count"] == log1p(2)
    assert elsewhere["source_target_run_count"] == 0.0


def test_without_labels_the_counts_stay_the_same() -> None:
    labelled, unlabelled = Counters(BY_COUNT), Counters(BY_COUNT, labelled=False)
    for number in range(30):
        one = event(source=f"s{number % 3}")
        labelled.add(one, float(number))
        labelled.learn(one, float(number), number % 2)
        unlabelled.add(one, float(number))

    with_labels, without = labelled.read(event("s1"), 30.0), unlabelled.read(event("s1"), 30.0)

    assert with_labels[: len(COUNT_NAMES)] == without


def test_memory_is_bounded_and_the_latest_are_known() -> None:
    counters = Counters(BY_COUNT, budget=50)
    for number in range(1_000):
        counters.add(event(source=f"s{number}", target=f"t{number}"), float(number))

    assert len(counters) <= 14 * 2 * 50
    assert read(counters, event("s999"), 1_000.0)["source_count"] == log1p(1)
    assert read(counters, event("s1"), 1_000.0)["source_count"] == 0.0


def test_counters_that_were_kept_go_on_as_if_they_had_never_stopped() -> None:
    whole, first = Counters(BY_COUNT), Counters(BY_COUNT)
    events = [event(f"s{number % 7}", f"t{number % 3}", number % 5) for number in range(60)]
    for number, one in enumerate(events[:40]):
        for counters in (whole, first):
            counters.add(one, float(number))
            counters.learn(one, float(number), number % 2)
    second = Counters(BY_COUNT)
    second.go_on_from(first.kept())

    values = []
    for number, one in enumerate(events[40:], start=40):
        values.append((whole.read(one, float(number)), second.read(one, float(number))))
        for counters in (whole, second):
            counters.add(one, float(number))

    assert all(of_whole == of_second for of_whole, of_second in values)
    assert second.kept() == whole.kept()


def test_an_event_without_amount_target_or_place_is_counted_too() -> None:
    counters = Counters(BY_COUNT)
    bare = CountedEvent("a", "", "", "")

    counters.add(bare, 1.0)

    assert read(counters, bare, 2.0)["source_count"] == log1p(1)
    assert len(counters.read(bare, 2.0)) == len(NAMES)


def test_a_name_with_half_a_character_is_kept_as_any_other() -> None:
    counters, others = Counters(BY_COUNT), Counters(BY_COUNT)
    counters.add(event("\ud800"), 1.0)

    others.go_on_from(counters.kept())

    assert read(others, event("\ud800"), 2.0)["source_count"] == log1p(1)
