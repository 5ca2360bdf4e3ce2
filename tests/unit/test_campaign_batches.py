"""Batches with contents whose hashes only look valid."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.core.campaigns import Campaigns
from streams.core.crowd import CONTENT, Crowd
from streams.core.models.alphabet import build_alphabet
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.campaigns_shown import show_campaigns
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process


@pytest.mark.parametrize("sha256", ["-" + "1" * 63, "+" + "1" * 63, "1 " * 32, "1_" * 32, "٣" * 64, "ab" * 32])
def test_a_content_hash_that_only_looks_like_a_number_stops_no_batch(sha256: str) -> None:
    crowd = Crowd()
    campaigns = Campaigns(crowd, build_alphabet(), capacity=1 << 10)
    batch = [
        Record(n, account.encode(), json.dumps({
            "type": "attempted", "id": "e-1", "at": "2026-11-20T08:00:00Z", "account": {"id": account},
            "media": {"kind": "image", "sha256": sha256},
        }).encode(), (), 0)
        for n, account in enumerate("abcd")
    ]  # fmt: skip

    effects = process(
        batch, {}, crowd, load_scorecard(None), Hashes(b"salt"), load_web_links(), ("events", 0), "epoch", 0,
        campaigns=campaigns,
    )  # fmt: skip

    assert set(effects.states) == set("abcd")
    assert not effects.dead
    assert [count for count, _ in campaigns.sizes().values()] == [1, 0, 0]


class Counted(int):
    """A number of a campaign; how often one was hashed is counted."""

    hashed = 0

    def __hash__(self) -> int:
        Counted.hashed += 1
        return int.__hash__(self)


def hashed_for(uploads: int) -> int:
    """How often campaigns are hashed for so many uploads of one account, each in a campaign of its own."""
    found = [((CONTENT, Counted(number)),) for number in range(uploads)]
    upload = SimpleNamespace(links=())
    campaigns = SimpleNamespace(popular=SimpleNamespace(know=lambda hosts: None), read=lambda *of: found)
    account = SimpleNamespace(facts=SimpleNamespace(host=0), shown={}, hosts=None)
    Counted.hashed = 0

    joined = show_campaigns(
        cast(Any, campaigns), cast(Any, [("a", (upload, 0))] * uploads), {"a": cast(Any, account)}, {}
    )

    assert [one for _, features in joined for one in features] == [*account.shown] == [one for (one,) in found]
    return Counted.hashed


def test_the_uploads_of_one_account_in_a_batch_cost_in_proportion_to_their_number() -> None:
    assert hashed_for(400) <= 5 * hashed_for(100)
