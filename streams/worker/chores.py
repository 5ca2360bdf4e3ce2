"""Background work on a partition's accounts: scoring them again, and deleting inactive ones.

Each step replaces a fetch, so that it never runs at the same time as a batch and is committed in the same way. Scoring
all accounts and deleting inactive ones go through all of them, a few at a time. Scoring starts over after a restart,
which does not change accounts that were scored already. It waits until the caller allows it: until the counts of all
partitions were heard, and while the partition is far behind. Scores that are made far behind refuse nothing, so these
accounts are scored again once the partition has caught up. The search for inactive accounts runs once in a day of event
time. Accounts whose surroundings have changed are scored with the partition's next batch, or here if they are many or
none comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum

from gate.core.duration import DAY_US
from streams.pipeline.step import go_with_a_batch

RESCORED_A_TURN = 1_000
MAX_LAGGED = 100_000
"""Accounts with scores that were made far behind; where there are more, all accounts are scored again."""
LOOKED_THROUGH_A_TURN = 10_000


class Chore(Enum):
    """The work of a step that replaces a fetch."""

    RESCORE = "score accounts again"
    BACKFILL = "score accounts again whose surroundings have changed"
    FORGET = "forget inactive accounts"


class Chores:
    """The chores of one partition. `clock_us` is its event time: that of the latest event of any account, 0 if unknown.
    It is never ahead of the worker's own clock, as one event with a wrong time would have all accounts deleted.

    With `forget_after_us` None no account is deleted. `rescore_at` is the position from which all accounts must be
    scored again, None if they have been.
    """

    def __init__(
        self,
        forget_after_us: int | None = None,
        waiting: Callable[[], int] = lambda: 0,
        may_rescore: Callable[[], bool] = lambda: True,
    ) -> None:
        """`waiting` says how many accounts wait for a score because their surroundings have changed."""
        self._waiting = waiting
        self._may_rescore = may_rescore
        self.clock_us = 0
        self.rescore_at: int | None = None
        self._forget_after_us = forget_after_us
        self._looked_us = 0
        self._before_us = 0
        self._to_rescore: list[str] | None = None
        self._lagged: set[str] = set()
        self._rescores_all = False
        self._to_look_at: list[str] = []
        self._was_chore = False
        self._turn_at = -1

    def unscored(self, accounts: int) -> int:
        """How many of the partition's `accounts` still have to be scored again."""
        if self._rescores_all:
            return accounts
        return len(self._to_rescore or ()) + len(self._lagged)

    def rescore(self, at: int) -> None:
        """Score all accounts again, beginning with the first, once the partition has reached `at`."""
        self.rescore_at = max(1, at)
        self._to_rescore = None
        self._rescores_all = True
        self._lagged.clear()

    def lagged(self, accounts: Iterable[str], at: int) -> None:
        """Score these accounts again, because their scores, made up to the position `at`, refuse nothing."""
        if self._rescores_all:
            return
        self._lagged.update(accounts)
        if len(self._lagged) > MAX_LAGGED:
            self.rescore(at)
        elif self._lagged and self.rescore_at is None:
            self.rescore_at = max(1, at)

    def is_due(self, next_offset: int) -> bool:
        """Whether a chore is due at this position."""
        return self._cannot_wait(next_offset) or self._waiting() > 0

    def has_turn(self, next_offset: int, behind: int = 0) -> bool:
        """Whether the next step is a chore instead of a fetch: every second step while a chore is due.

        While batches come, each takes some of the accounts that wait; they are a chore where more wait than that. `behind`
        is how many records the partition still has: with some, a batch comes, though not in every step.
        """
        is_last, self._turn_at = next_offset == self._turn_at and not behind, next_offset
        wait_for_a_batch = 0 if is_last else go_with_a_batch(behind)
        self._was_chore = not self._was_chore and (self._cannot_wait(next_offset) or self._waiting() > wait_for_a_batch)
        return self._was_chore

    def take(self, accounts: Mapping[str, bytes], next_offset: int) -> tuple[Chore, Sequence[str]]:
        """The next chore and its accounts, none for a BACKFILL. Call it only if a chore is due."""
        if self._rescores(next_offset):
            if self._to_rescore is None:
                self._to_rescore = list(accounts if self._rescores_all else self._lagged)
                self._rescores_all = False
                self._lagged.clear()
            taken = _cut(self._to_rescore, RESCORED_A_TURN)
            if not self._to_rescore:
                self._to_rescore = None
                if not self._lagged:
                    self.rescore_at = None
            return Chore.RESCORE, taken
        if self._waiting():
            return Chore.BACKFILL, ()
        if not self._to_look_at:
            self._looked_us = self.clock_us
            self._before_us = self.clock_us - (self._forget_after_us or 0)
            self._to_look_at = list(accounts)
        return Chore.FORGET, _cut(self._to_look_at, LOOKED_THROUGH_A_TURN)

    @property
    def before_us(self) -> int:
        """The time in µs; accounts without an event since then are deleted."""
        return self._before_us

    def passed(self, latest_us: int, now_us: int) -> None:
        """Advance the event time to that of the latest folded event, up to `now_us`."""
        self.clock_us = max(self.clock_us, min(latest_us, now_us))

    def _cannot_wait(self, next_offset: int) -> bool:
        return self._rescores(next_offset) or bool(self._to_look_at) or self._looks()

    def _rescores(self, next_offset: int) -> bool:
        return self.rescore_at is not None and next_offset >= self.rescore_at and self._may_rescore()

    def _looks(self) -> bool:
        return self._forget_after_us is not None and self.clock_us >= self._looked_us + DAY_US


def _cut(names: list[str], most: int) -> list[str]:
    taken = names[-most:]
    del names[-most:]
    return taken
