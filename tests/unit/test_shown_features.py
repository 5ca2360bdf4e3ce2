"""What an upload shows the crowd: its own content and link host, also within a batch, and not those of an earlier upload."""

from __future__ import annotations

from typing import Any

import pytest

from gate.core.duration import DAY_US
from gate.records.times import time_of
from streams.core.crowd import CONTENT, HOST, Crowd
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process
from tests.unit.test_process import AT_MS, record

SHIPPED, WEB, HASHES = load_scorecard(None), load_web_links(), Hashes(b"salt")
BEGAN_US = (AT_MS * 1_000 // DAY_US - 20) * DAY_US
FEATURES = {CONTENT: HASHES.content("5ca1e"), HOST: HASHES.hosts["shop.example"]}
SHARED: dict[str, Any] = {"media": {"kind": "image", "sha256": "5ca1e"}, "links": ["https://shop.example/"]}
PLAIN: dict[str, Any] = {"media": {"kind": "image"}, "links": []}


def upload(offset: int, account: str, day: int, shown: dict[str, Any]) -> Record:
    at = time_of(BEGAN_US + day * DAY_US).isoformat()
    return record(offset, account, at=at, text=None, ip=None, device=account, **shown)


def counted(*batches: list[Record]) -> list[dict[int, int]]:
    """How many accounts share the content and the host after each batch."""
    states: dict[str, bytes] = {}
    crowd, counts = Crowd(), []
    for batch in batches:
        effects = process(batch, states, crowd, SHIPPED, HASHES, WEB, ("events", 3), "epoch", 7)
        assert not effects.dead
        states.update(effects.states)
        counts.append({kind: crowd.count(kind, value) for kind, value in FEATURES.items()})
    return counts


@pytest.mark.parametrize("in_one_batch", [True, False])
def test_plain_uploads_do_not_keep_an_earlier_content_and_host_in_the_crowd(in_one_batch: bool) -> None:
    accounts = [f"a-{n}" for n in range(5)]
    days = [SHARED, *[PLAIN] * 8]
    batches = [
        [upload(day * 10 + n, account, day, shown) for n, account in enumerate(accounts)]
        for day, shown in enumerate(days)
    ]
    if in_one_batch:
        batches = [[one for batch in batches for one in batch]]

    counts = counted(*batches)

    assert counts[-1] == {CONTENT: 0, HOST: 0}
    assert in_one_batch or counts[0] == {CONTENT: 5, HOST: 5}


def test_uploads_that_show_content_and_host_again_after_plain_ones_keep_them_in_the_crowd() -> None:
    accounts = [f"a-{n}" for n in range(5)]
    days = [SHARED, PLAIN, SHARED, PLAIN, PLAIN, PLAIN]

    *_, last = counted(
        *[
            [upload(day * 10 + n, account, day, shown) for n, account in enumerate(accounts)]
            for day, shown in enumerate(days)
        ]
    )

    assert last == {CONTENT: 5, HOST: 5}


def event(offset: int, account: str, day: int, **fields: Any) -> Record:
    return record(offset, account, at=time_of(BEGAN_US + day * DAY_US).isoformat(), **fields)


@pytest.mark.parametrize("fields", [{"decision": "paused"}, {"type": "completed", "bytes": 7}])
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_counts_age_while_no_upload_is_let_in(fields: dict[str, Any], in_one_batch: bool) -> None:
    first = [upload(n, f"a-{n}", 0, SHARED) for n in range(5)]
    others = [event(10 * day, f"b-{day}", day, **fields) for day in range(1, 16)]

    counts = counted(first, others) if in_one_batch else counted(first, *[[one] for one in others])

    assert counts[0] == {CONTENT: 5, HOST: 5}
    assert counts[-1] == {CONTENT: 0, HOST: 0}


def test_one_refused_attempt_of_a_clock_that_is_days_ahead_ages_no_count() -> None:
    first = [upload(n, f"a-{n}", 0, SHARED) for n in range(5)]

    *_, last = counted(first, [event(10, "b", 15, decision="paused")])

    assert last == {CONTENT: 5, HOST: 5}
