"""Batches with contents whose hashes only look valid."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from streams.core.campaigns import Campaigns
from streams.core.crowd import KINDS, MANY, Crowd, ShownFeatures
from streams.core.crowd.kinds import NAME_CAMPAIGN
from streams.core.facts import unpack
from streams.core.features import FactColumns
from streams.core.models.alphabet import build_alphabet
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process, surroundings, surroundings_of


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
    assert [count for count, _ in campaigns.sizes().values()] == [1, 0, 0, 0]


class RowCounting(Crowd):
    """A crowd that counts the rows it is told."""

    rows = 0

    def note_batch(self, partition: int, batch: Mapping[int, ShownFeatures]) -> None:
        self.rows += sum(len(shown.values) for shown in batch.values())
        super().note_batch(partition, batch)


def rows_for(uploads: int) -> int:
    """How many rows tell the crowd of so many uploads of one account from one device, each with a content of its own."""
    crowd = RowCounting()
    campaigns = Campaigns(crowd, build_alphabet(), capacity=1 << 10)
    batch = [
        Record(n, b"a", json.dumps({
            "type": "attempted", "id": f"e-{n}", "at": "2026-11-20T08:00:00Z", "account": {"id": "a"}, "device": "d",
            "media": {"kind": "image", "sha256": f"{n + 1:08x}" * 8},
        }).encode(), (), 0)
        for n in range(uploads)
    ]  # fmt: skip

    process(
        batch, {}, crowd, load_scorecard(None), Hashes(b"salt"), load_web_links(), ("events", 0), "epoch", 0,
        campaigns=campaigns,
    )  # fmt: skip

    return crowd.rows


def test_the_uploads_of_one_account_in_a_batch_cost_in_proportion_to_their_number() -> None:
    assert [rows_for(100), rows_for(400)] == [2 * 100 + 1, 2 * 400 + 1]


@pytest.mark.parametrize("uploads", [MANY - 1, MANY])
def test_few_uploads_and_many_are_counted_alike(uploads: int) -> None:
    whole, each = Crowd(), Crowd()
    for crowd in (whole, each):
        campaigns = Campaigns(crowd, build_alphabet(), capacity=1 << 10)
        batch = [
            Record(n, f"a-{n}".encode(), json.dumps({
                "type": "attempted", "id": "e", "at": "2026-11-20T08:00:00Z", "account": {"id": f"a-{n}"}, "device": "d",
                "ip": "192.0.2.7", "media": {"kind": "image", "sha256": "ab" * 32}, "links": ["https://h.example/win"],
                "text": "earn five thousand dollars a week from home just write to me",
            }).encode(), (), 0)
            for n in range(uploads)
        ]  # fmt: skip
        for some in [batch] if crowd is whole else [[record] for record in batch]:
            process(
                some, {}, crowd, load_scorecard(None), Hashes(b"salt"), load_web_links(), ("events", 0), "epoch", 0,
                campaigns=campaigns,
            )  # fmt: skip

    shared, of_each = ({(kind, value) for kind in KINDS for value in one.values_of(kind)} for one in (whole, each))
    assert {kind for kind, _ in shared} == set(KINDS) - {NAME_CAMPAIGN}
    assert shared == of_each
    assert {whole.counts(*feature) for feature in shared} == {(uploads, 0)}


def test_what_surrounds_many_accounts_is_what_surrounds_each_on_popular_hosts_and_in_campaigns_too() -> None:
    crowd, card = Crowd(), load_scorecard(None)
    campaigns = Campaigns(crowd, build_alphabet(), capacity=1 << 10)
    accounts = [f"a-{n}" for n in range(MANY)]
    links = ("https://youtube.com/win/it", "https://h.example/win", None)
    batch = [
        Record(n, account.encode(), json.dumps({
            "type": "attempted", "id": "e", "at": "2026-11-20T08:00:00Z", "account": {"id": account}, "device": f"d-{n % 5}",
            "links": [link] if (link := links[n % 3]) else [],
        }).encode(), (), 0)
        for n, account in enumerate(accounts)
    ]  # fmt: skip
    states = process(
        batch, {}, crowd, card, Hashes(b"salt"), load_web_links(), ("events", 0), "epoch", 0, campaigns=campaigns
    ).states
    given = {account: card.read.of_facts(unpack(states[account])) for account in accounts}

    together = surroundings_of(crowd, given, FactColumns.of([*given.values()]), campaigns).some(range(MANY))

    assert together == [surroundings(crowd, one, account, campaigns) for account, one in given.items()]
    assert [(one.link_accounts, one.link_established, one.link_campaign) for one in together[:3]] == [
        (11, 11, 11), (11, 0, 11), (0, 0, 0),
    ]  # fmt: skip
