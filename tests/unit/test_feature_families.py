"""Each family of features: what raises it and what does not, as features, or as the shipped scorecard weighs them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Any

import pytest

from gate.core.account import Account
from gate.core.event import Attempted, Challenged, Completed, Event, Removed, Reported
from gate.core.media import Media
from gate.core.score import Stamp
from streams.core.crowd import Surroundings
from streams.core.day_rhythm import COUNTER_BYTES
from streams.core.events import encode, time_us
from streams.core.facts import Facts
from streams.core.features import FEATURES, features, named
from streams.core.fold import fold
from streams.core.link_facts import fold_links
from streams.core.models.alphabet import build_alphabet
from streams.core.models.marks import CaptionReader
from streams.core.scorecard import matrix_of
from streams.files.model_directory import load_models
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes

HASHES = Hashes(b"salt")
WEB = load_web_links()
SHIPPED = load_scorecard(None)
CAPTIONS = CaptionReader(build_alphabet(), load_models(None).captions)
BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
OLD = Account("a-17", created_at=BEGAN - timedelta(days=400))


def upload(second: float, account: Account = OLD, **given: Any) -> Attempted:
    return Attempted(f"e-{second}", BEGAN + timedelta(seconds=second), account, **given)


def folded(*events: Event) -> Facts:
    state = Facts()
    for offset, event in enumerate(events):
        text = event.text if isinstance(event, Attempted) else None
        caption = CAPTIONS.read([text])[0] if text else None
        fold(state, event, time_us(event), offset, encode(event), HASHES, WEB, caption=caption)
    return state


def shown(state: Facts, around: Surroundings) -> dict[str, float]:
    """The features that are known and not 0, by name."""
    return {name: value for name, value in named(features(state, around)).items() if value and value == value}


def found(*events: Event, around: Surroundings | None = None) -> dict[str, float]:
    return shown(folded(*events), around or Surroundings())


def told(*events: Event, around: Surroundings | None = None) -> dict[str, float]:
    """The log odds that each term of the shipped scorecard gives, by name, where they are not 0."""
    weights = SHIPPED.contributions(matrix_of([features(folded(*events), around or Surroundings())]))[0]
    return {term.name: weight for term, weight in zip(SHIPPED.terms, weights.tolist(), strict=True) if weight}


HUMAN_GAPS = (0, 40, 900, 1_000, 9_000, 9_090, 60_000, 61_700, 200_000, 201_000)


def human(**given: Any) -> list[Event]:
    return [upload(second, **given) for second in HUMAN_GAPS]


def test_an_account_that_uploaded_nothing_shows_at_most_what_others_said_of_it() -> None:
    around = Surroundings(9, 9, 9, 9)

    assert told(Completed("c", BEGAN, OLD), around=around) == {}
    assert told(upload(0, decision="deny", text="WIN $$$"), around=around) == {}
    assert told(Reported("r", BEGAN, OLD), around=around).keys() <= {"reports.report_rate"}


def test_an_old_account_with_human_gaps_and_nothing_said_is_not_spoken_against() -> None:
    assert told(*human()) == {}


def test_many_uploads_at_once_are_a_burst_and_a_few_are_not() -> None:
    assert "burst" not in found(*(upload(n) for n in range(3)))
    assert found(*(upload(n) for n in range(30)))["burst"] > 0.9
    assert told(*(upload(n) for n in range(30)))["tempo.burst"] > 1.0


def test_a_metronome_has_a_rhythm_and_people_have_none() -> None:
    assert found(*(upload(n * 10) for n in range(10)))["rhythm"] > 0.8
    assert told(*(upload(n * 10) for n in range(10)))["tempo.rhythm"] > 1.0
    assert "rhythm" not in found(*human())


def test_an_even_habit_of_once_a_day_is_no_rhythm() -> None:
    assert "rhythm" not in found(*(upload(n * 86_400) for n in range(20)))


def test_an_account_that_never_sleeps_is_told_from_a_night_shift_that_sleeps_by_day() -> None:
    hours = [3_600 * hour + 700 * (hour % 4) for hour in range(120)]
    shifts = [86_400 * day + 3_600 * hour for day in range(14) for hour in range(10, 19)]

    assert found(*map(upload, hours))["night_share"] > 0.2
    assert told(*map(upload, hours))["tempo.night_share"] == 1.0
    assert named(features(folded(*map(upload, shifts)), Surroundings()))["night_share"] == 0.0


def test_how_an_account_spends_its_days_is_unknown_before_it_was_active_in_enough_hours() -> None:
    two_days = folded(*(upload(3_600 * hour) for hour in range(95)))
    busy_evenings = folded(*(upload(86_400 * day + 60 * minute) for day in range(9) for minute in range(20)))

    assert isnan(named(features(two_days, Surroundings()))["night_share"])
    assert isnan(named(features(busy_evenings, Surroundings()))["night_share"])


def test_hours_of_long_ago_fade_when_an_account_has_other_ones() -> None:
    by_day = [86_400 * day + 3_600 * hour for day in range(10) for hour in range(8)]
    by_night = [86_400 * day + 3_600 * hour for day in range(10, 60) for hour in range(10, 18)]

    hours = folded(*map(upload, by_day + by_night)).hours

    assert hours[:COUNTER_BYTES].hex().count("0") == 16
    assert len(hours) == COUNTER_BYTES + 1


def test_gaps_are_unknown_before_the_second_upload() -> None:
    vector = named(features(folded(upload(0)), Surroundings()))

    assert vector["gaps"] == 0
    assert vector["gap_log_mean"] != vector["gap_log_mean"]
    assert vector["gap_log_deviation"] != vector["gap_log_deviation"]


def test_freshness_and_haste_fade_with_age_and_an_unknown_age_says_nothing() -> None:
    def faded(age: timedelta | None) -> tuple[float, float]:
        account = Account("a-17", created_at=None if age is None else BEGAN - age)
        told_ = told(upload(0, account))
        return told_.get("age.freshness", 0.0), told_.get("age.first_action_minutes", 0.0)

    ages = [faded(age) for age in (timedelta(seconds=10), timedelta(hours=1), timedelta(days=30))]

    assert ages == sorted(ages, reverse=True)
    assert min(ages[0]) > 0.4
    assert faded(timedelta(days=30)) == (0.0, 0.0)
    assert faded(None) == (0.0, 0.0)


def test_an_age_is_unknown_without_a_creation_time_or_an_upload() -> None:
    ages = ("age_days", "freshness", "first_action_minutes")
    unknown = named(features(folded(upload(0, Account("a-17"))), Surroundings()))
    without_upload = named(features(folded(Completed("c", BEGAN, OLD)), Surroundings()))
    known = named(features(folded(upload(60, OLD)), Surroundings()))

    assert all(vector[age] != vector[age] for vector in (unknown, without_upload) for age in ages)
    assert [round(known[age], 3) for age in ages] == [400.001, 0.0, 400 * 1440 + 1]


def test_an_account_from_the_future_is_not_believed_and_says_nothing() -> None:
    events = [upload(n, Account("a-17", created_at=BEGAN + timedelta(days=9))) for n in range(3)]

    assert told(*events).keys() == {"fields.malformed_share"}


def test_the_same_content_again_is_sameness_and_other_content_is_not() -> None:
    same = [upload(second, media=Media(sha256="same")) for second in HUMAN_GAPS]
    other = [upload(second, media=Media(sha256=f"{second}")) for second in HUMAN_GAPS]

    assert found(*same)["content_share"] > 0.9
    assert told(*same)["sameness.content_share"] > 0.5
    assert "content_share" not in found(*other)


def test_the_perceptual_hash_sees_through_a_changed_file() -> None:
    events = [upload(second, media=Media(sha256=f"{second}", phash="same")) for second in HUMAN_GAPS]

    assert found(*events)["content_share"] > 0.9


def test_captions_that_differ_only_in_numbers_and_names_are_one_template() -> None:
    cut = [upload(second, text=f"hi @user{second}, order {second} is on its way") for second in HUMAN_GAPS]
    own = [
        "so tired",
        "look at this sunset over the bay, had to stop the car",
        "☕",
        "is it friday?",
        "mum's 60th #family",
    ]
    various = [upload(second, text=text) for second, text in zip(HUMAN_GAPS, own, strict=False)]

    assert found(*cut)["template_share"] > 0.9
    assert told(*cut)["sameness.template_share"] > 2.0
    assert "template_share" not in found(*various)
    assert told(*various).get("sameness.uniformity", 0.0) < 0.3


def test_an_address_or_device_of_ones_own_says_nothing() -> None:
    assert told(*human(), around=Surroundings(1, 1, 1, 1)) == {}


@pytest.mark.parametrize(
    ("field", "term"),
    [
        ("ip_accounts", "network.ip_strangers.freshness"),
        ("device_accounts", "network.device_strangers.freshness"),
        ("content_accounts", "crowd.content_spread"),
        ("link_accounts", "crowd.link_spread"),
    ],
)
def test_the_more_accounts_share_it_the_stronger_the_evidence(field: str, term: str) -> None:
    newborn = Account("a-17", created_at=BEGAN)
    events = [upload(second, newborn, links=("https://claim-bonus77.top/x",)) for second in HUMAN_GAPS[:5]]

    values = [told(*events, around=Surroundings(**{field: count})).get(term, 0.0) for count in (1, 2, 4, 8, 16, 32, 64)]

    assert values[0] == 0.0
    assert values == sorted(values)
    assert values[-1] > 1.0


def test_a_device_shared_by_few_says_more_than_an_address_shared_by_as_many() -> None:
    told_ = told(upload(0), around=Surroundings(ip_accounts=4, device_accounts=4))

    assert told_["network.device_strangers.freshness"] > told_["network.ip_strangers.freshness"]


def test_established_accounts_on_a_shared_device_speak_for_those_who_join_them() -> None:
    newborn = Account("a-17", created_at=BEGAN)

    farm = told(upload(0, newborn), around=Surroundings(device_accounts=30))
    bought = told(upload(0, newborn), around=Surroundings(device_accounts=30, device_established=10))
    school = told(upload(0, newborn), around=Surroundings(device_accounts=30, device_established=24))

    term = "network.device_strangers.freshness"
    assert farm[term] >= bought[term] > 3.0
    assert term not in school


def test_links_are_dense_repeated_and_suspicious_each_by_itself() -> None:
    every = found(*human(links=("https://claim-bonus77.top/x",)))
    once = found(upload(0, links=("https://example.org/a",)), *(upload(second) for second in HUMAN_GAPS[1:]))

    assert every["link_share"] > 0.8
    assert every["host_share"] > 0.7
    assert every["suspicion"] > 0.5
    assert once["link_share"] < 0.2
    assert "host_share" not in once
    assert once.get("suspicion", 0.0) < 0.3


def test_an_advertisement_is_spam_and_a_sentence_is_not() -> None:
    shouting = found(upload(0, text="WIN $$$ NOW !! 100% FREE https://x.top CLAIM 50000 TODAY"))
    saying = found(upload(0, text="a quiet evening by the lake"))

    assert shouting["spam"] > 0.5
    assert saying.get("spam", 0.0) < 0.2


def test_reports_and_removals_count_and_fade() -> None:
    def rate(*blame: Event, second: float = 1) -> float:
        return found(upload(0), *blame, upload(second)).get("report_rate", 0.0)

    reported = Reported("r", BEGAN, OLD)

    assert rate() == 0.0
    assert rate(Removed("d", BEGAN, OLD, by="owner")) == 0.0
    assert 0.0 < rate(reported) < rate(Removed("d", BEGAN, OLD, by="staff")) <= 1.0
    assert rate(*(Reported(f"r-{n}", BEGAN, OLD) for n in range(50))) == 1.0
    assert rate(*(Reported(f"r-{n}", BEGAN, OLD, reporter="ann") for n in range(50))) == rate(reported)


def reported_by(count: int, days: float | None) -> list[Event]:
    """Reports by so many accounts, a minute apart, each account created so many days before the first report."""
    at = BEGAN + timedelta(days=3)
    made = None if days is None else at - timedelta(days=days)
    return [
        Reported(f"r-{n}", at + timedelta(minutes=n), OLD, reporter=f"p-{n}", reporter_created_at=made)
        for n in range(count)
    ]


def risk_of(*events: Event) -> float:
    return SHIPPED.score("a-17", features(folded(*events), Surroundings()), 0, 0, Stamp("", 0)).risk


NEWBORN = Account("a-17", created_at=BEGAN - timedelta(hours=2))


@pytest.mark.parametrize(
    "life",
    [
        human(text="sunset over the harbour"),
        [upload(60 * n, NEWBORN, text=f"cat number {n}, asleep") for n in range(3)],
        [upload(0, NEWBORN, text="read my report", links=("https://example.org/a",))],
    ],
    ids=["one caption again and again", "first day", "one link"],
)
def test_a_ring_of_fresh_accounts_that_reports_an_honest_person_says_less_than_one_old_account(
    life: list[Event],
) -> None:
    ring, one = risk_of(*life, *reported_by(40, 0)), risk_of(*life, *reported_by(1, 400))

    assert ring <= one < 0.5
    assert one < risk_of(*life, *reported_by(40, 400))
    assert features(folded(*life, *reported_by(40, 0)), Surroundings()).reporters < 1.0


def test_old_reporters_count_in_full_and_bring_an_account_that_advertises_above_suspicion() -> None:
    young = Account("a-17", created_at=BEGAN - timedelta(days=3))
    offers = [upload(300 * n, young, text=f"look at this bonus {n}", links=("https://bonus.top/x",)) for n in range(3)]

    assert risk_of(*offers) < 0.5 < risk_of(*offers, *reported_by(6, 30))
    assert risk_of(*offers, *reported_by(6, 30)) == risk_of(*offers, *reported_by(6, None))


def test_fresh_reporters_take_neither_a_clean_history_nor_the_place_of_older_ones() -> None:
    done = [Completed(f"c-{n}", BEGAN, OLD) for n in range(7)]
    ring, old = reported_by(40, 1), [Reported("o", BEGAN + timedelta(days=2), OLD, reporter="ann")]

    assert found(*human(), *done, *ring)["clean_completed"] == 7
    assert "clean_completed" not in found(*human(), *done, *old)
    assert found(*human(), *old, *ring)["reporters"] > found(*human(), *ring)["reporters"] + 0.8


def test_every_term_of_the_shipped_scorecard_can_be_raised_and_no_feature_leaves_its_bounds() -> None:
    fresh = Account("a-17", created_at=BEGAN)
    spam: list[Event] = [
        upload(second, fresh, text="WIN $$$ NOW !! https://x.top", links=("https://claim-bonus77.top/x",),
               media=Media(sha256="same"))
        for second in range(0, 120, 3)
    ]  # fmt: skip
    broken = [upload(n, fresh, ip="2001:zz::") for n in range(4)]
    said = [Reported(f"r-{n}", BEGAN, fresh, reporter=f"r-{n}") for n in range(20)]
    said += [Challenged(outcome, BEGAN, fresh, outcome=outcome) for outcome in ("passed", "failed")]
    everybody = Surroundings(10**6, 10**6, 10**6, 10**6).in_campaigns(10**6, 10**6, 10**6, 10**6, 0, 0, 0, 0, 5.0)

    sleepless = [upload(3_600 * hour, fresh) for hour in range(120)]
    raised = told(*spam, *said, around=everybody).keys() | told(*broken).keys() | told(*sleepless).keys()

    assert raised == {term.name for term in SHIPPED.terms}
    state = folded(*spam, *said, *sleepless)
    fold_links(state, 70)
    vector = features(state, everybody)
    assert all(one.low <= value <= one.high for one, value in zip(FEATURES, vector, strict=True))
