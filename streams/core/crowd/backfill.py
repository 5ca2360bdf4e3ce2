"""Finds the accounts whose surroundings have changed since they were scored last: the members of a feature that spread.

The first accounts of a farm are scored while nobody knows that their device is shared. A count matters to a score
mostly by how often it doubles, so each kind has a ladder of counts (`STEPS`). When a feature reaches a higher step, by
events of this worker or by what it hears of others, its members in the partitions of this worker wait to be scored again
from their states. The caller takes a few of them with each batch of their partition, and gives back those whose scores
are not committed.

**Bounds.** A feature has at most 64 members in a partition, so a step makes at most 64 accounts wait there; a feature
has at most as many steps as its ladder until its count falls. Scoring changes no count, so it makes no account wait.
At most `MAX_WAITING` accounts of a partition wait; further ones are skipped and counted.

**What it takes.** 24 MB for ids (`account_ids`), up to 34 MB for the steps of features, 100 bytes for each account that waits.
After a restart it knows the members that records of campaigns name, once the caller has given their accounts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from streams.core.crowd.account_ids import AccountIds
from streams.core.crowd.counts import Crowd
from streams.core.crowd.doorkeeper import Doorkeeper
from streams.core.crowd.kinds import (
    CONTENT,
    DEVICE,
    HOST,
    IP,
    LINK_CAMPAIGN,
    NAME_CAMPAIGN,
    PICTURE_CAMPAIGN,
    TEXT_CAMPAIGN,
)
from streams.core.crowd.record import VALUE
from streams.core.crowd.stirred import MEMBERS_FOR_ONE

STEPS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        IP: (2, 4, 8, 16, 32),
        DEVICE: (2, 3, 4, 6, 8, 12, 16),
        CONTENT: (4, 8, 16, 32),
        HOST: (4, 8, 16, 32),
        PICTURE_CAMPAIGN: (4, 8, 16, 32, 64),
        LINK_CAMPAIGN: (4, 8, 16, 32, 64),
        TEXT_CAMPAIGN: (4, 8, 16, 32, 64),
        NAME_CAMPAIGN: (4, 8, 16, 32, 64),
    }
)
"""Counts from which a feature's members are scored again. A kind that is not named makes none wait."""
MAX_FEATURES = 1 << 21
"""Slots for the steps that features have reached, a power of two. One slot holds what fell into it last, and the feature
that was there may reach its step again: one in six where the crowd holds as many shared features as it may."""
_APART = 0x9E3779B97F4A7C15
"""Keeps equal values of two kinds apart."""
MAX_WAITING = 16_384


class Backfill:
    """The accounts that wait to be scored again, by partition. Mutable, used by the crowd's one thread."""

    def __init__(
        self,
        crowd: Crowd,
        steps: Mapping[int, tuple[int, ...]] = STEPS,
        passes_over: Callable[[tuple[int, int]], bool] = lambda feature: False,
        is_here: Callable[[int], bool] = lambda partition: True,
        is_early: Callable[[], bool] = lambda: False,
    ) -> None:
        """`passes_over` tells which features are no evidence, so that their members need not wait. `is_here` tells which
        partitions this worker has: it can score no other accounts. While it `is_early`, nobody's turn comes: what their
        scores need is still being looked at."""
        self._crowd = crowd
        self._steps = steps
        self._passes_over = passes_over
        self._is_here = is_here
        self._is_early = is_early
        self._number_of = crowd.numbers.of
        # who showed features before this began is not known
        self._stirred = crowd.watch_stirred(steps, from_now=True)
        self._reached = Doorkeeper(MAX_FEATURES)
        self._waiting: dict[int, dict[int, None]] = {}
        self._ids = AccountIds()
        self._skipped = 0

    def remember(self, accounts: Sequence[str], hashed: Sequence[int]) -> None:
        """Accounts with these numbers showed features."""
        self._ids.remember(accounts, hashed)

    def waiting(self, partition: int) -> int:
        """How many accounts of the partition wait, as far as the features have been looked at. None while it is early."""
        self.look()
        return 0 if self._is_early() else len(self._waiting.get(partition, ()))

    def take(self, partition: int, most: int, scored: Collection[str] = ()) -> list[str]:
        """Up to `most` accounts of the partition that wait, those first that have waited longest.

        The accounts `scored` (keys of a dict, or a set) have new scores, and no longer wait.
        """
        self.look()
        waiting = self._waiting.get(partition)
        if not waiting or self._is_early():
            return []
        if len(waiting) < len(scored):  # hashing thousands of names to find a few takes longer
            held = self._ids.held
            have_scores = [hashed for hashed in waiting if held(hashed) in scored]
        else:
            have_scores = [hashed for hashed in map(self._number_of, scored) if hashed in waiting]
        for hashed in have_scores:
            waiting.pop(hashed, None)
        taken: list[str] = []
        for hashed in list(waiting):
            if len(taken) >= most:
                break
            del waiting[hashed]
            known = self._ids.held(hashed)
            if known is not None:
                taken.append(known)
        return taken

    def give_back(self, partition: int, accounts: Iterable[str]) -> None:
        """Accounts that were taken wait again, because their scores were not committed."""
        given = list(accounts)
        numbers = list(map(self._number_of, given))
        self._ids.remember(given, numbers)
        for hashed in numbers:
            self._add(partition, hashed)

    def take_skipped(self) -> int:
        """How many accounts were skipped since the last call."""
        skipped, self._skipped = self._skipped, 0
        return skipped

    def look(self) -> bool:
        """Find who waits now, for one turn; whether features are left for the next one. The other methods look, too."""
        for feature in self._stirred.turn():
            if self._passes_over(feature):
                continue
            kind, value = feature
            steps = self._steps[kind]
            key = value + kind * _APART & VALUE
            reached, before = bisect_right(steps, self._crowd.count(kind, value)), self._reached.held(key)
            if reached > before:
                self._wait(feature)
            if reached != before:
                self._reached.swapped(key, reached)
        return self._stirred.has_more

    def _wait(self, feature: tuple[int, int]) -> None:
        members = list(self._crowd.members(*feature))
        self._stirred.cost(len(members) // MEMBERS_FOR_ONE)
        for partition, hashed in members:
            if self._is_here(partition):
                self._add(partition, hashed)

    def _add(self, partition: int, hashed: int) -> None:
        waiting = self._waiting.setdefault(partition, {})
        if hashed not in waiting and len(waiting) >= MAX_WAITING:
            self._skipped += 1
        else:
            waiting[hashed] = None
