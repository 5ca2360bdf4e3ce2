"""Reads the campaigns that the workers of all partitions publish, and merges them with those of this worker.

`commit` publishes it in the transaction of its batch. A record that is older than the crowd's window is skipped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import KafkaError
from mode import Service

from streams.core.campaigns import CampaignKind, Campaigns
from streams.worker.crowd_feed import MAX_DIGITS, is_recent
from streams.worker.follow import TopicFollower
from streams.worker.outage import Outage

TRY_AGAIN_S: Final = 2.0
SHOW_EVERY_S: Final = 5.0
HEARD_AT_ONCE: Final = 64
"""Records of campaigns that are merged before others have their turn: up to half a millisecond each."""


class CampaignFeed(Service):
    """Follows the topic while the worker runs. Survives the cluster being away."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        campaigns: Campaigns,
        kafka: Outage,
        show: Callable[[dict[CampaignKind, tuple[int, int]]], None],
        **options: Any,
    ) -> None:
        """`show` gets the number of campaigns of each kind, and the accounts of the largest, every few seconds.

        It gets none before the stored campaigns are read: a campaign that is merely read again must not seem to grow.
        """
        super().__init__(**options)
        self._bootstrap = bootstrap
        self._topic = topic
        self._campaigns = campaigns
        self._kafka = kafka
        self._show = show

    @Service.task
    async def _show_sizes(self) -> None:
        while not self.should_stop:
            await self._look()  # counts that other workers publish are read also while no batch comes
            if self._campaigns.has_heard_stored:
                self._show(self._campaigns.sizes())
            await self.sleep(SHOW_EVERY_S)

    @Service.task
    async def _follow(self) -> None:
        while not self.should_stop:
            try:
                await self._listen()
            except (KeyError, TimeoutError):  # the topic is not known yet
                await self.sleep(TRY_AGAIN_S)
            except (KafkaError, OSError) as error:
                self._kafka.failed(error)
                await self.sleep(TRY_AGAIN_S)

    async def _listen(self) -> None:
        async with TopicFollower(self._bootstrap, self._topic, 0) as follower:
            while not self.should_stop:
                records = await follower.next(most=HEARD_AT_ONCE)
                now_us = time.time_ns() // 1_000
                for record in records:
                    if is_recent(record.timestamp, now_us):
                        hear(self._campaigns, record.key, record.value, record.timestamp)
                if follower.has_read_stored and not self._campaigns.has_heard_stored:
                    await self._look()
                    self._campaigns.stored_are_heard()

    async def _look(self) -> None:
        """Take in all that was heard, in turns."""
        while self._campaigns.look() and not self.should_stop:
            await asyncio.sleep(0)


def hear(campaigns: Campaigns, key: bytes | None, value: bytes | None, timestamp_ms: int = 0) -> bool:
    """Merge one record. Returns False if it is not one of a campaign."""
    named = parsed_key(key)
    return named is not None and campaigns.hear(*named, value, timestamp_ms * 1_000)


def parsed_key(key: bytes | None) -> tuple[int, str] | None:
    """The partition and the campaign's id in a key; None for another key."""
    partition, colon, campaign = (key or b"").decode(errors="replace").partition(":")
    if not colon or not partition.isascii() or not partition.isdigit() or len(partition) > MAX_DIGITS:
        return None
    return int(partition), campaign
