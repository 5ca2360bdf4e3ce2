"""What one event after another leaves in an account's facts, computed by hand at the edges of each rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isnan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.account import Account
from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from gate.core.event import Attempted, Completed, Event, Removed, Reported
from gate.core.media import Media
from streams.core.beats import count_beat, gaps_ms
from streams.core.caption_facts import fold_caption
from streams.core.day_rhythm import COUNTER_BYTES, night_share, with_hour
from streams.core.established import is_established
from streams.core.events import encode, time_us
from streams.core.facts import CaptionFacts, Facts
from streams.core.fold import fold
from streams.core.migration import WEEK_US
from streams.core.models.marks import CaptionNumbers
from streams.core.reporters import FULL_US, lacking_us, with_reporter
from streams.core.rings import dated, remembered
from streams.core.window import count_one, counter_of, value
from streams.files.public_suffixes import load_web_links
from streams.pipeline.hashes import Hashes

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
ACCOUNT = Account("a", created_at=BEGAN - timedelta(days=90))
HASHES = Hashes(b"salt")
WEB = load_web_links()
NOW_US = 20_780 * DAY_US


def upload(second: float, **given: Any) -> Attempted:
    return Attempted(f"e-{second}", BEGAN + timedelta(seconds=second), given.pop("account", ACCOUNT), **given)


def folded(*events: Event) -> Facts:
    facts = Facts()
    for offset, event in enumerate(events):
        fold(facts, event, time_us(event), offset, encode(event), HASHES, WEB)
    return facts


@pytest.mark.parametrize(
    ("gap_s", "sessions", "longest"), [(1_799, 1, 0), (1_800, 2, 30), (1_859, 2, 30), (1_860, 2, 31)]
)
def test_a_session_begins_half_an_hour_after_the_upload_before(gap_s: int, sessions: int, longest: int) -> None:
    facts = folded(upload(0), upload(gap_s))

    assert (facts.sessions, facts.longest_gap) == (sessions, longest)


def test_the_longest_gap_stays_when_shorter_ones_follow() -> None:
    assert folded(upload(0), upload(9_000), upload(9_000 + 3_600)).longest_gap == 150


@pytest.mark.parametrize(("after_s", "soon"), [(0, 1), (600, 1), (600.001, 0), (-1, 0)])
def test_what_the_owner_removes_within_ten_minutes_was_removed_soon(after_s: float, soon: int) -> None:
    removed = Removed("r", BEGAN + timedelta(seconds=50 + after_s), ACCOUNT, by="owner")

    facts = folded(upload(0), upload(50), removed)

    assert (facts.deleted, facts.deleted_soon, facts.blamed) == (1, soon, 0)


@pytest.mark.parametrize("by", [None, "staff", "Owner"])
def test_what_others_remove_is_blame(by: str | None) -> None:
    facts = folded(upload(0), Removed("r", BEGAN, ACCOUNT, by=by))

    assert (facts.deleted, facts.blamed) == (0, 1)
    assert value(facts.removals, facts.latest_us, WEEK_US) == pytest.approx(1.0, rel=0.002)


def test_repeats_are_counted_among_the_last_twelve_contents_and_captions() -> None:
    def repeats(between: int) -> tuple[int, int, int]:
        uploads = [
            upload(
                number * 60,
                media=Media(sha256=f"s{name}"),
                text="abcdefghijklmnopq"[name] * 9,
                links=(f"https://h{name}.test/",),
            )
            for number, name in enumerate([*range(between + 1), 0])
        ]
        facts = folded(*uploads)
        return facts.content_repeats, facts.template_repeats, facts.host_repeats

    assert repeats(0) == repeats(11) == (1, 1, 1)
    assert repeats(12) == (0, 0, 0)


def test_an_event_is_known_again_among_the_last_32() -> None:
    events = [upload(second) for second in range(33)]

    assert folded(*events[:32], events[0]).events == 32
    assert folded(*events, events[0]).events == 34
    assert len(folded(*events).event_ids) == 128


def test_the_parts_of_the_last_four_albums_belong_together() -> None:
    def gaps(albums: int) -> int:
        shown = [upload(100 * number, media_group=f"g{number}") for number in range(albums)]
        return len(gaps_ms(folded(*shown, upload(100 * albums, media_group="g0")).beats))

    assert (gaps(4), gaps(5)) == (3, 5)
    assert len(gaps_ms(folded(upload(0, media_group=""), upload(100, media_group="")).beats)) == 1


def test_means_of_captions_and_of_links_run_over_the_last_twenty() -> None:
    plain = [upload(number, text="a quiet evening", links=("https://flower.org/",)) for number in range(30)]
    loud = "WIN $$$ NOW!!! 10000000000 AT WWW.PRIZE.EXAMPLE " + "CLAIMITTODAY" * 9
    last = upload(99, text=loud, links=("http://198.51.100.7/x",))

    def of(count: int) -> tuple[float, float]:
        facts = folded(*plain[:count], last)
        return round(facts.spam, 6), round(facts.suspicion, 6)

    assert of(0) == (1.0, 1.0)
    assert of(3) == (0.25, 0.25)
    assert of(19) == of(20) == of(30) == (0.05, 0.05)


def test_the_worst_host_of_an_upload_counts_and_a_repeated_one_once() -> None:
    links = ("https://flower.org/", "http://198.51.100.7/", "https://garden.org/")

    facts = folded(upload(0, links=links), upload(1, links=links))

    assert (facts.linked, facts.host_repeats, facts.suspicion) == (2, 1, 1.0)
    assert facts.host == HASHES.hosts["garden.org"]


def test_layouts_and_names_are_counted() -> None:
    facts = folded(*(upload(n, text=text) for n, text in enumerate(("my cat", "my dog", "@ann", "#a", "@b #c", ""))))

    assert facts.layouts == [2, 0, 1, 0, 1, 0, 1]
    assert (facts.texts, facts.mentions, facts.layout_squares) == (5, 2, 4 + 1 + 1 + 1)


def test_times_are_those_of_the_first_and_the_last_upload_and_of_the_latest_event() -> None:
    facts = folded(
        upload(100), upload(50), Completed("c", BEGAN + timedelta(seconds=500), ACCOUNT), upload(300, decision="deny")
    )

    assert (facts.first_us, facts.last_us) == (time_us(upload(50)), time_us(upload(100)))
    assert facts.latest_us == time_us(upload(500))
    assert (facts.uploads, facts.refused, facts.completed, facts.events) == (2, 1, 1, 4)


@pytest.mark.parametrize(
    ("ahead_us", "created", "malformed"),
    [(0, True, 0), (-1, True, 0), (1, False, 0), (5 * MINUTE_US, False, 0), (5 * MINUTE_US + 1, False, 1)],
)
def test_a_creation_time_is_believed_up_to_its_event(ahead_us: int, created: bool, malformed: int) -> None:
    account = Account("a", created_at=BEGAN + timedelta(microseconds=ahead_us))

    facts = folded(upload(0, account=account))

    assert facts.created_us == (time_us(upload(0)) + ahead_us if created else 0)
    assert facts.malformed == malformed


def test_a_day_is_kept_in_two_bytes() -> None:
    late = Attempted("e", datetime(2200, 1, 1, tzinfo=UTC), ACCOUNT, ip="203.0.113.9", device="d")

    facts = folded(late)

    assert facts.networks[:2] == facts.devices[:2] == b"\xff\xff"


def test_uploads_that_no_decision_refused_are_let_in() -> None:
    decisions = (None, "allow", "review", "throttle", "challenge", "deny", "paused")

    assert [folded(upload(0, decision=decision)).uploads for decision in decisions] == [1] * 3 + [0] * 4
    assert not folded(Completed("c", BEGAN, ACCOUNT)).uploads


def numbers(odds: int = 0, marks: bytes = b"aabb", skeleton: bytes = b"xx", *counts: int) -> CaptionNumbers:
    return CaptionNumbers(odds, marks, skeleton, *(counts or (0,) * 11))


def of_captions(*captions: CaptionNumbers) -> CaptionFacts:
    facts = Facts()
    for caption in captions:
        fold_caption(facts, caption)
    assert facts.captions is not None
    return facts.captions


def test_the_numbers_of_captions_add_up() -> None:
    kept = of_captions(
        numbers(65, b"aabb", b"xx", 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1),
        numbers(-65, b"ccdd", b"yy", 20, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0),
        numbers(64, b"eeff", b"zz", 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0),
        numbers(-64, b"gghh", b"ww", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
        numbers(0, b"iijj", b"vv", 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0),
    )

    assert (kept.count, kept.odds, kept.odds_squares, kept.low, kept.high) == (5, 0, 2 * 65**2 + 2 * 64**2, 1, 1)
    assert (kept.chars, kept.char_squares, kept.upper, kept.digits, kept.beyond) == (31, 501, 2, 3, 4)
    assert (kept.spaces, kept.punctuation, kept.emoji) == (5, 6, 7)
    assert (kept.mentions, kept.tags, kept.links, kept.replies) == (10, 9, 11, 2)


@pytest.mark.parametrize(
    ("marks", "near", "nearly", "kept"),
    [
        (b"ccdd", 0, 0, b"aabbccdd"),
        (b"aabb", 2, 1, b"aabb"),
        (b"bbaa", 2, 1, b"aabb"),
        (b"aacc", 1, 0, b"aabbcc"),
        (b"ccbb", 1, 0, b"aabbcc"),
        (b"abcc", 0, 0, b"aabbabcc"),
        (b"ccab", 0, 0, b"aabbccab"),
    ],
)
def test_marks_that_are_known_are_near_and_those_across_two_neighbours_are_not(
    marks: bytes, near: int, nearly: int, kept: bytes
) -> None:
    facts = of_captions(numbers(), numbers(0, marks, b"yy"))

    assert (facts.near, facts.nearly, facts.marks) == (near, nearly, kept)


def test_the_marks_of_the_last_captions_and_four_skeletons_are_kept() -> None:
    captions = [numbers(0, bytes((1, number, 2, number)), bytes((3, number))) for number in range(20)]

    facts = of_captions(*captions, captions[19], captions[16], captions[15])

    assert len(facts.marks) == 56
    assert facts.marks[-4:] == captions[19].marks
    assert facts.marks[:4] == captions[6].marks
    assert len(facts.skeletons) == 8
    assert facts.skeleton_repeats == 2
    assert (
        of_captions(numbers(0, b"aabb", b"ab"), numbers(0, b"ccdd", b"cd"), numbers(0, b"eeff", b"bc")).skeleton_repeats
        == 0
    )


def hours_of(*active: int) -> bytes:
    """What is kept of activity in these hours since 1970, long after the first upload."""
    hours = b""
    for hour in active:
        hours = with_hour(hours, hour * HOUR_US, 0)
    return hours


def test_active_hours_are_counted_two_days_after_the_first_upload() -> None:
    assert with_hour(b"", NOW_US + 48 * HOUR_US - 1, NOW_US) == b""
    assert len(with_hour(b"", NOW_US + 48 * HOUR_US, NOW_US)) == COUNTER_BYTES + 1


@pytest.mark.parametrize("hour", range(24))
def test_each_hour_of_the_day_has_a_counter_of_four_bits(hour: int) -> None:
    counters = int.from_bytes(hours_of(*[24 * day + hour for day in range(9, 14)])[:COUNTER_BYTES], "little")

    assert counters == 5 << 4 * hour


def test_all_counters_halve_before_one_would_overflow() -> None:
    hours = hours_of(*[24 * 9 + 3] * 15, *[24 * 9 + 7] * 4, *[24 * 9 + 23] * 3, 24 * 9 + 3)
    counters = int.from_bytes(hours[:COUNTER_BYTES], "little")

    assert [counters >> 4 * hour & 15 for hour in (3, 7, 23, 5)] == [8, 2, 1, 0]


@pytest.mark.parametrize(
    ("by_hour", "share"),
    [
        ([2] * 24, 0.25),
        ([2] * 23 + [1], None),
        ([3] * 16 + [0] * 8, 0.0),
        ([0] * 4 + [3] * 16 + [0] * 4, 0.0),
        ([3] * 12 + [1] * 12, 6 / 48),
        ([1] * 3 + [3] * 18 + [1] * 3, 8 / 60),
        ([1] * 5 + [4] * 18 + [0], 8 / 77),
        ([12, 12] + [2] * 6 + [1] * 16, 6 / 52),
    ],
)
def test_the_quietest_six_hours_from_an_even_one_on_are_a_share_of_all(by_hour: list[int], share: float | None) -> None:
    active = [24 * 9 + hour for hour, count in enumerate(by_hour) for _ in range(count)]

    found = night_share(hours_of(*active))

    assert isnan(found) if share is None else found == pytest.approx(share, abs=0.001)
    assert isnan(night_share(b""))


@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=10))
def test_beats_are_the_runs_of_uploads_within_two_seconds(times: list[int]) -> None:
    beats: list[int] = []
    for at in times:
        assert count_beat(beats, at + 10**9)

    runs: list[list[int]] = []
    for at in sorted(times):
        if runs and at - runs[-1][-1] <= 2_000:
            runs[-1].append(at)
        else:
            runs.append([at])
    begins = [run[0] for run in runs][::-1]
    assert beats[0] == begins[0] + 10**9
    assert gaps_ms(beats) == [later - earlier for later, earlier in pairwise(begins)]
    assert beats[1::2] == [run[-1] - run[0] for run in runs][::-1]


@pytest.mark.parametrize(
    ("at", "kept"), [(70_000, True), (60_000, True), (59_999, True), (58_000, True), (57_999, False), (100, False)]
)
def test_a_full_list_of_beats_takes_what_is_not_before_it(at: int, kept: bool) -> None:
    beats: list[int] = []
    for number in range(15):
        count_beat(beats, 30_000 + 10_000 * number)
    before = list(beats)

    assert count_beat(beats, at) is kept
    assert len(beats) == 24
    assert (beats == before) is (not kept or at in (70_000, 60_000))


@pytest.mark.parametrize(("age_days", "lacks_days"), [(None, 0), (0, 30), (10, 20), (30, 0), (31, 0), (-5, 30)])
def test_a_reporter_lacks_what_it_is_younger_than_thirty_days(age_days: int | None, lacks_days: int) -> None:
    created_us = None if age_days is None else NOW_US - age_days * DAY_US

    assert lacking_us(NOW_US, created_us) == lacks_days * DAY_US
    assert FULL_US == 30 * DAY_US


def test_the_sixteen_reporters_with_the_latest_dates_are_kept() -> None:
    kept = b""
    for number in range(20):
        kept = with_reporter(kept, number.to_bytes(4, "big"), NOW_US + number * MINUTE_US, 0)
    young = with_reporter(kept, b"late", NOW_US + DAY_US, 2 * DAY_US)

    assert len(kept) == 16 * 8
    assert kept[:8] == (NOW_US // MINUTE_US + 19).to_bytes(4, "big") + (19).to_bytes(4, "big")
    assert young == kept
    assert with_reporter(b"", b"mark", 5, 10 * MINUTE_US) == bytes(4) + b"mark"
    assert with_reporter(b"", b"mark", 1 << 62, 0) == b"\xff\xff\xff\xff" + b"mark"


def test_a_ring_keeps_the_last_marks_and_a_mark_that_is_in_it_changes_nothing() -> None:
    ring = remembered(remembered(b"", b"abc", 2), b"def", 2)

    assert ring == b"abcdef"
    assert remembered(ring, b"abc", 2) is ring
    assert remembered(ring, b"cde", 2) == b"defcde"
    assert remembered(ring, b"cde", 3) == b"abcdefcde"
    assert dated(b"\x00\x02xy", b"\x00\x01ab", 2, 1) == b"\x00\x02xy"
    assert dated(b"\x00\x01xy", b"\x00\x02ab", 2, 2) == b"\x00\x02ab\x00\x01xy"


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({}, True),
        ({"uploads": 4}, False),
        ({"created_us": NOW_US - 30 * DAY_US + 1}, False),
        ({"created_us": 0, "first_us": NOW_US - 30 * DAY_US}, True),
        ({"created_us": 0, "first_us": NOW_US - 29 * DAY_US}, False),
        ({"removals": counter_of(0.09, NOW_US, WEEK_US)}, True),
        ({"removals": counter_of(0.11, NOW_US, WEEK_US)}, False),
        ({"failed": counter_of(0.11, NOW_US, WEEK_US)}, False),
        ({"failed": counter_of(0.09, NOW_US, WEEK_US)}, True),
        ({"reporters": (NOW_US // MINUTE_US - 3 * 10_080).to_bytes(4, "big") + b"mark"}, False),
        ({"reporters": (NOW_US // MINUTE_US - 4 * 10_080).to_bytes(4, "big") + b"mark"}, True),
    ],
)
def test_an_account_is_established_by_age_uploads_and_what_was_not_said_of_it(
    given_: dict[str, Any], expected: bool
) -> None:
    usual = {"uploads": 5, "latest_us": NOW_US, "created_us": NOW_US - 30 * DAY_US, "first_us": NOW_US}

    assert is_established(Facts(**usual | given_)) is expected


@pytest.mark.parametrize("half_life_us", [MINUTE_US, HOUR_US, DAY_US])
def test_a_counter_holds_each_half_life_apart_and_looks_back_over_eight(half_life_us: int) -> None:
    begun = NOW_US - NOW_US % half_life_us
    counter: list[int] = []
    for back in (0, 2, 7, 8, 3):
        count_one(counter, begun - back * half_life_us, half_life_us)

    assert counter == [begun // half_life_us, 1_025, 0, 1_025, 1_025, 0, 0, 0, 1_025]
    count_one(counter, begun + 5 * half_life_us, half_life_us)
    assert counter == [begun // half_life_us + 5, 1_025, 0, 0, 0, 0, 1_025, 0, 1_025]
    count_one(counter, begun + 13 * half_life_us - 1, half_life_us)
    assert counter == [begun // half_life_us + 12, 2_045, 0, 0, 0, 0, 0, 0, 1_025]
    count_one(counter, begun + 20 * half_life_us, half_life_us)
    assert counter == [begun // half_life_us + 20, 1_025]


def test_a_counter_is_worth_the_sum_of_its_half_lives() -> None:
    assert value([100, 1_024], 100 * HOUR_US, HOUR_US) == 1.0
    assert value([100, 1_024], 101 * HOUR_US, HOUR_US) == 0.5
    assert value([100, 1_024, 2_048], 100 * HOUR_US, HOUR_US) == 2.0
    assert value([100, 1_024, 2_048, 4_096], 100 * HOUR_US, HOUR_US) == 3.0
    assert value([100, 1_024, 0, 0, 8_192], 100 * HOUR_US, HOUR_US) == 2.0
    assert counter_of(1.0, 100 * HOUR_US, HOUR_US) == [100, 1_024]
    assert counter_of(3.0, 100 * HOUR_US + HOUR_US // 2, HOUR_US) == [100, round(3 * 1_024 * 2**0.5)]


def test_a_report_by_somebody_young_is_no_blame() -> None:
    young = Reported("r", BEGAN, ACCOUNT, reporter="x", reporter_created_at=BEGAN - timedelta(days=29))
    old = Reported("s", BEGAN, ACCOUNT, reporter="y", reporter_created_at=BEGAN - timedelta(days=30))

    assert (folded(young).blamed, folded(old).blamed, folded(young, old).blamed) == (0, 1, 1)
    assert len(folded(young, old).reporters) == 16
