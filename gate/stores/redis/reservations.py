"""The reservation store in Redis (or Valkey): reads a reservation, decides by it, and replaces it if it has not changed.

`gate.core.limits.reservation.settle` decides; `lua/settle.lua` carries out its changes only where the reservation is still what
was read, so that two gates that settle one upload settle it once. The settled reservation has a number of its own, by which the
store learns later whether a settlement whose reply was lost was carried out. `gate.stores.redis.layout` says what is stored.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest
from secrets import token_bytes
from typing import Any, Final, NamedTuple, cast

from gate.core.limits.reservation import Expired, Notice, Reservation, ReservationState, Settlement, Settling, settle
from gate.core.limits.take import ClassLimits
from gate.errors import StateUnreadable, StoreUnavailable
from gate.stores.redis import layout
from gate.stores.redis.account_keys import in_key
from gate.stores.redis.connections.cluster import ClusterLine
from gate.stores.redis.connections.cluster_map import SLOTS, slot_of
from gate.stores.redis.connections.connect import line_to
from gate.stores.redis.connections.line import Routed, Stats
from gate.stores.redis.connections.script_call import Argument, Run, Script

MOST_AT_ONCE: Final = 64
"""Words that share two calls."""
ROUNDS: Final = 5
"""How often a notice is tried whose reservation changes meanwhile."""
MOST_UNHEARD: Final = 10_000
"""Settlements without a reply that are remembered. Tokens that older ones return to leases are lost."""
MOST_LIMITS: Final = 4_096
SLOTS_A_LOOK: Final = 512
"""Slots of a Cluster whose lists one call of `due` reads. All are read after 32 calls."""
_CHANGE = struct.Struct("<BB4s4sd")
_UNKNOWN_DEBT: Final = b"gone"
_BUCKET, _FLIGHT = 0, 1


class Met(NamedTuple):
    """The reservation that a notice met, and the class whose limits were taken from, empty where none of the account were."""

    reservation: Reservation
    limits_of: str


class Unheard(NamedTuple):
    """A settlement whose reply was lost, when it was (loop's time, s), and the reservation as it becomes by it."""

    settlement: Settlement
    at_s: float
    notice: Notice
    settled: bytes


class Stored(NamedTuple):
    """The values in which the reservation of an upload may lie, and the clock of their server (µs)."""

    now_us: int
    account: bytes | None
    own: bytes | None


class RedisReservationStore:
    """A ReservationStore; see ports for what it promises. It connects on first use; use it in one event loop, until close().

    `deadline_s` bounds each `settle`, and each call of the server. On a Cluster it settles the account's part alone, and
    `cluster_reservations` settles all parts; a node that does not answer fails only what it serves.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "ug:",
        deadline_s: float = 0.5,
        *,
        stats: Stats | None = None,
    ) -> None:
        self._returns = False
        self._next_slot = 0
        self._prefix = prefix
        self._deadline_s = deadline_s
        self._script = Script.named("settle")
        self._line = line_to(url, "upload-gate-settle", stats, patient=False)
        # a call may last so long: on a Cluster a settlement of other nodes' uploads has time left after a node's silence
        self._within_s = deadline_s / 3 if self._line.is_clustered else deadline_s
        self._turn = asyncio.Lock()
        self._debts: dict[str, bytes] = {}
        self._described: dict[bytes, layout.Described] = {}
        self._unheard: deque[Unheard] = deque(maxlen=MOST_UNHEARD)

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Learn the limits that reservations of this policy refer to."""
        if len(self._debts) > MOST_LIMITS:
            self._debts.clear()
            self._described.clear()
        self._returns = self._returns or any(each.returns for each in classes)
        for each in classes:
            description = layout.described(each)
            self._described[layout.tagged(description)[0]] = description
            for limit in (limit for limits in each.entity_limits for limit in limits.limits):
                self._debts[limit.id.hex()] = limit.debt_id

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        """See ReservationStore. The deadline bounds all of it, the wait for other calls included."""
        return await self.settle_met(notices, now_us, {})

    async def settle_met(
        self, notices: Sequence[Notice], now_us: int | None, met: dict[Notice, Met]
    ) -> list[Settlement | Exception]:
        """`settle`, and put into `met` the reservation that each notice met."""
        settled: list[Settlement | Exception] = []
        try:
            async with asyncio.timeout(self._deadline_s):
                for start in range(0, len(notices), MOST_AT_ONCE):
                    async with self._turn:
                        settled += await self._settle(notices[start : start + MOST_AT_ONCE], now_us, met)
        except StoreUnavailable as error:
            settled += [error for _ in notices[len(settled) :]]
        except TimeoutError:
            late = StoreUnavailable(f"Redis did not settle it within {self._deadline_s:g} s", "send the report again")
            settled += [late for _ in notices[len(settled) :]]
        return settled

    async def due(self, most: int, now_us: int | None = None) -> list[Expired]:
        """See ReservationStore."""
        async with self._turn:
            lists = self._due_lists()
            if not lists:
                return []
            if now_us is None:
                now_us = _time(await self._line.execute(b"TIME", within_s=self._deadline_s, at=lists[0]))
            calls = [(key, (b"ZRANGEBYSCORE", key, b"-inf", now_us, b"LIMIT", 0, most)) for key in lists]
            replies = await self._line.pipeline(calls, self._deadline_s)
            over: list[Expired] = []
            for list_, keys in zip(lists, replies, strict=True):
                uploads = {key: layout.upload_of_key(self._prefix, key.decode(errors="replace")) for key in keys}
                if strange := [key for key, upload in uploads.items() if upload is None]:
                    await self._line.execute(b"ZREM", list_, *strange, within_s=self._deadline_s)
                over += [Expired(*upload) for upload in uploads.values() if upload is not None]
        return over

    async def unheard(self, older_than_s: float) -> list[Settlement]:
        """See ReservationStore. Settlements on a node that does not answer wait for the next call, and no others do."""
        found: list[Settlement] = []
        problem: StoreUnavailable | None = None
        until_s = asyncio.get_running_loop().time() - older_than_s
        async with self._turn:
            waiting = [each for each in self._unheard if each.at_s <= until_s]
            for start in range(0, len(waiting), MOST_AT_ONCE):
                some = waiting[start : start + MOST_AT_ONCE]
                try:
                    stored = await self._read([each.notice for each in some])
                except StoreUnavailable as error:  # the only server does not answer
                    problem = error
                    break
                looked_at = set()
                for each, values in zip(some, stored, strict=True):
                    if isinstance(values, StoreUnavailable):
                        problem = values
                        continue
                    looked_at.add(id(each))
                    if self._record(each.notice, values) == each.settled:
                        found.append(each.settlement)
                left = (each for each in self._unheard if id(each) not in looked_at)
                self._unheard = deque(left, MOST_UNHEARD)
        if problem is not None and not found:  # those that were found are told now, as they are told once
            raise problem
        return found

    def _due_lists(self) -> list[str]:
        """The lists to look at: on a Cluster some at a time, and none unless the policy gives back what nobody reports."""
        if not self._line.is_clustered:
            return [layout.due_key(self._prefix)]
        if not self._returns:
            return []
        first = self._next_slot
        self._next_slot = (first + SLOTS_A_LOOK) % SLOTS
        return [layout.due_key(self._prefix, slot) for slot in range(first, first + SLOTS_A_LOOK)]

    def _due_list(self, account: str) -> str:
        slot = slot_of(layout.account_key("", account)) if self._line.is_clustered else None
        return layout.due_key(self._prefix, slot)

    async def _settle(
        self, notices: Sequence[Notice], now_us: int | None, met: dict[Notice, Met]
    ) -> list[Settlement | Exception]:
        settled: dict[int, Settlement | Exception] = {}
        waiting = list(range(len(notices)))
        in_vain = 0
        while waiting and in_vain < ROUNDS:
            # notices about one upload go one after the other, as each changes the reservation
            first = {(notices[n].account, notices[n].upload_id): n for n in reversed(waiting)}
            runs = await self._decided(notices, sorted(first.values()), settled, now_us, met)
            if runs:
                await self._carry_out(notices, runs, settled)
            before, waiting = len(waiting), [n for n in waiting if n not in settled]
            in_vain += len(waiting) == before
        late = StoreUnavailable("the reservation changed again and again while it was settled", "send the report again")
        return [settled.get(n, late) for n in range(len(notices))]

    async def _decided(
        self,
        notices: Sequence[Notice],
        waiting: list[int],
        settled: dict[int, Settlement | Exception],
        now_us: int | None,
        met: dict[Notice, Met],
    ) -> list[tuple[int, Settling, Run]]:
        """The settlements to carry out. Reports that change nothing are settled at once."""
        stored = await self._read([notices[n] for n in waiting])
        found: list[tuple[int, int, bytes | None]] = []
        for n, values in zip(waiting, stored, strict=True):
            if isinstance(values, StoreUnavailable):
                settled[n] = values
            else:
                found.append((n, values.now_us, self._record(notices[n], values)))
        read = [None if record is None else _read(record) for *_, record in found]
        problem = await self._learn({layout.tag_of(each[1]) for each in read if each is not None})
        runs: list[tuple[int, Settling, Run]] = []
        for (n, clock, record), each in zip(found, read, strict=True):
            notice = notices[n]
            if each is not None and problem is not None and not self._knows(layout.tag_of(each[1])):
                settled[n] = problem
                continue
            known = None if each is None else self._with_taken(notice.account, *each)
            if known is not None:
                met[notice] = Met(known, self._class_of(each))
            settling = settle(known, notice, clock if now_us is None else now_us)
            if settling.reservation is None or record is None or known is None:
                settled[n] = settling.settlement
                if isinstance(notice, Expired):
                    await self._forget(notice)
            else:
                runs.append((n, settling, self._run(notice, record, settling, known.until_us, now_us)))
        return runs

    def _keys_of(self, notices: Sequence[Notice]) -> list[str]:
        """For each notice the keys of the account and of the upload."""
        keys: list[str] = []
        for notice in notices:
            keys.append(layout.account_key(self._prefix, notice.account))
            keys.append(layout.upload_key(self._prefix, notice.account, notice.upload_id))
        return keys

    def _knows(self, tag: bytes) -> bool:
        return not tag or tag in self._described

    async def _learn(self, tags: set[bytes]) -> StoreUnavailable | None:
        """Read what tags of other policies stand for. Returns why they cannot be read."""
        unknown = [tag for tag in tags if not self._knows(tag)]
        if not unknown:
            return None
        try:
            values = await self._line.execute(b"HMGET", f"{self._prefix}2limits", *unknown, within_s=self._within_s)
        except StoreUnavailable as error:
            return error
        for tag, value in zip(unknown, values, strict=True):
            if value is not None:
                with suppress(StateUnreadable):
                    self._described[tag] = layout.read_described(value)
        return None

    def _class_of(self, each: tuple[Reservation, bytes] | None) -> str:
        description = None if each is None else self._described.get(layout.tag_of(each[1]))
        return "" if description is None else description.name

    def _with_taken(self, account: str, kept: Reservation, taken: bytes) -> Reservation | None:
        tag = layout.tag_of(taken)
        if not tag:
            return kept
        description = self._described.get(tag)
        if description is None:
            return None
        try:
            return layout.with_taken(kept, account, taken, description)
        except StateUnreadable:
            return None

    def _record(self, notice: Notice, stored: Stored) -> bytes | None:
        """The stored reservation, in the account's value or in a key of its own."""
        _, records = layout.read_buckets(stored.account, account=True)
        name = layout.upload_name(notice.account, notice.upload_id).encode()
        return layout.located(records, name) or (layout.located(stored.own, name) if stored.own else None)

    def _run(self, notice: Notice, record: bytes, settling: Settling, until_us: int, now_us: int | None) -> Run:
        keys: list[Argument] = [*self._keys_of([notice])]
        own = f"account:{{{notice.account}}}"
        changes = b""
        for change in settling.changes:
            entity = change.entity.removeprefix("=")
            if change.entity == own:
                entity = f"account:{{{in_key(notice.account)}}}"
            key: Argument = f"{self._prefix}2{'f' if change.leaves else 'b'}:{entity}"
            if change.entity == own and not change.leaves:
                key = keys[0]
            if key not in keys:
                keys.append(key)
            debt = self._debts.get(change.limit, _UNKNOWN_DEBT)
            kind, number = (_FLIGHT, until_us) if change.leaves else (_BUCKET, change.delta_us)
            changes += _CHANGE.pack(keys.index(key) + 1, kind, bytes.fromhex(change.limit), debt, number)
        left = settling.reservation
        assert left is not None
        if left.state is ReservationState.OPEN:
            settled = layout.held_record(record, left.holders)
        else:
            settled = layout.settled_record(record, left.state, token_bytes(4))
        keys.append(self._due_list(notice.account))
        return Run(self._script, keys, (record, settled, "" if now_us is None else now_us, changes))

    async def _carry_out(
        self,
        notices: Sequence[Notice],
        runs: list[tuple[int, Settling, Run]],
        settled: dict[int, Settlement | Exception],
    ) -> None:
        """Run the scripts; where a reservation had changed meanwhile, the notice stays unsettled."""
        calls = [run for *_, run in runs]
        replies: list[Any] = []
        try:
            if isinstance(self._line, ClusterLine):
                until_s = asyncio.get_running_loop().time() + self._within_s
                replies = await self._line.outcomes(calls, until_s, again=True)
            else:
                replies = await self._line.run(calls, self._within_s, again=True)
        finally:
            now_s = asyncio.get_running_loop().time()
            for (n, settling, run), reply in zip_longest(runs, replies):
                lost = reply is None or isinstance(reply, StoreUnavailable)
                if lost and settling.settlement.leased:
                    self._unheard.append(Unheard(settling.settlement, now_s, notices[n], cast("bytes", run.args[1])))
        for (n, settling, _), reply in zip(runs, replies, strict=True):
            if isinstance(reply, StoreUnavailable):
                settled[n] = reply
            elif reply == 1:
                settled[n] = settling.settlement

    async def _forget(self, notice: Expired) -> None:
        """Take a reservation that needs nothing any more off the list of what is due; else it is looked at again."""
        key = layout.upload_key(self._prefix, notice.account, notice.upload_id)
        with suppress(StoreUnavailable):
            await self._line.execute(b"ZREM", self._due_list(notice.account), key, within_s=self._within_s)

    async def _read(self, notices: Sequence[Notice]) -> list[Stored | StoreUnavailable]:
        """What is stored for each; on a Cluster the error in its place where its node does not answer."""
        keys = self._keys_of(notices)
        pairs = [keys[n : n + 2] for n in range(0, len(keys), 2)]
        if not isinstance(self._line, ClusterLine):
            clock, values = await self._line.pipeline([("", (b"TIME",)), ("", (b"MGET", *keys))], self._within_s)
            now_us = _time(clock)
            return [Stored(now_us, *values[n : n + 2]) for n in range(0, len(keys), 2)]
        calls: list[Routed] = []
        for pair in pairs:
            calls += [(pair[0], (b"TIME",)), (pair[0], (b"MGET", *pair))]
        replies = await self._line.replies(calls, self._within_s)
        return [_stored(*replies[n : n + 2]) for n in range(0, len(replies), 2)]


def _stored(clock: Any, values: Any) -> Stored | StoreUnavailable:
    for reply in (clock, values):
        if isinstance(reply, StoreUnavailable):
            return reply
    return Stored(_time(clock), *values)


def _read(record: bytes) -> tuple[Reservation, bytes] | None:
    try:
        return layout.read_reservation(record)
    except StateUnreadable:
        return None


def _time(reply: Sequence[bytes]) -> int:
    seconds, microseconds = map(int, reply)
    return seconds * 1_000_000 + microseconds
