"""The reservation store on a Cluster: settles the parts of an upload, each in the slot of its entity.

The account's part decides what a report met. The other parts follow; where they fail, the report fails, and the next one of the
same upload settles them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from msgspec.structs import replace

from gate.core.limits.reservation import (
    Expired,
    Notice,
    Report,
    SettledAs,
    Settlement,
)
from gate.core.limits.take import ClassLimits
from gate.errors import StoreUnavailable
from gate.ports.reservations import ReservationStore
from gate.stores.redis.cluster_parts import entity_prefix, further_entities, parts_key, parts_of, upload_of
from gate.stores.redis.connections.address import is_cluster
from gate.stores.redis.connections.connect import line_to
from gate.stores.redis.connections.line import Stats
from gate.stores.redis.reservations import MOST_UNHEARD, Met, RedisReservationStore

DEADLINE_S = 0.5
MOST_CLASSES = 4_096
KNOWN_FOR_S = 10.0
"""How long it is believed which parts the uploads of a class have."""


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
        self._own = RedisReservationStore(url, prefix, deadline_s, stats=stats)
        self._entities: ReservationStore = RedisReservationStore(url, entity_prefix(prefix), deadline_s, stats=stats)
        self._close = (self._own, self._entities)
        self._line = line_to(url, "upload-gate-settle", stats, patient=False)
        self._prefix = prefix
        self._reading = asyncio.Lock()
        self._within_s = deadline_s / 2
        self._kinds: dict[str, tuple[float, set[str]]] = {}
        self._untold: deque[tuple[float, Settlement]] = deque(maxlen=MOST_UNHEARD)
        """What accounts' parts returned to leases in reports that failed, and when it was (loop's time, s)."""

    async def close(self) -> None:
        """Close the connections."""
        for each in (*self._close, self._line):
            await each.close()

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Learn the limits that reservations of this policy refer to."""
        parts = [parts_of(each) for each in classes]
        self._own.expect([each.own for each in parts])
        self._entities.expect([part.limits for each in parts for part in each.others])

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        """See ReservationStore."""
        found: dict[Notice, Met] = {}
        own = await self._own.settle_met(notices, now_us, found)
        settled = list(own)
        further: list[tuple[int, Notice]] = []
        unread: dict[str, StoreUnavailable] = {}  # a node that does not answer is not asked again by this call
        for n, (notice, met) in enumerate(zip(notices, own, strict=True)):
            known = found.get(notice)
            if known is not None and isinstance(met, Settlement) and _holds_parts(notice, met):
                class_ = known.limits_of or known.reservation.what.partition("\n")[0]
                try:
                    if class_ in unread:
                        raise unread[class_]
                    further += [(n, each) for each in self._parts(notice, known, await self._kinds_of(class_))]
                except StoreUnavailable as error:
                    settled[n] = unread[class_] = error
        for (n, _), each in zip(
            further, await self._entities.settle([each for _, each in further], now_us), strict=True
        ):
            if isinstance(each, StoreUnavailable):
                settled[n] = each
        now_s = asyncio.get_running_loop().time()
        for met, told in zip(own, settled, strict=True):
            if told is not met and isinstance(met, Settlement) and met.leased:
                self._untold.append((now_s, met))
        return settled

    async def unheard(self, older_than_s: float) -> list[Settlement]:
        """See ReservationStore."""
        until_s = asyncio.get_running_loop().time() - older_than_s
        found: list[Settlement] = []
        while self._untold and self._untold[0][0] <= until_s:
            found.append(self._untold.popleft()[1])
        try:
            return found + await self._own.unheard(older_than_s)
        except StoreUnavailable:
            if not found:
                raise
            return found

    async def due(self, most: int, now_us: int | None = None) -> list[Expired]:
        """See ReservationStore. The parts of other entities are settled here, as each has its own place in a list."""
        over = await self._entities.due(most, now_us)
        if over:
            await self._entities.settle(over, now_us)
        return await self._own.due(most, now_us)

    @staticmethod
    def _parts(notice: Notice, known: Met, kinds: set[str]) -> list[Notice]:
        """The notice for each part beside the account's that the upload may have."""
        upload = upload_of(notice.account, notice.upload_id)
        entities = further_entities(kinds, known.reservation.what)
        changed = {"began_us": None} if isinstance(notice, Report) else {}
        return [replace(notice, account=entity, upload_id=upload, **changed) for entity in entities]

    async def _kinds_of(self, class_: str) -> set[str]:
        """The kinds of parts that uploads with the limits of the class have, as all gates say."""
        now_s = asyncio.get_running_loop().time()
        read_at_s, kinds = self._kinds.get(class_, (-KNOWN_FOR_S, set()))
        if now_s - read_at_s >= KNOWN_FOR_S:
            async with self._reading:
                key = parts_key(self._prefix, class_)
                found = await self._line.execute(b"SMEMBERS", key, within_s=self._within_s)
            kinds = {kind.decode(errors="replace") for kind in found}
            if len(self._kinds) > MOST_CLASSES:
                self._kinds.clear()
            self._kinds[class_] = now_s, kinds
        return kinds


def _holds_parts(notice: Notice, met: Settlement) -> bool:
    """Whether the other parts are to be settled as well: with the account's, or after an earlier report that failed there."""
    return not isinstance(notice, Expired) and met.settled in (SettledAs.SETTLED, SettledAs.REPEATED)
