"""Publishes the hot facts of devices and networks to the topic and the Redis stream that gates read.

Every worker knows the counts of all partitions, as far as it has read them. A feature is published by one worker only:
the owner of the events partition with the feature's number. A worker that gets a partition publishes all of its hot
facts again, as does every worker once in `SAY_AGAIN_S`. Records that could not be written are kept and written when the
server is back, but not while their feature is another worker's: what that one has published meanwhile is newer. While a
partition is far behind or has not opened yet, its worker publishes nothing, and everything once it has caught up. It then
takes back what stopped being hot meanwhile: a gate would otherwise refuse new accounts there until the fact expires.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol
from zlib import crc32

from mode import Service

from gate.core.hot_facts import LONGEST_DAYS, NEWBORN_US, HotKind, SharedFeature
from gate.core.make_room import make_room
from gate.errors import StoreUnavailable
from gate.records.hot_fact import decode_hot_key, encode_hot_fact, encode_hot_key
from gate.stores.kafka.hot_facts import HotFactProducer
from gate.stores.redis.hot_facts import RedisHotFacts
from streams.core.crowd import DEVICE, IP, KINDS, LEVELS, MAX_HOT, Crowd, HotFact, HotFacts
from streams.core.crowd.record import name, parsed_name
from streams.core.earned_risk import LEAST_RISK, earned_risk, least_accounts
from streams.core.scorecard import Scorecard
from streams.worker import newcomer_facts
from streams.worker.assignment import Partitions
from streams.worker.commit import Where
from streams.worker.lag import acts
from streams.worker.newcomer_facts import NewcomerRecords, Record
from streams.worker.outage import Outage
from streams.worker.partition import Partition
from streams.worker.refusals import refused
from streams.worker.settings import WorkerSettings

EVERY_S: Final = 0.2
SAY_AGAIN_S: Final = 600.0
NEXT_TURN_S: Final = 0.02
TOLD_A_TURN: Final = 1_000
TRY_AGAIN_S: Final = 2.0
"""Pause after a write that failed. The producer of Kafka connects anew for each."""
_KINDS: Final = {IP: HotKind.NETWORK, DEVICE: HotKind.DEVICE}
_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}


class Writes(Protocol):
    """Where hot facts are written: `gate.stores.kafka.hot_facts`, `gate.stores.redis.hot_facts`."""

    async def send(self, records: Sequence[Record], /) -> None:
        """Write records in their order. Raises StoreUnavailable; any may have been stored all the same."""
        ...


class MakesRecords(Protocol):
    """What makes the records: `HotFactRecords` and `NewcomerRecords`."""

    @property
    def has_more(self) -> bool:
        """Whether the next call has more records to make, because the last one had to end."""
        ...

    def changes(self, mine: Collection[int], again: bool = False, /) -> list[Record]:
        """The records since the last call, for the features of the partitions `mine`; all of them `again`."""
        ...


class HotFactRecords:
    """Makes the records of changed hot facts. No I/O; used by one thread. `salt_mark` identifies the salt of the hashes."""

    def __init__(self, crowd: Crowd, scorecard: Scorecard, partitions: int, salt_mark: str = "") -> None:
        self._crowd = crowd
        self._salt_mark = salt_mark
        self._scorecard = scorecard
        self._partitions = partitions
        # a feature that so few accounts share that it does not earn the least risk takes no place among the hot ones
        levels = {kind: least_accounts(scorecard, kind, LEAST_RISK, LEVELS[kind]) for kind in _KINDS}
        self._hot = HotFacts(crowd, levels)
        self._told: dict[bytes, bytes] = {}
        self._mine: Collection[int] = ()
        self._to_tell: dict[str, None] = {}
        """The features that are told again."""
        self._are_known = False
        """Whether gates may know those from an earlier owner."""
        self._cold: dict[str, None] = {}
        """The last features, at most `MAX_HOT`, that stopped being hot while their partition was not among `_mine`."""

    @property
    def has_more(self) -> bool:
        """Whether the next call has more records to make."""
        return bool(self._to_tell) or (self._crowd.today is not None and self._hot.has_more)

    def changes(self, mine: Collection[int], again: bool = False) -> list[Record]:
        """The records since the last call, for the features of the partitions `mine`; all of them `again`, of which each call
        makes `TOLD_A_TURN`.

        None before the first event: until then it is not known on which day a fact ends, and whether it has ended.
        """
        if self._crowd.today is None:
            return []
        changed = self._hot.changes()
        if not self._hot.has_walked:
            return []
        is_other = set(mine) != set(self._mine)
        if again or is_other:
            self._to_tell.update(dict.fromkeys([fact.feature for fact in self._hot.all()]))
        if is_other:
            self._mine, self._told = tuple(mine), {}
            # an earlier owner, or this worker before it fell behind, may have told any of them
            gone = [fact.feature for fact in changed if not fact.accounts]
            cold = [feature for feature in self._cold if self._is_mine(feature)]
            self._to_tell.update(dict.fromkeys([*cold, *gone]))
            self._are_known = True
        turn = [self._hot.now(feature) for feature in islice(self._to_tell, TOLD_A_TURN)]
        news = [fact for fact in changed if fact.feature not in self._to_tell]
        records = [*self._records(news), *self._records(turn, again=True)]
        for fact in turn:
            del self._to_tell[fact.feature]
        self._are_known = self._are_known and bool(self._to_tell)
        return records

    def _records(self, facts: Iterable[HotFact], again: bool = False) -> Iterable[Record]:
        """The records of `facts` that differ from what was told, or of all `again`."""
        for fact in facts:
            if not self._is_mine(fact.feature):
                self._note_cold(fact)
                continue
            self._cold.pop(fact.feature, None)
            named = parsed_name(fact.feature)
            if named is None:
                continue
            kind, value = named
            key = encode_hot_key(_KINDS[kind], f"{value:016x}")
            written = self._written(kind, f"{value:016x}", fact)
            may_be_known = key in self._told or (again and self._are_known)
            if written is None and (may_be_known or not fact.accounts):
                self._told.pop(key, None)
                yield key, None
            elif written is not None and (again or self._told.get(key) != written):
                self._told[key] = written
                yield key, written

    def _is_mine(self, feature: str) -> bool:
        return _owner(feature, self._partitions) in self._mine

    def _note_cold(self, fact: HotFact) -> None:
        self._cold.pop(fact.feature, None)
        if not fact.accounts:
            make_room(self._cold, fact.feature, MAX_HOT)
            self._cold[fact.feature] = None

    def _written(self, kind: int, hash_: str, fact: HotFact) -> bytes | None:
        today = self._crowd.today
        if not fact.accounts or today is None:
            return None
        risk = earned_risk(self._scorecard, kind, fact.accounts, fact.established)
        if risk < LEAST_RISK:
            return None
        later = earned_risk(self._scorecard, kind, fact.accounts, fact.established, NEWBORN_US)
        expires = today + min(KINDS[kind].days, LONGEST_DAYS - 1)  # it is published again long before that
        return encode_hot_fact(
            SharedFeature(_KINDS[kind], hash_, fact.accounts, fact.established, risk, expires, later, self._salt_mark)
        )


def partition_of(key: bytes, partitions: int) -> int:
    """The partition whose owner publishes the record with that key, of so many. Raises StateUnreadable."""
    kind, hash_ = decode_hot_key(key)
    return (
        newcomer_facts.PARTITION
        if kind is HotKind.NEWCOMER
        else _owner(name(_NUMBERS[kind], int(hash_, 16)), partitions)
    )


def _owner(feature: str, partitions: int) -> int:
    return crc32(feature.encode()) % partitions


class _Place:
    """Where records are written, those that wait for it, and until when it is given a pause (seconds of the clock)."""

    __slots__ = ("pause_until", "pending", "writes")

    def __init__(self, writes: Writes) -> None:
        self.writes = writes
        self.pending: dict[bytes, bytes | None] = {}
        self.pause_until = 0.0


class HotFactPublisher(Service):
    """Writes the records of all makers to every place that answers. `close` is called at the end. A place where a write failed
    is tried again after a pause.

    A worker owns the partitions `mine` of `partitions`. A record of another partition that could not be written is kept until the
    partition is this worker's again; the makers then replace what is no longer true of it.
    """

    def __init__(
        self,
        records: Sequence[MakesRecords],
        mine: Callable[[], Collection[int]],
        partitions: int,
        places: Sequence[Writes],
        close: Callable[[], Any],
        failed: Callable[[StoreUnavailable], None] = lambda error: None,
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        """`failed` gets every error of a write; `clock` returns seconds."""
        super().__init__(**options)
        self._records = records
        self._mine = mine
        self._partitions = partitions
        self._places = list(map(_Place, places))
        self._close = close
        self._failed = failed
        self._clock = clock
        self._again_at = 0.0

    async def publish(self) -> None:
        """Write the changes since the last call. Never raises because a server is away."""
        now = self._clock()
        again = now >= self._again_at
        if again:
            self._again_at = now + SAY_AGAIN_S
        mine = self._mine()
        for records in self._records:
            changes = records.changes(mine, again)
            for place in self._places:
                place.pending.update(changes)
        await asyncio.gather(*(self._write(place, mine) for place in self._places if now >= place.pause_until))

    async def _write(self, place: _Place, mine: Collection[int]) -> None:
        records = [each for each in place.pending.items() if partition_of(each[0], self._partitions) in mine]
        if not records:
            return
        try:
            await place.writes.send(records)
        except StoreUnavailable as error:  # pending records wait
            place.pause_until = self._clock() + TRY_AGAIN_S
            self._failed(error)
            return
        for key, _ in records:
            del place.pending[key]

    @Service.task
    async def _publish(self) -> None:
        while not self.should_stop:
            await self.publish()
            await self.sleep(NEXT_TURN_S if any(one.has_more for one in self._records) else EVERY_S)

    async def on_stop(self) -> None:
        """Disconnect."""
        await self._close()


def acting(mine: Sequence[Partition], within: int) -> Collection[int]:
    """The partitions whose features are published: all of `mine`, or none if one is, or may be, over `within` records
    behind."""
    if not all(acts(partition.behind, within) and partition.has_opened for partition in mine):
        return ()
    return {partition.number for partition in mine}


def hot_fact_publisher(
    settings: WorkerSettings, where: Where, crowd: Crowd, scorecard: Scorecard, partitions: Partitions, outage: Outage
) -> HotFactPublisher:
    """The publisher of a worker with these settings, not started. `outage` is that of Kafka."""
    kafka = HotFactProducer(where.bootstrap, where.topics.hot.name)
    redis = None if settings.redis is None else RedisHotFacts(settings.redis, settings.redis_prefix)

    def failed(error: StoreUnavailable) -> None:
        if refused(error) is not None:  # that a server is away is logged elsewhere
            outage.failed(error, "Write")

    async def close() -> None:
        await kafka.stop()
        if redis is not None:
            await redis.close()

    return HotFactPublisher(
        [
            HotFactRecords(crowd, scorecard, where.topics.partitions, where.salt_mark),
            NewcomerRecords(crowd, scorecard, where.salt_mark),
        ],
        lambda: acting(partitions.mine, settings.act_within_records),
        where.topics.partitions,
        [kafka] if redis is None else [kafka, redis],
        close,
        failed,
    )
