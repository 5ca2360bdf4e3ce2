"""Laws of the pure core over whatever may come: events spoilt in any place, any order of events."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.account import Account
from gate.core.event import Attempted, Challenged, Completed, Event, Removed, Reported
from gate.core.media import Media
from streams.core.crowd import CEILING, IP, Crowd
from streams.core.events import (
    Fault,
    Unreadable,
    decode,
    encode,
    time_us,
)
from streams.core.facts import Facts, pack, unpack
from streams.core.fold import CameFrom, fold
from streams.core.models.alphabet import build_alphabet
from streams.core.models.captions import CaptionModel
from streams.core.models.marks import CaptionReader
from streams.core.models.ngrams import TABLE_BITS
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import EventCounts
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

SHIPPED = load_scorecard(None)
WEB = load_web_links()
HASHES = Hashes(b"salt")
BASE: dict[str, Any] = {
    "type": "attempted",
    "id": "e-1",
    "at": "2026-11-23T10:00:00.123Z",
    "account": {"id": "a", "created_at": "2026-11-20T08:00:00Z"},
    "media": {"kind": "image", "bytes": 1, "sha256": "s"},
    "ip": "203.0.113.9",
    "device": "d",
    "text": "hello",
    "links": ["https://example.org/a"],
}
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["id", "x"]), scalars, max_size=2)
fields = st.tuples(st.sampled_from(sorted(BASE)), anything)
spoilt = st.builds(lambda one, two: json.dumps({**BASE, **dict((one, two))}).encode(), fields, fields)
times = st.datetimes().map(lambda at: at.isoformat() + "Z")
timely = st.builds(
    lambda at, made: json.dumps({**BASE, "at": at, "account": {"id": "a", "created_at": made}}).encode(), times, times
)
cut = st.builds(lambda value, at: value[: at % (len(value) + 1)], spoilt, st.integers(0, 2_000))
values = st.lists(spoilt | timely | cut | st.binary(max_size=40), min_size=1, max_size=8)


@given(values)
def test_every_record_is_folded_or_one_dead_letter_and_what_is_made_of_it_stays_in_bounds(given_: list[bytes]) -> None:
    batch = [Record(offset, b"a", value, (), 0) for offset, value in enumerate(given_)]

    effects = process(batch, {}, Crowd(), SHIPPED, Hashes(b"salt"), WEB, ("events", 0), "epoch", 0)

    offsets = [letter.offset for letter in effects.dead]
    assert offsets == sorted(set(offsets))
    counts = effects.part(EventCounts)
    assert len(offsets) + sum(counts.by_type.values()) + counts.duplicates == len(batch)
    assert all(letter.reason in set(Fault) for letter in effects.dead)
    assert all(letter.event == given_[letter.offset] for letter in effects.dead)
    for state in effects.states.values():
        assert len(state) < 1024
        assert pack(unpack(state)) == state
    for score, _ in effects.scores:
        assert all(0.0 <= part <= 1.0 for part in (score.bot, score.scam, score.risk))
        assert all(reason.weight for reason in score.reasons)
        assert len(score.reasons) <= 5


@given(spoilt | timely)
def test_what_can_be_read_can_be_written_and_read_again(value: bytes) -> None:
    try:
        event = decode(value)
    except Unreadable:
        return

    assert decode(encode(event)) == event


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=120), st.randoms())
def test_a_crowd_counts_the_same_in_any_order(given_: list[tuple[int, int]], order: Any) -> None:
    def counted(shown: list[tuple[int, int]]) -> int:
        crowd = Crowd()
        for partition, account in shown:
            crowd.note(partition, IP, 7, account, 1)
        return crowd.count(IP, 7)

    shuffled = list(given_)
    order.shuffle(shuffled)

    assert counted(given_) == counted(shuffled) == min(CEILING, len(set(given_)))


MOMENT = datetime(2026, 11, 23, 10, tzinfo=UTC)
moments = st.integers(0, 40 * 86_400_000).map(lambda ms: MOMENT + timedelta(milliseconds=ms))
close = st.integers(0, 600_000).map(lambda ms: MOMENT + timedelta(milliseconds=ms))
kinds = st.sampled_from(["upload", "refused", "completed", "removed", "reported", "passed", "failed"])


CAPTIONS = (
    None,
    "",
    "my cat",
    "MY CAT!!!",
    "@ann look #cats",
    "win $5000 at http://prize.example/x now",
    "see https://a.example and www.b.example " * 3,
    "мир 漢字 🎁",
    "p r i z e",
)
NUMBERS = CaptionReader(
    build_alphabet(),
    CaptionModel(
        np.random.default_rng(3).integers(-9_000, 9_000, 1 << TABLE_BITS, dtype=np.int16), 1e-3, 0.0, 0.0, "test"
    ),
)
READ = {text: NUMBERS.read([text])[0] for text in CAPTIONS if text}
LINKS = ((), ("https://a.example/",), ("https://a.example/x", "https://bonus-77.example/"), ("mailto:a@b.example",))


def made(number: int, kind: str, at: datetime, who: int) -> Event:
    account = Account("a", created_at=MOMENT - timedelta(days=9))
    name = f"e-{number}"
    match kind:
        case "upload" | "refused":
            return Attempted(
                name,
                at,
                account,
                ip=f"203.0.113.{who}",
                device=f"d-{who}",
                decision="deny" if kind == "refused" else None,
                media=(None, Media("image"), Media("image", sha256=f"s-{who % 4}"))[who % 3],
                text=CAPTIONS[who % len(CAPTIONS)],
                links=LINKS[who % len(LINKS)],
            )
        case "completed":
            return Completed(name, at, account)
        case "removed":
            return Removed(name, at, account, by="staff")
        case "reported":
            return Reported(name, at, account, reporter=f"r-{who}", reporter_created_at=MOMENT - timedelta(days=who))
        case _:
            return Challenged(name, at, account, outcome=kind)


places = st.tuples(
    moments, st.sampled_from([None, "no address", *(f"203.0.113.{n}" for n in range(7))]), st.integers(0, 6)
)


@given(st.lists(places, max_size=40))
def test_a_place_that_a_batch_has_met_before_changes_what_it_would_have_changed(
    given_: list[tuple[datetime, str | None, int]],
) -> None:
    account = Account("a")
    events = [Attempted(f"e-{n}", at, account, ip=ip, device=f"d-{who}") for n, (at, ip, who) in enumerate(given_)]
    plain, remembering = Facts(), Facts()
    shown: list[int] = []
    shown_again: list[int] = []
    came_from: CameFrom = {}

    for offset, event in enumerate(events):
        fold(plain, event, time_us(event), offset, b"", HASHES, WEB, shown=shown)
        fold(remembering, event, time_us(event), offset, b"", HASHES, WEB, shown=shown_again, came_from=came_from)

    assert pack(remembering) == pack(plain)
    assert shown_again == shown


def folded(events: list[Event]) -> Facts:
    facts = Facts()
    for offset, event in enumerate(events):
        fold_read(facts, event, offset)
    return facts


def fold_read(facts: Facts, event: Event, offset: int) -> None:
    """Fold an event with the numbers of its caption, and with log odds for its links."""
    text, links = (event.text, event.links) if isinstance(event, Attempted) else (None, ())
    odds = sum(map(len, links)) * 9 - 150 if links else None
    fold(facts, event, time_us(event), offset, b"", HASHES, WEB, caption=READ.get(text), link_odds=odds)


def shuffled(events: list[Event], order: Any) -> list[Event]:
    other = list(events)
    order.shuffle(other)
    return other


ANY_ORDER = (
    "events", "created_us", "latest_us", "first_us", "last_us", "uploads", "refused", "completed", "malformed",
    "networks", "devices", "reporters", "removals", "passed", "failed", "blamed", "deleted",
    "texts", "layouts", "layout_squares", "mentions", "linked", "links",
)  # fmt: skip
OF_CAPTIONS_IN_ANY_ORDER = (
    "count", "odds", "odds_squares", "low", "high", "chars", "char_squares", "upper", "digits", "beyond", "spaces",
    "punctuation", "emoji", "mentions", "tags", "links", "replies",
)  # fmt: skip


def without_order(facts: Facts) -> dict[str, object]:
    """What does not depend on the order of the events. Few contents, templates and captions fit their rings in any."""
    of_captions = {f"captions {name}": getattr(facts.captions, name, None) for name in OF_CAPTIONS_IN_ANY_ORDER}
    repeats = (facts.content_repeats, facts.template_repeats, len(facts.contents), len(facts.templates))
    return {name: getattr(facts, name) for name in ANY_ORDER} | of_captions | {"repeats": repeats}


@given(st.lists(st.tuples(kinds, moments, st.integers(0, 30)), max_size=31), st.randoms())
@settings(deadline=None)
def test_what_does_not_depend_on_order_is_the_same_in_any_order(given_: list[Any], order: Any) -> None:
    events = [made(number, *one) for number, one in enumerate(given_)]

    one, two = folded(events), folded(shuffled(events, order))

    assert without_order(one) == without_order(two)


@given(st.lists(close, max_size=12), st.randoms())
@settings(deadline=None)
def test_bursts_and_gaps_are_the_same_in_any_order_within_ten_minutes_and_a_dozen_beats(
    given_: list[datetime], order: Any
) -> None:
    events = [made(number, "upload", at, 0) for number, at in enumerate(given_)]

    one, two = folded(events), folded(shuffled(events, order))

    assert (one.minute, one.hour, one.day) == (two.minute, two.hour, two.day)
    assert one.beats == two.beats
    assert one.late == two.late == 0


@given(st.lists(close, min_size=1, max_size=40))
@settings(deadline=None)
def test_beats_are_apart_and_in_order_and_no_more_than_a_dozen(given_: list[datetime]) -> None:
    beats = folded([made(number, "upload", at, 0) for number, at in enumerate(given_)]).beats

    begins = [beats[0] - sum(beats[2 : 2 * n + 1 : 2]) for n in range(len(beats) // 2)]
    lengths = beats[1::2]
    assert len(beats) <= 24
    assert all(length >= 0 for length in lengths)
    assert all(
        later - begin > length + 2_000 for later, begin, length in zip(begins, begins[1:], lengths[1:], strict=False)
    )


@given(st.lists(st.tuples(kinds, close, st.integers(0, 3)), max_size=20), st.randoms())
@settings(deadline=None)
def test_events_that_are_delivered_again_within_the_window_change_nothing(given_: list[Any], order: Any) -> None:
    events = [made(number, *one) for number, one in enumerate(given_)]
    once, twice = Facts(), Facts()
    for offset, event in enumerate(events):
        fold_read(once, event, offset)
        fold_read(twice, event, offset)
        for again in order.sample(events[: offset + 1], min(offset + 1, 3)):
            fold_read(twice, again, 999)

    assert pack(twice) == pack(once)
