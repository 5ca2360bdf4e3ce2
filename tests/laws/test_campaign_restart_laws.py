"""Laws of campaigns over a change of hands: scores are those of workers that went on, whoever starts anew or takes over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.core.campaigns import VISIBLE, Campaigns
from streams.core.crowd import Backfill, Crowd, account_number
from streams.pipeline.effects import CampaignCounts, CrowdCounts
from streams.pipeline.hashes import Hashes, account_numbers
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Record, Scoring, again, process
from streams.worker import campaign_feed, crowd_feed
from tests.unit.test_campaign_scores import ALPHABET, NOW, PITCH, SHIPPED, WEB, hash_of
from tests.unit.test_campaigns import picture

PARTITIONS = 2
NEAR = [picture(3, 3, seed=n) for n in range(40)]
SALT = b"salt"

KeyValue = tuple[bytes, bytes]
Upload = tuple[int, int]
"""An account, which lives in the partition of the remainder, and the campaigns that it shows, as bits."""


class LoneWorker:
    """A worker: all that it forgets when it ends."""

    def __init__(self, salt: bytes = SALT) -> None:
        self.crowd = Crowd(numbers=account_numbers(salt))
        self.campaigns = Campaigns(self.crowd, ALPHABET, capacity=1 << 12)
        self.backfill = Backfill(self.crowd)

    def hear(self, counts: Sequence[KeyValue], campaigns: Sequence[KeyValue]) -> None:
        for key, value in counts:
            assert crowd_feed.hear(self.crowd, key, value)
        for key, value in campaigns:
            assert campaign_feed.hear(self.campaigns, key, value)
        self.crowd.stored_are_heard()
        self.campaigns.look()


class Cluster:
    """What outlives every worker: the topics and the states. A worker for each partition, or one for all."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = [LoneWorker() for _ in range(workers)]
        self.states: list[dict[str, bytes]] = [{} for _ in range(PARTITIONS)]
        self.stamps = [Stamps("epoch", partition, (PARTITIONS,), 100) for partition in range(PARTITIONS)]
        self.counts: list[KeyValue] = []
        self.records: list[KeyValue] = []
        self.offset = 0
        self.moved = 0

    def owner(self, partition: int) -> LoneWorker:
        return self.workers[(partition + self.moved) % len(self.workers)]

    def restart(self, salt: bytes = SALT) -> None:
        self.workers = [LoneWorker(salt) for _ in self.workers]
        for worker in self.workers:
            worker.hear(self._compacted(self.counts), self._compacted(self.records))
            self._remember(worker)

    def move(self) -> None:
        """Each partition gets another owner, which has run before."""
        self.moved += 1
        for partition in range(PARTITIONS):
            self._remember(self.owner(partition))

    def _remember(self, worker: LoneWorker) -> None:
        accounts = [account for states in self.states for account in states]
        worker.backfill.remember(accounts, list(map(worker.crowd.numbers.of, accounts)))

    def _compacted(self, records: list[KeyValue]) -> list[KeyValue]:
        return list({key: (key, value) for key, value in records}.values())

    def upload(self, uploads: Sequence[Upload]) -> None:
        for partition in range(PARTITIONS):
            mine = [one for one in uploads if one[0] % PARTITIONS == partition]
            if mine:
                self._fold(partition, [self._record(*one) for one in mine])
        for partition in range(PARTITIONS):  # so that everybody has heard of everything
            self._fold(partition, [self._record(1_000 + partition, 0)])

    def risks(self) -> dict[str, float]:
        """What each account's next score says."""
        found: dict[str, float] = {}
        for partition, states in enumerate(self.states):
            worker, stamps = self.owner(partition), self.stamps[partition]
            scoring = Scoring(worker.crowd, SHIPPED, stamps.stamp, 0, True, worker.campaigns)
            found.update((score.account, score.risk) for score, _ in again(states, states, scoring))
        return found

    def _record(self, number: int, shows: int) -> Record:
        at = NOW - timedelta(hours=6) + timedelta(seconds=20 * self.offset)
        account = f"a-{number}"
        body = {
            "type": "attempted", "id": f"e-{self.offset}", "upload_id": f"u-{self.offset}", "at": at.isoformat(),
            "account": {"id": account, "created_at": (at - timedelta(hours=1)).isoformat()},
            "ip": f"10.{number // 250}.{number % 250}.1", "device": f"d-{account}",
            "media": {"kind": "image", "phash": NEAR[number % 40] if shows & 1 else picture(hash_of(account) % 1_900)},
            "text": f"{PITCH} {number}" if shows & 2 else f"good morning {number}",
        }  # fmt: skip
        self.offset += 1
        return Record(self.offset, account.encode(), json.dumps(body).encode(), (), int(NOW.timestamp() * 1_000))

    def _fold(self, partition: int, records: list[Record]) -> None:
        worker, states = self.owner(partition), self.states[partition]
        effects = process(
            records, states, worker.crowd, SHIPPED, Hashes(SALT), WEB, ("events", partition), "epoch", 0,
            self.stamps[partition], backfill=worker.backfill, campaigns=worker.campaigns,
        )  # fmt: skip
        states.update(effects.states)
        counts = [(key, value) for key, value in effects.part(CrowdCounts).records(partition) if key and value]
        told = [(key, value) for key, value in effects.part(CampaignCounts).records(partition) if key and value]
        self.counts += counts
        self.records += told
        for other in self.workers:
            other.hear(counts, told)


showing = st.tuples(st.integers(0, 23), st.integers(1, 3))
batches = st.lists(st.lists(showing, min_size=1, max_size=16), min_size=2, max_size=5)
FEW = [[(0, 1)], [(1, 3)]]
WAVE = [[(2 * n, 3) for n in range(8)], [(2 * n + 1, 3) for n in range(8)]]
AFTER = [[(0, 1)], [(16, 3), (18, 3), (20, 3)], [(1, 2), (3, 1)]]


def run(cluster: Cluster, before: list[list[Upload]], after: list[list[Upload]], changes: str = "") -> Cluster:
    for uploads in before:
        cluster.upload(uploads)
    if changes == "restart":
        cluster.restart()
    elif changes == "move":
        cluster.move()
    for uploads in after:
        cluster.upload(uploads)
    return cluster


def visible(batches: list[list[Upload]]) -> list[list[Upload]]:
    """The same batches behind one with which both campaigns are visible, though few of their members are in one partition."""
    in_one = [(24 + PARTITIONS * n, 3) for n in range(VISIBLE)]
    return [[*in_one, (25, 3)], *batches]


@given(batches, batches, st.sampled_from([1, 2]), st.sampled_from(["restart", "move"]))
@example(WAVE, AFTER, 1, "restart")
@example(WAVE, AFTER, 2, "move")
@example(FEW, AFTER, 2, "restart")
@settings(max_examples=40, deadline=None)
def test_scores_and_states_after_a_change_of_hands_are_those_without_one(
    before: list[list[Upload]], after: list[list[Upload]], workers: int, change: str
) -> None:
    undisturbed = run(Cluster(workers), visible(before), after)

    disturbed = run(Cluster(workers), visible(before), after, change)

    assert disturbed.risks() == undisturbed.risks()
    assert disturbed.states == undisturbed.states


def test_a_member_that_shows_something_else_after_a_restart_keeps_its_campaign() -> None:
    went_on = run(Cluster(), visible(WAVE), [[(2, 0)]])

    restarted = run(Cluster(), visible(WAVE), [[(2, 0)]], "restart")

    assert went_on.risks()["a-2"] > 0.3
    assert restarted.risks()["a-2"] == went_on.risks()["a-2"]


def test_members_that_were_numbered_under_another_salt_are_ignored() -> None:
    cluster = run(Cluster(), visible(WAVE), [])

    cluster.restart(b"another salt")

    assert not cluster.owner(0).campaigns.has_members


def test_numbers_of_a_process_are_never_written() -> None:
    cluster = Cluster()
    worker = cluster.workers[0]
    worker.crowd = Crowd()
    worker.campaigns = Campaigns(worker.crowd, ALPHABET, capacity=1 << 12)
    worker.backfill = Backfill(worker.crowd)

    run(cluster, visible(WAVE), [])

    assert worker.crowd.numbers.of("a-1") == account_number("a-1")
    assert cluster.records
    assert not any(b"members" in value for _, value in cluster.records)
