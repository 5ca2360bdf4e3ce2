"""Each family of signals: what raises it, what does not, and that all of it stays between 0 and 1."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gate.core.account import Account
from gate.core.event import Attempted, Challenged, Completed, Event, Removed, Reported
from gate.core.media import Media
from gate.core.signal import Signal
from streams.core.crowd import Surroundings
from streams.core.events import encode, time_us
from streams.core.facts import Facts
from streams.core.features import features
from streams.core.fold import fold
from streams.core.signals import signals
from streams.files.public_suffixes import load_web_links
from streams.pipeline.hashes import Hashes

HASHES = Hashes(b"salt")
WEB = load_web_links()
BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
OLD = Account("a-17", created_at=BEGAN - timedelta(days=400))


def upload(second: float, account: Account = OLD, **given: Any) -> Attempted:
    return Attempted(f"e-{second}", BEGAN + timedelta(seconds=second), account, **given)


def folded(*events: Event) -> Facts:
    state = Facts()
    for offset, event in enumerate(events):
        fold(state, event, time_us(event), offset, encode(event), HASHES, WEB)
    return state


def shown(state: Facts, around: Surroundings) -> dict[Signal, float]:
    return {name: value for name, value in zip(Signal, signals(features(state, around)), strict=True) if value}


def found(*events: Event, around: Surroundings | None = None) -> dict[Signal, float]:
    return shown(folded(*events), around or Surroundings())


HUMAN_GAPS = (0, 40, 900, 1_000, 9_000, 9_090, 60_000, 61_700, 200_000, 201_000)


def human(**given: Any) -> list[Event]:
    return [upload(second, **given) for second in HUMAN_GAPS]


def test_an_account_that_uploaded_nothing_shows_at_most_what_others_said_of_it() -> None:
    around = Surroundings(9, 9, 9, 9)

    assert found(Completed("c", BEGAN, OLD), around=around) == {}
    assert found(upload(0, decision="deny", text="WIN $$$"), around=around) == {}
    assert found(Reported("r", BEGAN, OLD), around=around).keys() <= {Signal.REPORTS_RATE}


def test_an_old_account_with_human_gaps_and_nothing_said_shows_nothing() -> None:
    assert found(*human()) == {}


def test_many_uploads_at_once_are_a_burst_and_a_few_are_not() -> None:
    assert Signal.TEMPO_BURST not in found(*(upload(n) for n in range(3)))
    assert found(*(upload(n) for n in range(30)))[Signal.TEMPO_BURST] > 0.9


def test_a_metronome_has_a_rhythm_and_people_have_none() -> None:
    assert found(*(upload(n * 10) for n in range(10)))[Signal.TEMPO_RHYTHM] > 0.8
    assert Signal.TEMPO_RHYTHM not in found(*human())


def test_an_even_habit_of_once_a_day_is_no_rhythm() -> None:
    assert Signal.TEMPO_RHYTHM not in found(*(upload(n * 86_400) for n in range(20)))


def test_freshness_and_haste_fade_with_age_and_an_unknown_age_says_nothing() -> None:
    def faded(age: timedelta | None) -> tuple[float, float]:
        account = Account("a-17", created_at=None if age is None else BEGAN - age)
        shown_ = found(upload(0, account))
        return shown_.get(Signal.AGE_FRESH, 0.0), shown_.get(Signal.AGE_FIRST_ACTION, 0.0)

    ages = [faded(age) for age in (timedelta(seconds=10), timedelta(hours=1), timedelta(days=30))]

    assert ages == sorted(ages, reverse=True)
    assert min(ages[0]) > 0.9
    assert faded(timedelta(days=30)) == (0.0, 0.0)
    assert faded(None) == (0.0, 0.0)


def test_an_account_from_the_future_is_not_believed_and_says_nothing() -> None:
    shown_ = found(upload(0, Account("a-17", created_at=BEGAN + timedelta(days=9))))

    assert shown_.keys() == {Signal.FIELDS_MALFORMED}


def test_the_same_content_again_is_sameness_and_other_content_is_not() -> None:
    same = [upload(second, media=Media(sha256="same")) for second in HUMAN_GAPS]
    other = [upload(second, media=Media(sha256=f"{second}")) for second in HUMAN_GAPS]

    assert found(*same)[Signal.SAMENESS_CONTENT] > 0.9
    assert Signal.SAMENESS_CONTENT not in found(*other)


def test_the_perceptual_hash_sees_through_a_changed_file() -> None:
    events = [upload(second, media=Media(sha256=f"{second}", phash="same")) for second in HUMAN_GAPS]

    assert found(*events)[Signal.SAMENESS_CONTENT] > 0.9


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

    assert found(*cut)[Signal.SAMENESS_TEXT] > 0.9
    assert found(*various).get(Signal.SAMENESS_TEXT, 0.0) < 0.3


def test_an_address_or_device_of_ones_own_says_nothing() -> None:
    assert found(*human(), around=Surroundings(1, 1, 1, 1)) == {}


@pytest.mark.parametrize(
    ("field", "signal"),
    [
        ("ip_accounts", Signal.NETWORK_IP_ACCOUNTS),
        ("device_accounts", Signal.NETWORK_DEVICE_ACCOUNTS),
        ("content_accounts", Signal.CROWD_CONTENT_ACCOUNTS),
        ("link_accounts", Signal.CROWD_LINK_ACCOUNTS),
    ],
)
def test_the_more_accounts_share_it_the_stronger_the_signal(field: str, signal: Signal) -> None:
    newborn = Account("a-17", created_at=BEGAN)
    state = folded(*(upload(second, newborn, links=("https://claim-bonus77.top/x",)) for second in HUMAN_GAPS[:5]))

    values = [shown(state, Surroundings(**{field: count})).get(signal, 0.0) for count in (1, 2, 4, 8, 16, 32, 64)]

    assert values[0] == 0.0
    assert values == sorted(values)
    assert 0.5 < values[-1] <= 1.0


def test_a_device_shared_by_few_says_more_than_an_address_shared_by_as_many() -> None:
    shown_ = found(upload(0), around=Surroundings(ip_accounts=4, device_accounts=4))

    assert shown_[Signal.NETWORK_DEVICE_ACCOUNTS] > shown_[Signal.NETWORK_IP_ACCOUNTS]


def test_links_are_dense_repeated_and_suspicious_each_by_itself() -> None:
    every = found(*human(links=("https://claim-bonus77.top/x",)))
    once = found(upload(0, links=("https://example.org/a",)), *(upload(second) for second in HUMAN_GAPS[1:]))

    assert every[Signal.LINKS_DENSITY] > 0.8
    assert every[Signal.LINKS_REPEATED] > 0.7
    assert every[Signal.LINKS_SUSPICIOUS] > 0.5
    assert once[Signal.LINKS_DENSITY] < 0.2
    assert Signal.LINKS_REPEATED not in once
    assert once.get(Signal.LINKS_SUSPICIOUS, 0.0) < 0.3


def test_an_advertisement_is_spam_and_a_sentence_is_not() -> None:
    shouting = found(upload(0, text="WIN $$$ NOW !! 100% FREE https://x.top CLAIM 50000 TODAY"))
    saying = found(upload(0, text="a quiet evening by the lake"))

    assert shouting[Signal.TEXT_SPAM] > 0.5
    assert saying.get(Signal.TEXT_SPAM, 0.0) < 0.2


def test_reports_and_removals_count_and_fade() -> None:
    def rate(*blame: Event, second: float = 1) -> float:
        return found(upload(0), *blame, upload(second)).get(Signal.REPORTS_RATE, 0.0)

    reported = Reported("r", BEGAN, OLD)

    assert rate() == 0.0
    assert rate(Removed("d", BEGAN, OLD, by="owner")) == 0.0
    assert 0.0 < rate(reported) < rate(Removed("d", BEGAN, OLD, by="staff")) <= 1.0
    assert rate(*(Reported(f"r-{n}", BEGAN, OLD) for n in range(50))) == 1.0
    assert rate(*(Reported(f"r-{n}", BEGAN, OLD, reporter="ann") for n in range(50))) == rate(reported)


def test_every_signal_can_be_raised_and_none_leaves_its_bounds() -> None:
    fresh = Account("a-17", created_at=BEGAN)
    events: list[Event] = [
        upload(second, fresh, text="WIN $$$ NOW !! https://x.top", links=("https://claim-bonus77.top/x",),
               media=Media(sha256="same"))
        for second in range(0, 120, 3)
    ]  # fmt: skip

    events.append(upload(121, fresh, ip="2001:zz::"))
    told = [Reported("r", BEGAN, fresh), *(Challenged(o, BEGAN, fresh, outcome=o) for o in ("passed", "failed"))]

    shown_ = found(*events, *told, around=Surroundings(10**6, 10**6, 10**6, 10**6))

    assert shown_.keys() == set(Signal)
    assert all(0.0 < value <= 1.0 for value in shown_.values())
