"""When the sizes of campaigns are shown: not before those are known that the topic held at the start."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Self

import pytest

from streams.core.campaigns import CampaignKind, Campaigns
from streams.core.crowd import Crowd
from streams.core.models.alphabet import build_alphabet
from streams.worker import campaign_feed
from streams.worker.campaign_feed import CampaignFeed
from streams.worker.follow import MOST, TopicFollower
from streams.worker.outage import Outage
from tests.waiting import eventually


class Follower:
    """Returns no record; has read what was stored once the test says so."""

    has_read_stored = False

    def __init__(self, *_: object) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def next(self, most: int = 0) -> list[Any]:
        await asyncio.sleep(0)
        return []


async def test_sizes_are_shown_only_once_the_stored_campaigns_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign_feed, "TopicFollower", Follower)
    monkeypatch.setattr(campaign_feed, "SHOW_EVERY_S", 0.001)
    shown: list[dict[CampaignKind, tuple[int, int]]] = []
    looks: list[None] = []
    campaigns = Campaigns(Crowd(), build_alphabet())
    monkeypatch.setattr(campaigns, "look", lambda: bool(looks.append(None)))
    feed = CampaignFeed("k:1", "campaigns", campaigns, Outage("Kafka", lambda up: None), shown.append)

    async with feed:
        await eventually(lambda: len(looks) > 3)
        before = list(shown)
        monkeypatch.setattr(Follower, "has_read_stored", True)
        await eventually(lambda: shown)

    assert before == []
    assert campaigns.has_heard_stored


@pytest.mark.parametrize(("positions", "read"), [([0, 3, 9], [False, False, True]), ([9, 9, 9], [True, True, True])])
async def test_a_follower_has_read_what_was_stored_once_its_position_is_at_the_end(
    positions: list[int], read: list[bool]
) -> None:
    follower = TopicFollower("k:1", "campaigns", 0)
    left = iter(positions)

    async def position(at: object) -> int:
        return next(left)

    async def getmany(at: object, timeout_ms: int, max_records: int) -> dict[object, list[Any]]:
        return {}

    await follower._consumer.stop()
    follower._consumer, follower._end = SimpleNamespace(position=position, getmany=getmany), 9
    found = []
    for _ in positions:
        await follower.next()
        found.append(follower.has_read_stored)
        if follower.has_read_stored:
            break

    assert found == read[: len(found)]
    assert follower.has_read_stored


async def test_a_long_look_lets_the_event_loop_run_between_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign_feed, "TopicFollower", Follower)
    campaigns = Campaigns(Crowd(), build_alphabet())
    order: list[str] = []
    monkeypatch.setattr(campaigns, "look", lambda: bool(order.append("turn")) or order.count("turn") < 5)
    feed = CampaignFeed("k:1", "campaigns", campaigns, Outage("Kafka", lambda up: None), lambda sizes: None)

    async with feed:
        while order.count("turn") < 5:
            await asyncio.sleep(0)
            order.append("others")

    assert "turn turn" not in " ".join(order[: order.index("turn") + 6])


async def test_a_follower_returns_a_bounded_number_of_records_and_lets_others_run_before() -> None:
    follower = TopicFollower("k:1", "campaigns", 0)
    asked: list[int] = []
    order: list[str] = []

    async def getmany(at: object, timeout_ms: int, max_records: int) -> dict[object, list[Any]]:
        asked.append(max_records)
        order.append("records")
        return {}

    await follower._consumer.stop()
    follower._consumer = SimpleNamespace(getmany=getmany)
    follower.has_read_stored = True
    asyncio.get_running_loop().call_soon(order.append, "others")
    await follower.next(most=7)
    await follower.next()

    assert asked == [7, MOST]
    assert order == ["others", "records", "records"]
