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
from itertools import islice
from secrets import token_bytes
from typing import Final, NamedTuple, cast

from gate.core.limits.reservation import Expired, Notice, Reservation, ReservationState, Settlement, Settling, settle
from gate.core.limits.take import ClassLimits
from gate.errors import StateUnreadable, StoreUnavailable
from gate.stores.redis import layout
from gate.stores.redis.cluster_map import SLOTS, slot_of
from gate.stores.redis.connect import line_to
from gate.stores.redis.line import Routed, Stats
from gate.stores.redis.script_call import Argument, Run, Script

MOST_AT_ONCE: Final = 64
"""Words that share two calls."""
ROUNDS: Final = 5
"""How often a notice is tried whose reservation changes meanwhile."""
MOST_UNHEARD: Final = 10_000
"""Settlements without a reply that are remembered. What older ones return to leases is lost."""
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


class RedisReservationStore:
    """A ReservationStore; see ports for what it promises. It connects on first use; use it in one event loop, until close().

    `deadline_s` bounds each `settle`, and each call of the server. On a Cluster
    it settles the account's part alone; `cluster_reservations` settles all parts.
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
        self._line = line_to(url, "upload-gate-settle", stats)
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
            if now_us is None:
                now_us = _time(await self._line.execute(b"TIME", within_s=self._deadline_s))
            lists = self._due_lists()
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
        """See ReservationStore."""
        found: list[Settlement] = []
        until_s = asyncio.get_running_loop().time() - older_than_s
        async with self._turn:
            while some := [each for each in islice(self._unheard, MOST_AT_ONCE) if each.at_s <= until_s]:
                try:
                    _, values = await self._read(self._keys_of([each.notice for each in some]))
                except StoreUnavailable:
                    if not found:
                        raise
                    break  # those that were found are told now, as they are told once
                for at, each in enumerate(some):
                    if self._record(each.notice, values[2 * at], values[2 * at + 1]) == each.settled:
                        found.append(each.settlement)
                    if self._unheard and self._unheard[0] is each:
                        self._unheard.popleft()
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
            # those about one upload go one after the other, each by what the one before it has left
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
        clocks, values = await self._read(self._keys_of([notices[n] for n in waiting]))
        found = [
            self._record(notice, values[2 * at], values[2 * at + 1])
            for at, notice in enumerate(notices[n] for n in waiting)
        ]
        read = [None if record is None else _read(record) for record in found]
        await self._learn({layout.tag_of(each[1]) for each in read if each is not None})
        runs: list[tuple[int, Settling, Run]] = []
        for n, clock, record, each in zip(waiting, clocks, found, read, strict=True):
            notice = notices[n]
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

    async def _learn(self, tags: set[bytes]) -> None:
        """Read what tags of other policies stand for."""
        unknown = [tag for tag in tags if tag and tag not in self._described]
        if not unknown:
            return
        values = await self._line.execute(b"HMGET", f"{self._prefix}2limits", *unknown, within_s=self._deadline_s)
        for tag, value in zip(unknown, values, strict=True):
            if value is not None:
                with suppress(StateUnreadable):
                    self._described[tag] = layout.read_described(value)

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

    def _record(self, notice: Notice, account_value: bytes | None, own: bytes | None) -> bytes | None:
        """The stored reservation, in the account's value or in a key of its own."""
        _, records = layout.read_buckets(account_value, account=True)
        name = layout.upload_name(notice.account, notice.upload_id).encode()
        return layout.located(records, name) or (layout.located(own, name) if own else None)

    def _run(self, notice: Notice, record: bytes, settling: Settling, until_us: int, now_us: int | None) -> Run:
        keys: list[Argument] = [*self._keys_of([notice])]
        own = f"account:{{{notice.account}}}"
        changes = b""
        for change in settling.changes:
            entity = change.entity.removeprefix("=")
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
        try:
            replies = await self._line.run([run for *_, run in runs], self._deadline_s, again=True)
        except BaseException:
            now_s = asyncio.get_running_loop().time()
            for n, settling, run in runs:
                if settling.settlement.leased:
                    settled_record = cast("bytes", run.args[1])
                    self._unheard.append(Unheard(settling.settlement, now_s, notices[n], settled_record))
            raise
        for (n, settling, _), reply in zip(runs, replies, strict=True):
            if reply == 1:
                settled[n] = settling.settlement

    async def _forget(self, notice: Expired) -> None:
        """Take a reservation that needs nothing any more off the list of what is due."""
        key = layout.upload_key(self._prefix, notice.account, notice.upload_id)
        await self._line.execute(b"ZREM", self._due_list(notice.account), key, within_s=self._deadline_s)

    async def _read(self, keys: Sequence[str]) -> tuple[list[int], list[bytes | None]]:
        """For each two of `keys`, which lie on one server, its clock; and the values of all."""
        pairs = [keys[n : n + 2] for n in range(0, len(keys), 2)]
        calls: list[Routed]
        if not self._line.is_clustered:
            calls = [("", (b"TIME",)), ("", (b"MGET", *keys))]
            clock, values = await self._line.pipeline(calls, self._deadline_s)
            return [_time(clock) for _ in pairs], values
        calls = []
        for pair in pairs:
            calls += [(pair[0], (b"TIME",)), (pair[0], (b"MGET", *pair))]
        replies = await self._line.pipeline(calls, self._deadline_s)
        return [_time(clock) for clock in replies[::2]], [value for values in replies[1::2] for value in values]


def _read(record: bytes) -> tuple[Reservation, bytes] | None:
    try:
        return layout.read_reservation(record)
    except StateUnreadable:
        return None


def _time(reply: Sequence[bytes]) -> int:
    seconds, microseconds = map(int, reply)
    return seconds * 1_000_000 + microseconds
