"""Pages for people on the worker's host: `/healthz` and `/accounts/{id}`. Served on loopback alone, and only if set.

An account's page shows its state and its score now, if this worker owns its partition.
"""

from __future__ import annotations

import time
from typing import Any

import faust
import msgspec
from aiokafka.partitioner import DefaultPartitioner

from gate.core.score import Stamp
from gate.records.score import encode_score
from streams.core.campaigns import Campaigns
from streams.core.crowd import Crowd
from streams.core.facts import unpack
from streams.core.features import features, last_evidence_us
from streams.core.scorecard import Scorecard
from streams.pipeline.step import surroundings
from streams.worker.assignment import Partitions
from streams.worker.partition import Partition

Answer = tuple[int, dict[str, Any]]


class Pages:
    """The content of the pages."""

    def __init__(
        self, partitions: Partitions, crowd: Crowd, scorecard: Scorecard, campaigns: Campaigns | None = None
    ) -> None:
        self._partitions = partitions
        self._crowd = crowd
        self._campaigns = campaigns
        self._scorecard = scorecard

    def health(self) -> Answer:
        """200 while the worker runs, with the state of each of its partitions."""
        states = {str(partition.number): partition.state.value for partition in self._partitions.mine}
        return 200, {"status": "ok", "partitions": states}

    def account(self, account: str) -> Answer:
        """200 with state and score; 404 if the account has no state or another worker owns its partition."""
        topics = self._partitions.where.topics
        mine = {partition.number: partition for partition in self._partitions.mine}
        counts = [count for one in mine.values() if one.owner is not None for count in one.owner.stamps.counts]
        number = partition_of(account, max(counts, default=topics.events.partitions))
        partition = mine.get(number)
        if partition is None or partition.owner is None:
            return 404, {
                "error": f"this worker does not own partition {number} of {topics.events.name}",
                "partition": number,
                "here": sorted(mine),
                "hint": f"Ask the worker of the group {self._partitions.where.group} that owns partition {number}.",
            }
        if account not in partition.accounts.states:
            return 404, {"error": "this account has no state", "partition": number}
        return 200, self._found(account, partition)

    def _found(self, account: str, partition: Partition) -> dict[str, Any]:
        facts = unpack(partition.accounts.states[account])
        vector = features(facts, surroundings(self._crowd, facts, account, self._campaigns))
        now_us = time.time_ns() // 1_000
        stamp = Stamp("", facts.offset)
        if partition.owner is not None:
            partition.owner.stamps.learn((account,))
            stamp = partition.owner.stamps.stamp(account, facts.offset)
        score = self._scorecard.score(account, vector, last_evidence_us(facts), now_us, stamp)
        fields = {name: getattr(facts, name) for name in facts.__struct_fields__}
        return {
            "account": account,
            "partition": partition.number,
            "state": msgspec.to_builtins(fields, builtin_types=()),
            "score": msgspec.json.decode(encode_score(score)),
        }


def partition_of(account: str, partitions: int) -> int:
    """The partition of the account's events, which Kafka clients choose by the key."""
    chosen: int = DefaultPartitioner()(account.encode(), list(range(partitions)), list(range(partitions)))
    return chosen


def declare_pages(app: faust.App, pages: Pages) -> None:
    """Attach the pages to `app`."""

    @app.page("/healthz")
    async def healthz(web: Any, request: Any) -> Any:
        status, body = pages.health()
        return web.json(body, status=status)

    @app.page("/accounts/{account}")
    async def account(web: Any, request: Any, account: str) -> Any:
        status, body = pages.account(account)
        return web.json(body, status=status)
