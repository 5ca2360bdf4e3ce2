"""All partitions' counts as one worker knows them: its own counts, and the published counts of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from gate.core.duration import DAY_US
from gate.core.fields.times import MAX_AHEAD_US
from gate.core.make_room import make_room
from streams.core.crowd.account_ids import OF_PROCESS, AccountNumbers
from streams.core.crowd.around import ManySurroundings, Surroundings
from streams.core.crowd.days import Days, without_clock
from streams.core.crowd.kinds import CONTENT, DEVICE, HOST, IP, KINDS, Kind
from streams.core.crowd.members import (
    ESTABLISHED,
    FULL,
    SIZE,
    WHO,
    WHO_AND_HOW,
    day_bits,
    of_partition,
    read_back,
    unknown_of,
    whole,
    whom,
)
from streams.core.crowd.record import MAX_DAY, CrowdCount, name, parsed, parsed_name, written
from streams.core.crowd.shown import ShownFeatures, column_of
from streams.core.crowd.stirred import Feature, Stirred
from streams.core.crowd.table import ACCOUNTS, MAX_READY, CrowdTable, Values
from streams.core.crowd.table import ESTABLISHED as OF_THEM
from streams.core.crowd.tails import Tails, believed
from streams.core.rings import holds

PARTITIONS = 1 << 32
"""Tells a partition, whose count may open a day, from an account."""
MAX_WITHOUT_FLOOR = 1 << 14
"""Features of which every count is published; the oldest makes room."""
TAKEN_A_TIME, FOR_A_COUNT, FOR_A_CAMPAIGN = 40_000, 9, 39
"""What looking through a partition's changes may cost at once, and what it costs to publish a count or a campaign: 4,000 counts
or 1,000 campaigns."""
MANY = 32
"""Accounts of a batch from which it costs less to look at all of them together."""

Owned = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""Features of one kind, and which account each is of, by its place among them."""


class Crowd:
    """All partitions' counts as one worker knows them. Mutable, in memory, used by one thread.

    `floor` stands in place of each kind's own. All accounts are numbered by `numbers`. For `clock_us` see `Days`.
    """

    def __init__(
        self,
        floor: int | None = None,
        kinds: Mapping[int, Kind] = KINDS,
        numbers: AccountNumbers = OF_PROCESS,
        clock_us: Callable[[], int] = without_clock,
    ) -> None:
        self.numbers = numbers
        self._days = Days(clock_us)
        self._from_us, self._until_us = 0, 0
        """The open day, whose events need no further thought about time."""
        self._today_bits = 0
        self.has_heard_stored = False
        self._heard_us = 0
        """When the latest day begins that was heard of while none was open."""
        self._tables = {
            kind: CrowdTable(given if floor is None else replace(given, floor=floor))
            for kind, given in {**KINDS, **kinds}.items()
        }
        self._around = tuple([self._tables[kind] for kind in (IP, DEVICE, CONTENT, HOST)])
        self._changed: dict[int, dict[Feature, None]] = {}
        self._without_floor: dict[Feature, None] = {}
        self._readers: dict[int, list[Stirred]] = {kind: [] for kind in self._tables}

    @property
    def today(self) -> int | None:
        """The open day of event time, counted from 1970; None before the first event."""
        return self._days.today

    def note(self, partition: int, kind: int, value: int, account: int, at_us: int, established: bool = False) -> None:
        """An account (32-bit number) of `partition` (16 bits) showed the feature `value` (64 bits) of `kind` at `at_us`.

        `established` says that the account is old and clean. The caller refuses events that are more than five minutes
        ahead of the broker. An event older than the window is not counted; a repeated one changes nothing.
        """
        table = self._tables[kind]
        who = partition << 32 | account
        if established:
            who |= ESTABLISHED
        if self._from_us <= at_us < self._until_us:
            if table.noted.get(value) == who and value not in table.shared:
                return
            one = self._today_bits | who
        else:
            day = self._counted_day(at_us, account)
            if table.own.today - day >= table.days:
                return
            one = day_bits(day) | who
        self._note_member(table, partition, kind, value, one)

    def note_batch(self, partition: int, batch: Mapping[int, ShownFeatures]) -> None:
        """The same as a `note` for each row of the kinds of a batch, in their order; at less cost for many.

        Rows that are not of the open day come last, because they may open one.
        """
        base = np.uint64(self._today_bits | partition << 32)
        from_us, until_us = np.uint64(self._from_us), np.uint64(self._until_us)
        apart: list[tuple[int, ShownFeatures]] = []
        for kind, shown in batch.items():
            if len(shown.values) < MANY:
                apart.append((kind, shown))
                continue
            of_today = (shown.at_us >= from_us) & (shown.at_us < until_us)
            if not of_today.all():
                apart.append((kind, shown.only(~of_today)))
                shown = shown.only(of_today)
            ones = shown.accounts | base
            ones[shown.established] |= np.uint64(ESTABLISHED)
            table = self._tables[kind]
            others = table.note_lone(shown.values, ones)
            for value, one in zip(shown.values[others].tolist(), ones[others].tolist(), strict=True):
                self._note_member(table, partition, kind, value, one)
        for kind, shown in apart:
            for value, account, at_us, established in zip(*(column.tolist() for column in shown), strict=True):
                self.note(partition, kind, value, account, at_us, established)

    def is_ahead(self, at_us: int) -> bool:
        """Whether `at_us` is later than the open day."""
        return at_us >= self._until_us

    def pass_time(self, at_us: int, account: int) -> None:
        """An event of an account, at `at_us`, may open a day although it showed nothing."""
        if at_us >= self._until_us:
            self._counted_day(at_us, account)

    def count(self, kind: int, value: int) -> int:
        """How many distinct accounts are known to share the feature, over all partitions."""
        return self._tables[kind].sum_of(value) >> ACCOUNTS

    def counts(self, kind: int, value: int) -> tuple[int, int]:
        """How many distinct accounts share the feature, and how many of them are established."""
        total = self._tables[kind].sum_of(value)
        return total >> ACCOUNTS, total & OF_THEM

    def around(self, ip: Values, device: Values, content: Values, host: Values) -> Surroundings:
        """The counts of an account's last features; of several of one kind, of the one that most accounts share."""
        ips, devices, contents, hosts = self._around
        a = ips.most(ip) if ip else 0
        b = devices.most(device) if device else 0
        c = contents.most(content) if content else 0
        d = hosts.most(host) if host else 0
        return Surroundings(
            a >> ACCOUNTS, b >> ACCOUNTS, c >> ACCOUNTS, d >> ACCOUNTS, a & OF_THEM, b & OF_THEM, c & OF_THEM, d & OF_THEM
        )  # fmt: skip

    def around_batch(
        self, ips: Owned, devices: Owned, contents: Sequence[int], hosts: Sequence[int]
    ) -> ManySurroundings:
        """The same as an `around` for each of the accounts that have these contents and hosts, at less cost for many."""
        totals = np.zeros((4, len(contents)), np.uint64)
        of_ip, of_device, of_content, of_host = self._around
        for place, table, (values, owners) in ((0, of_ip, ips), (1, of_device, devices)):
            np.maximum.at(totals[place], owners, table.most_of(values))
        totals[2] = of_content.most_of(column_of(contents))
        totals[3] = of_host.most_of(column_of(hosts))
        accounts, established = (
            (totals >> np.uint64(ACCOUNTS)).astype(float),
            (totals & np.uint64(OF_THEM)).astype(float),
        )
        kinds = (IP, DEVICE, CONTENT, HOST)
        return ManySurroundings(dict(zip(kinds, accounts, strict=True)), dict(zip(kinds, established, strict=True)))

    def hear(self, partition: int, feature: str, value: bytes | int, at_us: int = 0) -> bool:
        """Merge the published `value` of the partition. Returns whether it is a plausible count.

        `at_us` is the broker's time of the record, 0 if unknown: no count is of a later day. Otherwise a count of a later
        day than the open one may open its day, as an event of the partition would: counts age also where a worker's own
        partitions are quiet. Before a day is open, `stored_are_heard` does. A bare number has no days, so it counts until
        the open day ends.
        """
        named = parsed_name(feature)
        table = self._tables.get(named[0]) if named else None
        if named is None or table is None or not 0 <= partition <= 0xFFFF:
            return False
        told = self._read(value, table.days, at_us)
        if told is None:
            return False
        if isinstance(value, bytes):
            self._hear_day(partition, told.day, at_us)
        kind, known = named
        now = table.heard.hear(partition, known, told)
        if now is not None:
            table.totals.pop(known, None)
            self._stir(kind, known)
        changed = self._changed.get(partition)
        if changed is not None and (now or table.heard.tails(partition, known)) != told:
            changed[named] = None  # the topic's last record has less than is known: the owner publishes it again
        return True

    def stored_are_heard(self) -> None:
        """All stored counts were heard, perhaps before. Where no day is open, the latest that was heard of is: not before,
        as the first stored counts may be weeks old."""
        self.has_heard_stored = True
        if self._days.today is None and self._heard_us:
            self._counted_day(self._heard_us, PARTITIONS)

    def take_changed(self, partition: int) -> list[CrowdCount]:
        """The partition's counts above the floor that changed since they were last taken, for publishing; of many those that
        changed longest ago, so that a call takes no more than some 60 ms. The others come with the next batch.

        Pass counts that were taken and not committed to `give_back`.
        """
        changed, low, tables = self._changed.get(partition, {}), self._without_floor, self._tables
        taken: list[Feature] = []
        looked_at, left = 0, TAKEN_A_TIME
        for one in changed:
            if left <= 0:
                break
            looked_at += 1
            left -= 1
            if one in low:
                left -= FOR_A_CAMPAIGN
                taken.append(one)
            elif tables[one[0]].may_be_published(partition, one[1]):
                left -= FOR_A_COUNT
                taken.append(one)
        if looked_at:
            self._changed[partition] = dict.fromkeys(islice(changed, looked_at, None))
        counts = (
            (self._published(partition, *one), 0 if one in low else tables[one[0]].floor) for one in sorted(taken)
        )
        return [count for count, floor in counts if count.count > floor]

    def publish_all(self, kind: int, value: int) -> None:
        """Publish every partition's count of the feature from now on, however few accounts it has."""
        low = self._without_floor
        make_room(low, (kind, value), MAX_WITHOUT_FLOOR)
        low[kind, value] = None
        for partition, _ in self.members(kind, value):
            if partition in self._changed:
                self._changed[partition][kind, value] = None

    def give_back(self, partition: int, counts: Iterable[CrowdCount]) -> None:
        """Return counts that were taken and not committed: the next take includes their values of then."""
        names = (parsed_name(count.feature) for count in counts)
        self._changed.setdefault(partition, {}).update((known, None) for known in names if known is not None)

    def watch_stirred(self, kinds: Iterable[int], from_now: bool = False) -> Stirred:
        """A new reader of features of these kinds, to whom all count as changed unless it reads `from_now`, and from now on
        those whose counts may change."""
        known = [kind for kind in kinds if kind in self._tables]
        reader = Stirred(known, self.values_of, is_all=not from_now)
        for kind in known:
            self._readers[kind].append(reader)
        return reader

    def values_of(self, kind: int) -> list[int]:
        """Every feature of the kind that several accounts of this worker share or that it has heard of."""
        table = self._tables[kind]
        return [*{**table.shared, **table.heard_of}]

    def members(self, kind: int, value: int) -> Iterator[tuple[int, int]]:
        """The partition and the hash of each account that is known to show a feature, up to 64 a partition."""
        return whom(self._tables[kind].own.row(value))

    def strangers(self, kind: int, value: int) -> Iterator[int]:
        """The hash of each account that is known to show a feature and was not established when it last did."""
        table = self._tables[kind]
        members = whole(table.own.row(value), table.own.today)
        return (account for _, established, _, account in members if not established)

    def packed_members(self, partition: int, kind: int, value: int) -> bytes:
        """The accounts of one partition that are known to show a feature, for its record."""
        return of_partition(self._tables[kind].own.row(value), partition)

    def recall(self, partition: int, kind: int, value: int, packed: bytes) -> list[int]:
        """Add the accounts (`packed_members`) that the owner of the partition published; returns those that were not known.
        Call it once an event has given the day.

        Their count was published with them, so it is published again only if this worker knows further accounts.
        """
        table = self._tables[kind]
        known, added = self.packed_members(partition, kind, value), []
        news = read_back(unknown_of(packed, known), partition, table.own.today, table.days)
        are_new = not known and len({one & WHO for one in news}) == len(news)
        for at, one in enumerate(news):
            row = table.shared.get(value)
            if row is not None and are_new:
                table.own.extend(value, row, news[at:])
                added += news[at:]
                break
            if row is None:
                table.knock(value, one)
                added.append(one)
            elif not holds(row, one.to_bytes(SIZE, "big")) and table.own.note(value, row, one):
                added.append(one)
        if added:
            table.totals.pop(value, None)
            self._stir(kind, value)
            changed = self._changed.get(partition)
            if changed is not None and len(self.packed_members(partition, kind, value)) > len(packed):
                changed[kind, value] = None
        return [one & 0xFFFF_FFFF for one in added]

    def move(self, kind: int, value: int, to: int) -> None:
        """Count the members of the feature `value` as members of `to`, too, and publish `value` again."""
        table = self._tables[kind]
        row, changed = table.own.row(value), self._changed
        for partition in {partition for partition, _ in whom(row)} - changed.keys():  # other workers' ones
            self.recall(partition, kind, to, of_partition(row, partition))
        for age, established, partition, account in whole(row, table.own.today):
            if partition not in changed:
                continue
            self.note(partition, kind, to, account, (table.own.today - age) * DAY_US, established)
            changed[partition][kind, value] = None

    def _hear_day(self, partition: int, day: int, at_us: int) -> None:
        begins_us = day * DAY_US
        if not self._until_us <= begins_us <= at_us + MAX_AHEAD_US:  # no worker reads an event that is further ahead
            return
        if self._days.today is None:
            self._heard_us = max(self._heard_us, begins_us)
        else:
            self._counted_day(begins_us, PARTITIONS | partition)

    def _counted_day(self, at_us: int, account: int) -> int:
        before = self._days.today
        day = self._days.counted(at_us, account)
        today = self._days.today
        if today is not None and today != before:
            self._from_us, self._until_us = today * DAY_US, (today + 1) * DAY_US
            self._today_bits = day_bits(today)
            for table in self._tables.values():
                table.open(today)
        return day

    def _note_member(self, table: CrowdTable, partition: int, kind: int, value: int, one: int) -> None:
        row = table.shared.get(value)
        if row is None:
            slots, at = table.door.slots, (value & table.door.mask) << 1
            if slots[at + 1] == one and slots[at] == value:
                if len(table.noted) < MAX_READY and one >= self._today_bits:
                    table.noted[value] = one & WHO_AND_HOW
                return
            changed = table.knock(value, one)
            if not changed and value in table.heard_of and (kind, value) in self._without_floor:
                changed = True  # the only one here of a campaign elsewhere
        elif len(row) >= FULL and value << 16 | partition in table.settled:
            return
        else:
            at = row.find(one.to_bytes(SIZE, "big"))
            if at >= 0 and not at & 7:
                return
            changed = table.own.note(value, row, one)
        if changed:
            self._has_changed(table, partition, kind, value)

    def _has_changed(self, table: CrowdTable, partition: int, kind: int, value: int) -> None:
        table.totals.pop(value, None)
        changed = self._changed.get(partition)
        if changed is None:
            changed = self._changed[partition] = {}
        if len(table.shared.get(value, b"")) > table.floor * SIZE or value in table.heard_of:
            changed[kind, value] = None
        self._stir(kind, value)

    def _stir(self, kind: int, value: int) -> None:
        for reader in self._readers[kind]:
            reader.add((kind, value))

    def _published(self, partition: int, kind: int, value: int) -> CrowdCount:
        table = self._tables[kind]
        known = table.known(partition, value)
        return CrowdCount(name(kind, value), known.numbers[0], known.numbers[table.days], written(known))

    def _read(self, value: bytes | int, days: int, at_us: int) -> Tails | None:
        """The tails in a record, within bounds; None for counts that no worker can have made."""
        today = self._days.today
        if isinstance(value, int):
            nothing = [0] * (days - 1)
            return believed(today or 0, [value, *nothing], [0, *nothing], days)
        told = parsed(value)
        if told is None:
            return None
        last = at_us // DAY_US + 1 if at_us > 0 else MAX_DAY if today is None else today + days
        if told[0] > last or (today is not None and told[0] <= today - days):
            return None
        return believed(*told, days)
