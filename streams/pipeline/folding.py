"""Folds the events of a batch, account by account, and notes at once what later steps need of each account.

A second look at thousands of accounts would wait for memory. So the facts of an account are let go before those of the next
one are read, and take their place in the processor's cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import compress
from typing import Final, NamedTuple

from streams.core.crowd import CONTENT, DEVICE, HOST, IP, account_number
from streams.core.established import is_established
from streams.core.events import kind_of, malformed
from streams.core.facts import Facts, pack, unpack
from streams.core.features import FactFeatures
from streams.core.fold import CameFrom, KeyedHashes, fold
from streams.core.weblinks import WebLinks
from streams.pipeline.effects import DroppedFields, EventCounts
from streams.pipeline.reading import ReadEvent, ReadEvents

ReadsFacts = Callable[[Facts], FactFeatures]
COLUMNS: Final = (IP, DEVICE, CONTENT, HOST)
"""The kinds of features that an upload shows, in the order of a row of `CrowdShown.rows`, behind its time."""
WIDTH: Final = 1 + len(COLUMNS)


class CrowdShown(NamedTuple):
    """The accounts that showed anything, with their 32-bit numbers, the number of each one's uploads, and whether it is
    established. `firm` are the numbers of those that are.

    `rows` has a row for each upload, in the order of the accounts: when (µs), then one feature of each of `COLUMNS`, 0
    where there is none.
    """

    accounts: list[str]
    numbers: list[int]
    uploads: list[int]
    established: list[bool]
    rows: list[int]
    firm: Set[int] = frozenset()


class FoldedBatch:
    """The accounts of which an event was folded, in order: their new states and what each is scored by.

    `latest_us` is the time of the latest event of all accounts that were read, 0 without any.
    """

    def __init__(
        self,
        states: Mapping[str, bytes],
        hashes: KeyedHashes,
        web: WebLinks,
        of_facts: ReadsFacts,
        number_of: Callable[[str], int] = account_number,
    ) -> None:
        """`states` are those before the batch, `of_facts` gives the features of facts, `number_of` the numbers of
        accounts."""
        self._states = states
        self._hashes = hashes
        self._web = web
        self._of_facts = of_facts
        self._number_of = number_of
        self.packed: dict[str, bytes] = {}
        self.features: dict[str, FactFeatures] = {}
        self.latest_us = 0
        self._showing: list[str] = []
        self._uploads: list[int] = []
        self._established: list[bool] = []
        self._rows: list[int] = []
        self._plain = self._duplicates = self._late = 0
        self._others: list[ReadEvent] = []

    def fold(self, places: Mapping[str, Sequence[int]], read: ReadEvents) -> list[str]:
        """Fold each account's events, those at its `places`; returns the accounts for which that raises.

        Of such an account nothing is kept. Raises msgspec.DecodeError for a state that cannot be read.
        """
        states, hashes, web, of_facts = self._states.get, self._hashes, self._web, self._of_facts
        rows, latest_us = self._rows, self.latest_us
        showing, uploads, established = self._showing, self._uploads, self._established
        events, captions, link_odds = read
        failed: list[str] = []
        for account, at in places.items():
            facts = unpack(states(account))
            began, late = len(rows), facts.late
            plain = duplicates = 0
            others: list[ReadEvent] = []
            came_from: CameFrom | None = {} if len(at) > 1 else None
            try:
                for place in at:
                    event, at_us, offset, value, unknown_fields, dropped, is_attempt, may_link = events[place]
                    broken = malformed(dropped) if dropped else 0
                    if not fold(
                        facts, event, at_us, offset, value, hashes, web, broken,
                        captions[place], link_odds[place], rows, may_link, came_from,
                    ):  # fmt: skip
                        duplicates += 1
                    elif is_attempt and not unknown_fields and not dropped:
                        plain += 1
                    else:
                        others.append(events[place])
                if plain or others:
                    packed, features, is_firm = pack(facts), of_facts(facts), is_established(facts)
                    self.packed[account] = packed
                    self.features[account] = features
                    if len(rows) > began:
                        showing.append(account)
                        uploads.append((len(rows) - began) // WIDTH)
                        established.append(is_firm)
            except Exception:  # an error that an event causes must not stop its partition
                del rows[began:]
                failed.append(account)
                continue
            self._plain += plain
            self._duplicates += duplicates
            self._late += facts.late - late
            self._others += others
            if facts.latest_us > latest_us:
                latest_us = facts.latest_us
        self.latest_us = latest_us
        return failed

    def shown(self) -> CrowdShown:
        """What the folded accounts showed the crowd."""
        numbers = list(map(self._number_of, self._showing))
        firm = set(compress(numbers, self._established))
        return CrowdShown(self._showing, numbers, self._uploads, self._established, self._rows, firm)

    def put_in_order(self, accounts: Iterable[str]) -> None:
        """Have the accounts in the order of `accounts`, which has all of them."""
        ordered = [account for account in accounts if account in self.packed]
        self.packed = {account: self.packed[account] for account in ordered}
        self.features = {account: self.features[account] for account in ordered}

    def counts(self, foreign: int) -> tuple[EventCounts, DroppedFields]:
        """The events that were folded, and their fields that were dropped. `foreign` accounts are at home elsewhere."""
        by_type: Counter[str] = Counter(kind_of(read.event) for read in self._others)
        if self._plain:
            by_type["attempted"] += self._plain
        unknown = sum([read.unknown_fields for read in self._others])
        dropped: Counter[tuple[str, str]] = Counter()
        for read in self._others:
            if read.dropped:
                dropped.update(read.dropped.items())
        counts = EventCounts(dict(by_type), unknown, self._duplicates, self._late, foreign)
        return counts, DroppedFields(dict(dropped))


class BatchFold:
    """Folds the events of a batch, without those that make it raise."""

    def __init__(
        self,
        places: Mapping[str, Sequence[int]],
        events: ReadEvents,
        begin: Callable[[], FoldedBatch],
        sorted_out: Callable[[str], ReadEvents],
    ) -> None:
        """`sorted_out` gives the events of an account that raise nothing, and reports the others."""
        self._places = places
        self._events = events
        self._begin = begin
        self._sorted_out = sorted_out
        self._of_raising: dict[str, ReadEvents] = {}

    def fold(self, raising: Iterable[str] = ()) -> FoldedBatch:
        """The batch. The scoring of the accounts `raising` raised after it was folded before."""
        sorted_out, places = self._of_raising, self._places
        for account in raising:
            sorted_out[account] = self._sorted_out(account)
        folded = self._begin()
        if sorted_out:
            places = {account: at for account, at in places.items() if account not in sorted_out}
        for account in folded.fold(places, self._events):
            sorted_out[account] = self._sorted_out(account)
        for account, events in sorted_out.items():
            if folded.fold({account: range(len(events.events))}, events):
                raise RuntimeError("events of an account that were folded one by one could not be folded together")
        if sorted_out:
            folded.put_in_order(self._places)
        return folded
