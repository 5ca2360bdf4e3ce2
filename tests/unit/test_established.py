"""Which accounts are established: old ones with uploads of which nothing bad was said lately."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gate.core.account import Account
from gate.core.event import Attempted, Challenged, Event, Removed, Reported
from streams.core.established import is_established
from streams.core.events import encode, time_us
from streams.core.facts import Facts
from streams.core.fold import fold
from streams.files.public_suffixes import load_web_links
from streams.pipeline.hashes import Hashes

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
OLD = Account("a", created_at=BEGAN - timedelta(days=40))
HASHES = Hashes(b"salt")
WEB = load_web_links()


def uploads(count: int, account: Account = OLD, **given: Any) -> list[Event]:
    return [Attempted(f"e-{n}", BEGAN + timedelta(hours=n), account, **given) for n in range(count)]


def folded(events: list[Event]) -> Facts:
    facts = Facts()
    for offset, event in enumerate(events):
        fold(facts, event, time_us(event), offset, encode(event), HASHES, WEB)
    return facts


def test_an_old_account_with_uploads_and_nothing_said_against_it_is_established() -> None:
    assert is_established(folded(uploads(5)))
    assert not is_established(folded(uploads(4)))
    assert not is_established(folded(uploads(9, decision="deny")))


@pytest.mark.parametrize(("days", "expected"), [(29, False), (31, True)])
def test_an_account_of_unknown_age_is_as_old_as_its_first_upload(days: int, expected: bool) -> None:
    nobody = Account("a")
    last = Attempted("e-last", BEGAN + timedelta(days=days), nobody)

    assert is_established(folded([*uploads(5, nobody), last])) is expected


@pytest.mark.parametrize(
    "blame",
    [
        Reported("r", BEGAN, OLD, reporter="ann"),
        Removed("d", BEGAN, OLD, by="staff"),
        Challenged("c", BEGAN, OLD, outcome="failed"),
    ],
    ids=["reported", "removed", "failed"],
)
def test_what_was_said_against_an_account_is_forgiven_after_some_weeks(blame: Event) -> None:
    later = Attempted("e-later", BEGAN + timedelta(days=30), OLD)

    assert not is_established(folded([*uploads(9), blame]))
    assert is_established(folded([*uploads(9), blame, later]))


def test_an_account_nobody_knows_is_not_established() -> None:
    assert not is_established(Facts())
