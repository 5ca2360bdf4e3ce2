"""The risk that a device or a network has earned: what the scorecard will give the next new account there.

The scorecard here is as `fit accounts` writes it for sign-ups: accounts that share a device or upload within a minute of
their creation are mostly abusive.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gate.app.hear_hot_facts import HearHotFacts
from gate.core.account import Account
from gate.core.duration import DAY_US
from gate.core.event import Attempted
from gate.core.hot_facts import HotFactTable
from gate.core.pseudonym import Pseudonyms
from gate.policyfile import load_policy
from streams.core.crowd import DEVICE, IP, LEVELS, Crowd
from streams.core.earned_risk import LEAST_RISK, MOST_TRIED, earned_risk, least_accounts, newcomer_risks
from streams.core.events import encode
from streams.core.scorecard import Scorecard, Term, made_of
from streams.core.scorecard.scale import log_odds_of, probability
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process
from streams.worker.hot_facts import HotFactRecords
from streams.worker.newcomer_facts import NewcomerRecords

NOW_US = 20_000 * DAY_US + 5
NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US)
HASHES, NAMES = Hashes(b"salt"), Pseudonyms(b"salt")
ADDRESS = "203.0.113.9"


class Clock:
    def now_us(self) -> int:
        return NOW_US


def fitted() -> Scorecard:
    return made_of(
        [
            Term(("device_strangers",), "network", ((1.5, 2.5, 3.5),), (-300, 9_000, 20_000, 30_000, 0)),
            Term(("device_accounts",), "network", ((1.5, 2.5, 3.5),), (-400, 6_000, 9_000, 12_000, 0)),
            Term(("ip_strangers",), "network", ((32.0, 512.0),), (-300, 4_000, 30_000, 0)),
            Term(("first_action_minutes",), "age", ((0.5, 8_000.0),), (12_000, 6_000, -1_500, 0)),
        ],
        base_rate=0.02,
        training_share=0.07,
        slope=1.5,
        offset=-2.7,
    )


def met(
    crowd: Crowd, device: str | None, address: str | None, card: Scorecard, age: timedelta = timedelta(0)
) -> str | None:
    """The verdict of the default policy on the first upload of a new account there."""
    table = HotFactTable()
    heard = HearHotFacts(table, Clock())
    for key, value in HotFactRecords(crowd, card, 4).changes(range(4)):
        heard.hear(key, value)
    device = None if device is None else NAMES.of_device(device)
    address = None if address is None else NAMES.of_ip(address)
    fact = table.met(device, address, NOW - age, NOW_US)
    return None if fact is None else load_policy(None).thresholds["new"].verdict_at(fact.risk)


def used(crowd: Crowd, kind: int, value: int, accounts: int, established: int = 0) -> Crowd:
    for account in range(accounts):
        crowd.note(account % 4, kind, value, account, NOW_US, account < established)
    return crowd


def on_device(accounts: int, established: int = 0) -> Crowd:
    return used(Crowd(), DEVICE, HASHES.devices["device"], accounts, established)


def at_address(accounts: int, established: int = 0) -> Crowd:
    return used(Crowd(), IP, HASHES.networks[ADDRESS], accounts, established)


def test_a_farms_fourth_account_is_met_at_its_first_upload_and_its_second_is_not() -> None:
    assert met(on_device(3), "device", None, fitted()) in ("review", "challenge", "deny")
    assert met(on_device(1), "device", None, fitted()) is None


def test_a_newcomer_on_a_schools_tablet_at_a_familys_or_a_carriers_address_is_not_met() -> None:
    school = on_device(30, established=28)
    family = at_address(5)
    carrier = at_address(256, established=200)

    assert met(school, "device", None, fitted()) is None
    assert met(family, None, ADDRESS, fitted()) is None
    assert met(carrier, None, ADDRESS, fitted()) is None


def test_a_child_that_got_its_account_days_ago_may_use_the_tablet_of_a_class_of_new_accounts() -> None:
    tablet = on_device(14)

    newborn = met(tablet, "device", None, load_scorecard(None))
    days_old = met(tablet, "device", None, load_scorecard(None), timedelta(days=3))

    assert (newborn, days_old) == ("challenge", None)


def test_a_farms_account_that_waited_days_is_met_where_the_scorecard_holds_its_device_against_it() -> None:
    assert met(on_device(3), "device", None, fitted(), timedelta(days=3)) in ("review", "challenge", "deny")


def test_a_networks_farm_is_met_by_its_address() -> None:
    crowd = at_address(256)
    strict = made_of(
        [
            Term(("ip_strangers",), "network", ((32.0,),), (0, 40_000, 0)),
            Term(("first_action_minutes",), "age", ((0.5,),), (15_000, 0, 0)),
        ],
        base_rate=0.02,
        training_share=0.5,
    )

    assert met(crowd, None, ADDRESS, strict) in ("review", "challenge", "deny")


@pytest.mark.parametrize("age", [timedelta(0), timedelta(days=1)])
@pytest.mark.parametrize("accounts", [1, 2, 3, 30])
def test_a_device_earns_what_the_next_new_account_there_scores(accounts: int, age: timedelta) -> None:
    own = score_of_newcomer(on_device(accounts), age)

    assert earned_risk(fitted(), DEVICE, accounts, 0, age // timedelta(microseconds=1)) == pytest.approx(own)


@pytest.mark.parametrize(("accounts", "established"), [(1, 0), (40, 0), (600, 0), (256, 200)])
def test_an_address_earns_what_the_next_new_account_there_scores(accounts: int, established: int) -> None:
    crowd = at_address(accounts, established)
    counted = crowd.counts(IP, HASHES.networks[ADDRESS])

    own = score_of_newcomer(crowd)

    assert earned_risk(fitted(), IP, *counted) == pytest.approx(own)


def test_a_feature_is_hot_from_the_accounts_that_earn_the_least_risk_published() -> None:
    card = fitted()

    least = least_accounts(card, DEVICE, LEAST_RISK, 0)

    assert earned_risk(card, DEVICE, least - 1, 0) < LEAST_RISK <= earned_risk(card, DEVICE, least, 0)
    assert least_accounts(card, DEVICE, LEAST_RISK, 7) == 7
    assert least_accounts(card, DEVICE, 0.9999, 2) == MOST_TRIED


def test_devices_that_few_share_are_hot_only_where_the_scorecard_says_that_few_suffice() -> None:
    few = on_device(LEVELS[DEVICE])

    assert len(HotFactRecords(few, fitted(), 4).changes(range(4))) == 1
    assert HotFactRecords(few, load_scorecard(None), 4).changes(range(4)) == []


def score_of_newcomer(crowd: Crowd, age: timedelta = timedelta(0)) -> float:
    """The risk that the worker gives an account after its first upload, from the device and the address."""
    account = Account("newcomer", created_at=NOW - age)
    event = encode(Attempted("e-1", NOW, account, device="device", ip=ADDRESS))
    done = process(
        [Record(0, b"newcomer", event, (), 0)], {}, crowd, fitted(), HASHES, load_web_links(), ("events", 0), "epoch", 0
    )
    return done.scores[0].score.risk


def sign_ups(**changed: Any) -> Scorecard:
    """As `fit accounts` writes it for sign-ups where nearly all first uploads within seconds are abusive."""
    given: dict[str, Any] = {"base_rate": 0.02, "training_share": 0.07, "slope": 1.0, "offset": -2.7} | changed
    terms = [
        Term(("first_action_minutes",), "age", ((0.5, 10.0),), (50_000, 15_000, -1_500, 0)),
        Term(("age_days", "device_strangers"), "age", ((9.0,), (1.5,)), (30_000, 90_000, 0, 0, 0, 0, 0, 0, 0)),
        Term(("device_accounts",), "network", ((1.5, 2.5),), (-2_000, 9_000, 20_000, 0)),
    ]
    return made_of(terms, **given)


def test_newcomers_have_the_risk_of_their_age_alone_and_at_most_that_of_one_family() -> None:
    risks = newcomer_risks(sign_ups())

    assert risks[10] == risks[30] == 0.5
    assert risks[60] == risks[600] == pytest.approx(probability(log_odds_of(0.02) + 1.5))
    assert risks[3_600] == risks[86_400] == pytest.approx(probability(log_odds_of(0.02) - 0.15))


def test_the_risk_of_newcomers_keeps_a_lower_cap_and_a_lower_bound() -> None:
    capped, bounded = newcomer_risks(sign_ups(caps={"age": 2.0})), newcomer_risks(sign_ups(alone_at_most=0.3))

    assert capped[10] == pytest.approx(probability(log_odds_of(0.02) + 2.0))
    assert bounded[10] == 0.3


def test_who_uploads_sooner_has_no_lower_risk() -> None:
    rising = made_of(
        [Term(("first_action_minutes",), "age", ((0.5, 5.0),), (1_000, 30_000, 0, 0))],
        base_rate=0.02,
        training_share=0.5,
    )

    risks = list(newcomer_risks(rising).values())

    assert risks == sorted(risks, reverse=True)
    assert risks[0] == pytest.approx(probability(log_odds_of(0.02) + 0.1))


def test_a_scorecard_that_trusts_who_uploads_at_once_holds_a_short_wait_against_nobody() -> None:
    """As where honest accounts are created by their first upload, and an operator has written so into the scorecard."""
    at_once = Term(("first_action_minutes",), "age", ((0.05, 0.5),), (-20_000, 50_000, 0, 0))
    newborn = Term(("freshness",), "age", ((0.99999, 0.999999),), (0, 50_000, -20_000, 0))

    for term in (at_once, newborn):
        risks = newcomer_risks(made_of([term], base_rate=0.02, training_share=0.07))
        assert max(risks.values()) < 0.02


def test_a_wait_that_a_bound_is_not_at_is_looked_at() -> None:
    trusted = Term(("first_action_minutes",), "age", ((0.2, 0.3),), (50_000, -20_000, 50_000, 0))

    risks = newcomer_risks(made_of([trusted], base_rate=0.02, training_share=0.07))

    assert risks[10] == 0.5
    assert risks[30] < 0.02


@pytest.mark.parametrize("cut", [1e-300, 1e300])
def test_cuts_of_any_size_are_read(cut: float) -> None:
    terms = [
        Term((name,), "age", ((cut,),), (50_000, 0, 0)) for name in ("first_action_minutes", "age_days", "freshness")
    ]

    risks = newcomer_risks(made_of(terms, base_rate=0.02, training_share=0.07))

    assert all(0.0 < risk <= 0.5 for risk in risks.values())


def test_a_cap_of_one_on_age_ends_the_facts_up_to_a_base_rate_of_a_tenth() -> None:
    capped = sign_ups(caps={"age": 1.0}, base_rate=0.1)

    assert met_alone(capped, timedelta(0)) is None
    assert max(newcomer_risks(capped).values()) < LEAST_RISK


def test_where_much_is_abusive_a_newcomer_is_met_only_if_its_age_speaks_against_it() -> None:
    much = {"base_rate": 0.4, "training_share": 0.4, "offset": 0.0, "alone_at_most": 0.9}
    unaware = made_of([Term(("device_accounts",), "network", ((1.5,),), (0, 9_000, 0))], **much)

    assert met_alone(unaware, timedelta(0)) is None
    assert NewcomerRecords(opened(), unaware).changes([0])
    assert all(value is None for _, value in NewcomerRecords(opened(), unaware).changes([0]))
    assert met_alone(sign_ups(**much), timedelta(seconds=9)) == "deny"


def opened() -> Crowd:
    crowd = Crowd()
    used(crowd, DEVICE, 1, 1)
    return crowd


def met_alone(card: Scorecard, age: timedelta) -> str | None:
    """The verdict of the default policy on the first upload of an account on a device that nobody shares."""
    crowd, table = Crowd(), HotFactTable()
    used(crowd, DEVICE, 1, 1)
    for key, value in NewcomerRecords(crowd, card).changes(range(4)):
        HearHotFacts(table, Clock()).hear(key, value)
    fact = table.met("device", "network", NOW - age, NOW_US)
    return None if fact is None else load_policy(None).thresholds["new"].verdict_at(fact.risk)


def test_a_first_upload_within_seconds_is_reviewed_where_the_scorecard_was_fitted_to_such_bots() -> None:
    assert met_alone(sign_ups(), timedelta(seconds=9)) == "review"


@pytest.mark.parametrize("age", [timedelta(seconds=31), timedelta(minutes=5), timedelta(days=1)])
def test_a_newcomer_who_looks_around_first_is_not_met(age: timedelta) -> None:
    assert met_alone(sign_ups(), age) is None


def test_the_shipped_scorecard_meets_no_newcomer() -> None:
    assert met_alone(load_scorecard(None), timedelta(0)) is None
    assert max(newcomer_risks(load_scorecard(None)).values()) < 0.1


def test_the_facts_of_newcomers_are_told_by_one_worker_once_a_day_and_again_when_asked() -> None:
    crowd = Crowd()
    records = NewcomerRecords(crowd, sign_ups())

    before_any_event = records.changes(range(4))
    used(crowd, DEVICE, 1, 1)
    of_another, first, same_day = records.changes([1, 2, 3]), records.changes(range(4)), records.changes(range(4))
    asked = records.changes(range(4), True)
    crowd.note(0, DEVICE, 2, 1, NOW_US + DAY_US)
    next_day = records.changes(range(4))
    records.changes([1])
    taken_over = records.changes(range(4))

    assert before_any_event == of_another == same_day == []
    assert first == asked
    assert [key for key, _ in next_day] == [key for key, _ in first] == [key for key, _ in taken_over]
    assert [value is not None for _, value in first] == [
        risk >= LEAST_RISK for risk in newcomer_risks(sign_ups()).values()
    ]


def test_a_scorecard_that_trusts_newcomers_takes_back_what_an_earlier_one_told() -> None:
    crowd, table = Crowd(), HotFactTable()
    used(crowd, DEVICE, 1, 1)
    heard = HearHotFacts(table, Clock())

    held = []
    for card in (sign_ups(), load_scorecard(None)):
        for key, value in NewcomerRecords(crowd, card).changes([0]):
            heard.hear(key, value)
        held.append(len(table))

    assert held == [2, 0]
    assert heard.unreadable == 0
