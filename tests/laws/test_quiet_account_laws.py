"""An account that is refused and tries again is refused less and less; new evidence refuses it at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gate.core.duration import DAY_US, HOUR_US
from gate.core.score import Score, risk_at
from streams.core.crowd import Crowd
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
BEGAN_US = int(BEGAN.timestamp()) * 1_000_000
CARD, HASHES, WEB = load_scorecard(None), Hashes(b"salt"), load_web_links()


class Account:
    """One account's events through the pipeline, in a crowd of a farm."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}
        self.crowd = Crowd()
        self.offset = 0
        for other in range(1, 30):
            self.crowd.note(1, 2, HASHES.devices["farm"], other, BEGAN_US)

    def event(self, after: timedelta, **more: object) -> Score:
        at = (BEGAN + after).isoformat()
        body = {"id": f"e-{self.offset}", "at": at, "account": {"id": "bot", "created_at": BEGAN.isoformat()}, **more}
        record = Record(self.offset, b"bot", json.dumps(body).encode(), (), int((BEGAN + after).timestamp() * 1e3) + 1)
        effects = process([record], self.states, self.crowd, CARD, HASHES, WEB, ("events", 0), "epoch", 0)
        self.offset += 1
        self.states |= effects.states
        ((score, _),) = effects.scores
        return score

    def upload(self, after: timedelta, **more: object) -> Score:
        return self.event(after, type="attempted", upload_id=f"u-{self.offset}", media={"kind": "image"}, **more)


def judged(score: Score, after: timedelta) -> float:
    """The risk by which a gate judges the account at that time."""
    now_us = BEGAN_US + after // timedelta(microseconds=1)
    return risk_at(score.risk, score.at_us, score.half_life_us, score.base, now_us)


def a_bot() -> tuple[Account, Score]:
    account = Account()
    for minute in range(12):
        score = account.upload(timedelta(minutes=minute), device="farm", text="WIN free coins now https://t.me/win")
    return account, score


@given(st.lists(st.integers(1, 72), min_size=1, max_size=12))
def test_refused_attempts_without_new_evidence_never_keep_a_risk_up(hours: list[int]) -> None:
    account, score = a_bot()
    now = timedelta(minutes=11)
    risks = [judged(score, now)]
    for hour in hours:
        now += timedelta(hours=hour)
        before = judged(score, now)
        score = account.upload(now, device="farm", text="WIN free coins now https://t.me/win", decision="challenge")

        risks += [before, judged(score, now)]

    assert risks == sorted(risks, reverse=True)
    assert risks[-1] < risks[0]


def test_challenged_once_and_back_after_160_hours_from_home_the_account_is_let_in() -> None:
    account, score = a_bot()
    now = timedelta(minutes=12)
    challenged = judged(account.upload(now, device="farm", decision="challenge"), now)

    later = now + timedelta(hours=160)
    waited = judged(score, later)
    at_home = judged(account.upload(later, device="home", decision="challenge"), later)

    assert challenged > 0.7
    assert at_home <= waited < 0.5


def test_new_evidence_counts_in_full() -> None:
    account, first = a_bot()
    later = timedelta(days=6)

    again = account.upload(later, device="farm", text="WIN free coins now https://t.me/win")
    reported = account.event(later + timedelta(days=6), type="reported", reporter="r-1", reason="spam")

    assert again.at_us == BEGAN_US + 6 * DAY_US
    assert again.risk > judged(first, later)
    assert abs(reported.at_us - (BEGAN_US + 12 * DAY_US)) < HOUR_US


def test_an_account_without_any_evidence_is_as_old_as_its_last_event() -> None:
    score = Account().event(timedelta(days=1), type="completed", bytes=7)

    assert score.at_us == BEGAN_US + DAY_US
