"""Planted mutants: each changes one place in the code of folding or of features, and a story of known numbers catches it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.core.account import Account
from gate.core.event import Attempted, Challenged, Completed, Event, Removed, Reported
from gate.core.media import Media
from streams.core.crowd import Surroundings
from streams.core.events import encode, time_us
from streams.files.public_suffixes import load_web_links
from streams.pipeline.hashes import Hashes
from tests.mutants import loaded_with

GOLDEN = Path(__file__).parent / "golden" / "fold_story.json"
BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
WEB, HASHES = load_web_links(), Hashes(b"salt")
ACCOUNT = Account("a-17", created_at=BEGAN - timedelta(minutes=7))
ALONE = Surroundings()
CROWDED = Surroundings(
    40, 9, 12, 20, 4, 1, 2, 5, 16, 30, 12, 20, 3, 8, 2, 4, 1.5,
)  # fmt: skip
Story = list[tuple[float, Event, tuple[Any, ...] | None, int | None]]

FOLD, FEATURES = "streams.core.fold", "streams.core.features"
MUTANTS = (
    (FOLD, "facts.events += 1", "facts.events += 2"),
    (FOLD, "elif 0 < created_us <= at_us:", "elif 0 < created_us:"),
    (FOLD, "elif facts.refused < MAX_REFUSED:", "elif facts.refused > MAX_REFUSED:"),
    (FOLD, 'if event.by != "owner":', 'if event.by == "owner":'),
    (FOLD, "0 <= at_us - facts.last_us <= SOON_US", "0 <= at_us - facts.last_us"),
    (FOLD, "if at_us - last_us >= SESSION_US:", "if at_us - last_us <= SESSION_US:"),
    (FOLD, "if ring.find(mark) >= 0 and holds(ring, mark):\n                facts.content_repeats",
     "if ring.find(mark) < 0:\n                facts.content_repeats"),
    (FOLD, "if at_us // HOUR_US != last_us // HOUR_US:", "if at_us // HOUR_US == last_us // HOUR_US:"),
    (FOLD, "if at_us < last_us - LATE_US:", "if at_us < last_us:"),
    (FOLD, "return facts.groups is not before", "return facts.groups is before"),
    (FOLD, "facts.layout_squares += 2 * alike + 1", "facts.layout_squares += 2 * alike"),
    (FOLD, "worst = max(worst, links.suspicion(name))", "worst = links.suspicion(name)"),
    (FOLD, "repeated |= ring is before", "repeated = ring is before"),
    (FOLD, "count_one(facts.passed, at_us, WEEK_US)", "count_one(facts.failed, at_us, WEEK_US)"),
    (FOLD, "elif event.outcome is not None or not malformed:", "else:"),
    (FOLD, "facts.blamed += not lacks_us", "facts.blamed += 1"),
    ("streams.core.reporters", "minutes + mark, len(minutes), MAX_REPORTERS", "minutes + mark, len(minutes), 1"),
    ("streams.core.reporters", "max(0, created_us + FULL_US - at_us)", "0"),
    ("streams.core.caption_facts", "if odds > HIGH:", "if odds > -HIGH:"),
    ("streams.core.caption_facts", "if hits == MARKS:", "if hits:"),
    ("streams.core.caption_facts", "kept.char_squares += chars * chars", "kept.char_squares += chars"),
    ("streams.core.link_facts", "kept.high += odds > HIGH", "kept.high += odds < HIGH"),
    (f"{FEATURES}.age", "2.0 ** (-(now_us", "4.0 ** (-(now_us"),
    (f"{FEATURES}.age", "waited / MINUTE_US if waited > 0", "waited / MINUTE_US if waited < 0"),
    (f"{FEATURES}.captions", "mean / ODDS_STEPS, deviation", "mean, deviation"),
    (f"{FEATURES}.captions", "kept.low / count", "kept.high / count"),
    (f"{FEATURES}.sameness", "later = max(1, kept.count - 1)", "later = max(1, kept.count)"),
    (f"{FEATURES}.sameness", "min(1.0, texts / SETTLED_TEXTS)", "1.0"),
    (f"{FEATURES}.sameness", "monologue = 1.0 - mentions", "monologue = 1.0 + mentions"),
    (f"{FEATURES}.network", "return others * others / accounts", "return others"),
    (f"{FEATURES}.campaign", "1.0 - 2.0 * established / accounts", "1.0 - established / accounts"),
    (f"{FEATURES}.campaign", "OLD_WORTH + (1.0 - OLD_WORTH) * fresh", "OLD_WORTH * fresh"),
    (f"{FEATURES}.crowd", "worth *= max(0.0, 1.0 - 2.0 * around.link_established / hosts)", "worth *= 1.0"),
    (f"{FEATURES}.crowd", "max(fresh, (uploads - 1.0) / (uploads + 1.0))", "fresh"),
    (f"{FEATURES}.tempo", "(hour - BUSY_HOUR)", "(hour + BUSY_HOUR)"),
    (f"{FEATURES}.tempo", "1.0 - deviation / EVEN_SPREAD", "deviation / EVEN_SPREAD"),
    (f"{FEATURES}.history", "0 if facts.blamed else facts.completed", "facts.completed"),
    (f"{FEATURES}.links", "linked / uploads", "linked / facts.uploads"),
)  # fmt: skip


def caption(odds: int, mark: int, chars: int) -> tuple[Any, ...]:
    """The numbers of a caption: log odds in 64ths, two marks, a skeleton, and counts."""
    marks = mark.to_bytes(4, "big") + (mark + mark % 3).to_bytes(4, "big")
    return (
        odds,
        marks,
        (mark // 4).to_bytes(4, "big"),
        chars,
        chars // 9,
        mark % 4,
        mark % 2,
        chars // 6,
        2,
        1,
        mark % 3,
        1,
        1,
        0,
    )


def story() -> Story:
    """Events of one account, each with its second: uploads alone and in albums, late ones, reports and what follows."""
    told: Story = []

    def upload(second: float, n: int, account: Account = ACCOUNT, **given: Any) -> None:
        event = Attempted(f"e-{len(told)}", BEGAN + timedelta(seconds=second), account, **given)
        told.append((second, event, caption(90 - 40 * (n % 5), n % 7, 20 + 7 * n) if event.text else None,
                     70 - 50 * (n % 3) if event.links else None))  # fmt: skip

    upload(-60.0, 0, Account("a-17", created_at=BEGAN), text="by a clock that is ahead")
    for n in range(9):
        upload(61.0 * n, n, media=Media(sha256=f"s-{n % 4}"), text=f"Sale number {n}, come by" if n % 3 else "@ana hi",
               links=(f"https://claim-bonus{n % 2}.top/x", "https://example.org/a"), ip=f"203.0.113.{n % 3}",
               device=f"d-{n % 2}")  # fmt: skip
    for n in range(3):
        upload(700.0 + n, n, media=Media(phash=f"{n:016x}"), media_group="g-1", device="d-1")
    for n in range(40):
        upload(4_000.0 + 3.0 * n, n, media=Media(sha256=f"t-{n}"))
    upload(3_900.0, 1, media=Media(sha256="late"))
    upload(100.0, 2, media=Media(sha256="later still"))
    upload(4_200.0, 3, text="refused", decision="deny")
    at = BEGAN + timedelta(seconds=4_300)
    hour = timedelta(hours=1)
    young = {"reporter_created_at": at - timedelta(days=3)}
    others: tuple[Event, ...] = (
        Reported("p-0", at, ACCOUNT, reporter="b-0", **young),
        Completed("c-1", at, ACCOUNT), Completed("c-2", at, ACCOUNT), Removed("r-1", at, ACCOUNT, by="owner"),
        Removed("r-2", at + hour, ACCOUNT, by="owner"), Reported("p-1", at + hour, ACCOUNT, reporter="b-1"),
        Reported("p-2", at + hour, ACCOUNT, reporter="b-2"), Reported("p-3", at + hour, ACCOUNT, reporter="b-1"),
        Removed("r-3", at + 2 * hour, ACCOUNT, by="staff"), Challenged("q-1", at + 2 * hour, ACCOUNT, outcome="passed"),
        Challenged("q-2", at + 3 * hour, ACCOUNT, outcome="failed"),
    )  # fmt: skip
    told += [(0.0, event, None, None) for event in others]
    told += [(0.0, Challenged(f"q-{n}", at + 3 * hour, ACCOUNT), None, None) for n in range(3, 9)]
    upload(90_000.0, 4, text="back again after a day", links=("https://example.org/a", "https://new.example/b"))
    upload(200_000.0, 5, text="and once more when its hours count")
    return told


def numbers(fold: Any, facts: Any, vector: Any) -> list[list[float | None]]:
    """The features after every fourth event, alone and in a crowd."""
    state, rows = facts(), []
    told = story()
    for number, (_, event, of_caption, odds) in enumerate(told):
        fold(state, event, time_us(event), number, encode(event), HASHES, WEB, number % 5 == 4, of_caption, odds)
        if number % 4 == 3 or number == len(told) - 1 or number < 4:
            for around in (ALONE, CROWDED):
                rows.append([None if value != value else round(float(value), 6) for value in vector(state, around)])
    last = (state.events, state.latest_us, state.late, state.malformed, state.deleted_soon, state.longest_gap,
            state.blamed, int.from_bytes(state.hours, "little"))  # fmt: skip
    return [*rows, [*last]]


@contextmanager
def story_with(*change: str) -> Iterator[list[list[float | None]]]:
    """The story's numbers by the code with the change."""
    parts = ("streams.core.fold", "streams.core.features", "streams.core.caption_facts", "streams.core.link_facts",
             "streams.core.established", "streams.core.reporters")  # fmt: skip
    with loaded_with("streams.core.fold", change, parts) as fold:
        from streams.core.facts import Facts
        from streams.core.features import features

        yield numbers(fold.fold, Facts, features)


def test_the_code_as_it_is_tells_the_story_that_is_written_down() -> None:
    with story_with() as told:
        assert told == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{module}: {new[:40]}" for module, _, new in MUTANTS])
def test_a_planted_mutant_tells_another_story(mutant: tuple[str, str, str]) -> None:
    with story_with(*mutant) as told:
        assert told != json.loads(GOLDEN.read_text())
