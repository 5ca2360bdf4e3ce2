"""Requests that steer transactions come late, when their sender has long given up: no batch is ever committed in part.

The broker sends clients to a proxy, which holds single requests and delivers them even after their connection has been
closed, as a network may.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from gate.local.kafka import LocalKafka
from gate.records.topics import Topics
from gate.stores.kafka.events import EventProducer
from gate.stores.kafka.topics import declare
from streams.core.facts import Facts, pack
from streams.pipeline.effects import Effects, States
from streams.worker import producer
from streams.worker.changelog import Accounts
from streams.worker.commit import Fenced, Owner, Where
from streams.worker.outage import Outage
from streams.worker.scores_to_redis import ScoresToRedis
from tests.proxies import FaultProxy
from tests.servers import running_kafka
from tests.system.transaction_requests import ADD_OFFSETS, END_TXN, PRODUCE, STEERING, api_key
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

REQUEST_TIMEOUT_MS = 600
HELD_S = 1.6
BIG = 200_000


@pytest.fixture(scope="module")
def kafka(kafka_jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalKafka, int]]:
    """A broker whose clients come through the port that is given beside it."""
    port = free_port()
    with running_kafka(tmp_path_factory.mktemp("kafka"), port) as server:
        yield server, port


@dataclass
class Told:
    """What an owner told of its batches."""

    committed_batches: int = 0
    failures: list[Exception] = field(default_factory=list)
    given_back: int = 0

    def committed(self, owner: Owner, effects: Effects, seconds: float) -> None:
        self.committed_batches += 1

    def commit_failed(self, owner: Owner, error: Exception) -> None:
        self.failures.append(error)

    def not_committed(self, owner: Owner, effects: Sequence[Effects]) -> None:
        self.given_back += len(effects)


def version(number: int, accounts: int) -> dict[str, bytes]:
    """States of about a kilobyte, all of one version."""
    return {f"a-{at}": pack(Facts(events=number, templates=b"x" * 1_000)) for at in range(accounts)}


class Life:
    """A partition's batches, committed by one owner after another, as a worker would."""

    def __init__(self, kafka: str, topics: Topics, batches: list[dict[str, bytes]]) -> None:
        self.batches = batches
        self.told = Told()
        self._kafka = kafka
        self._where = Where(kafka, topics, topics.prefix)
        self.partition = 0
        self._accounts = Accounts(0)

    async def write_events(self) -> None:
        """As many events as there are batches: a batch's offset is that of its event."""
        await declare(self._kafka, self._where.topics)
        async with EventProducer(self._kafka, self._where.topics) as producer:
            (self.partition, _), *_ = await producer.send_raw([(b"a-0", b"{}")] * len(self.batches))
        self._accounts = Accounts(self.partition)

    async def commit_all(self) -> None:
        """Until everything is committed; whatever an owner finds committed at its start must be whole batches."""
        while True:
            owner = self.owner()
            try:
                await owner.open()
                self.require_whole(owner)
                if owner.next == len(self.batches):
                    return
                await self._go_on(owner)
            except (KafkaError, StoreUnavailable, TimeoutError, OSError):
                continue
            finally:
                await owner.close()

    def owner(self) -> Owner:
        """One more owner of the partition, not open yet."""
        return Owner(self._where, self._accounts, ScoresToRedis(None, outage(), self.partition), self.told)

    async def _go_on(self, owner: Owner) -> None:
        try:
            for at in range(owner.next, len(self.batches)):
                await owner.act(Effects.of(at + 1, States(self.batches[at])), time.monotonic())
                await owner.settle()
                assert owner.uncommitted == 0 or not owner.is_open
        except Fenced:
            pass

    def require_whole(self, owner: Owner) -> None:
        """Fails where the changelog holds a batch in part, or not what its watermark says."""
        expected: dict[str, bytes] = {}
        for batch in self.batches[: owner.next]:
            expected.update(batch)
        wrong = [
            a for a in expected.keys() | owner.accounts.states.keys() if expected.get(a) != owner.accounts.states.get(a)
        ]
        assert not wrong, f"{len(wrong)} states are not those of the first {owner.next} batches"


def outage() -> Outage:
    return Outage("Redis", lambda is_up: None)


@asynccontextmanager
async def life_behind(
    kafka: tuple[LocalKafka, int], name: str, batches: list[dict[str, bytes]], hold: Callable[[bytes], float]
) -> AsyncIterator[Life]:
    server, port = kafka
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with FaultProxy(port, server.port, hold):
        life = Life(server.bootstrap, Topics(f"{name}."), batches)
        await life.write_events()
        yield life
    gc.collect()
    assert complaints == []  # whoever wrote has got each error, and the log gets none again


class LateCommit:
    """Holds the first commit, and of the transaction after it all data but the first batch until that commit landed."""

    def __init__(self) -> None:
        self.landed_at: float | None = None
        self._big = 0

    def __call__(self, message: bytes) -> float:
        now, key = time.monotonic(), api_key(message)
        if key == END_TXN and self.landed_at is None:
            self.landed_at = now + HELD_S
            return HELD_S
        if key == PRODUCE and len(message) > BIG:
            self._big += 1
            if self._big > 1 and self.landed_at is not None and now < self.landed_at:
                return self.landed_at - now + 0.2
        return 0.0


async def test_a_commit_that_comes_late_does_not_commit_half_of_the_next_transaction(
    kafka: tuple[LocalKafka, int], unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS)
    batches = [version(1, 10), version(2, 1_500), version(3, 10)]
    hold = LateCommit()
    async with life_behind(kafka, unique(), batches, hold) as life:
        await life.commit_all()

        assert hold.landed_at is not None
        await eventually(lambda: time.monotonic() > (hold.landed_at or 0.0) + 0.5)
        await life.commit_all()  # opens once more and looks: nothing that came late has changed anything
        assert life.told.failures
        assert life.told.given_back


@pytest.mark.parametrize("seed", [1, 2])
async def test_whole_batches_are_committed_however_late_the_coordinator_hears(
    seed: int, kafka: tuple[LocalKafka, int], unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS)
    chance = random.Random(seed)
    held: list[int] = []

    def hold(message: bytes) -> float:
        key = api_key(message)
        if key not in STEERING or len(held) >= 8 or chance.random() > 0.3:
            return 0.0
        held.append(key)
        return chance.uniform(0.2, 2.0)

    batches = [version(number, 1_300 if number % 3 else 5) for number in range(1, 16)]
    async with life_behind(kafka, unique(), batches, hold) as life:
        async with asyncio.timeout(90):
            await life.commit_all()

        assert len(held) == 8
        assert {END_TXN, ADD_OFFSETS} & set(held)
        assert life.told.failures
        assert life.told.given_back


async def test_an_owner_that_is_closed_while_a_request_is_on_its_way_ends_without_an_error(
    kafka: tuple[LocalKafka, int], unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS)
    held: list[int] = []

    def hold(message: bytes) -> float:
        if api_key(message) != END_TXN or held:
            return 0.0
        held.append(END_TXN)
        return HELD_S

    async with life_behind(kafka, unique(), [version(1, 10)], hold) as life:
        owner = life.owner()
        await owner.open()
        await owner.act(Effects.of(1, States(life.batches[0])), time.monotonic())
        await eventually(lambda: held)

        await owner.close()
        await life.commit_all()

        assert life.told.given_back == 1
