"""The reservation store on a Cluster: settles the parts of an upload, each in the slot of its entity.

The account's part decides what a report met. The other parts follow; where they fail, the report fails, and the next one of the
same upload settles them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec.structs import replace

from gate.core.limits.reservation import (
    Expired,
    Notice,
    Report,
    Reservation,
    ReservationState,
    SettledAs,
    Settlement,
    Unanswered,
)
from gate.core.limits.take import ClassLimits
from gate.errors import StoreUnavailable
from gate.ports.reservations import ReservationStore
from gate.stores.redis.address import is_cluster
from gate.stores.redis.apart import entity_prefix, further_entities, parts_of, upload_of
from gate.stores.redis.line import Stats
from gate.stores.redis.reservations import RedisReservationStore

DEADLINE_S = 0.5
MOST_CLASSES = 4_096


def reservation_store(
    url: str, prefix: str = "ug:", deadline_s: float = DEADLINE_S, *, stats: Stats | None = None
) -> RedisReservationStore | ClusterReservationStore:
    """The reservation store in the Redis of that URL."""
    if is_cluster(url):
        return ClusterReservationStore(url, prefix, deadline_s, stats=stats)
    return RedisReservationStore(url, prefix, deadline_s, stats=stats)


class ClusterReservationStore:
    """A ReservationStore; see ports for what it promises. It connects on first use; use it in one event loop, until close()."""

    def __init__(self, url: str, prefix: str, deadline_s: float, *, stats: Stats | None = None) -> None:
        self._own = RedisReservationStore(url, prefix, deadline_s, stats=stats, tell=self._hear)
        self._entities: ReservationStore = RedisReservationStore(url, entity_prefix(prefix), deadline_s, stats=stats)
        self._close = (self._own, self._entities)
        self._classes: dict[str, list[ClassLimits]] = defaultdict(list)
        self._met: dict[Notice, Reservation] = {}

    async def close(self) -> None:
        """Close the connections."""
        for store in self._close:
            await store.close()

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Learn the limits that reservations of this policy refer to."""
        if sum(map(len, self._classes.values())) > MOST_CLASSES:
            self._classes.clear()
        for each in classes:
            if each not in self._classes[each.name]:
                self._classes[each.name].append(each)
        parts = [parts_of(each) for each in classes]
        self._own.expect([each.own for each in parts])
        self._entities.expect([part.limits for each in parts for part in each.others])

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        """See ReservationStore."""
        settled = await self._own.settle(notices, now_us)
        further: list[tuple[int, Notice]] = []
        for n, (notice, met) in enumerate(zip(notices, settled, strict=True)):
            known = self._met.pop(notice, None)
            if known is not None and isinstance(met, Settlement) and _holds_parts(notice, met):
                further += [(n, each) for each in self._parts(notice, known)]
        for (n, _), each in zip(
            further, await self._entities.settle([each for _, each in further], now_us), strict=True
        ):
            if isinstance(each, StoreUnavailable):
                settled[n] = each
        return settled

    async def due(self, most: int, now_us: int | None = None) -> list[Expired]:
        """See ReservationStore. The parts of other entities are settled here, as each has its own place in a list."""
        over = await self._entities.due(most, now_us)
        if over:
            await self._entities.settle(over, now_us)
        return await self._own.due(most, now_us)

    def _hear(self, notice: Notice, known: Reservation) -> None:
        self._met[notice] = known

    def _parts(self, notice: Notice, known: Reservation) -> list[Notice]:
        """The notice for each part beside the account's that the upload may have."""
        class_ = known.what.partition("\n")[0]
        upload = upload_of(notice.account, notice.upload_id)
        entities = further_entities(self._classes.get(class_, ()), known.what)
        changed = {"began_us": None} if isinstance(notice, Report) else {}
        return [replace(notice, account=entity, upload_id=upload, **changed) for entity in entities]


def _holds_parts(notice: Notice, met: Settlement) -> bool:
    """Whether the other parts are to be settled as well: with the account's, or after an earlier report that failed there."""
    if isinstance(notice, Expired) or met.settled not in (SettledAs.SETTLED, SettledAs.REPEATED):
        return False
    return not isinstance(notice, Unanswered) or met.state is not ReservationState.OPEN
