"""What is to be done to a partition's accounts beside folding their events: scoring them again, forgetting inactive ones.

Both go through all accounts, a few at a time, each time in place of a fetch, so that they never meet a batch and go
the same way into a transaction. Scoring begins again after a restart, which changes nothing for accounts that were
scored already. Accounts are looked through for inactive ones once in a day of event time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from gate.core.duration import DAY_US

RESCORED_A_TURN = 1_000
LOOKED_THROUGH_A_TURN = 10_000


class Chore(Enum):
    """What is done in place of a fetch."""

    RESCORE = "score accounts again"
    FORGET = "forget inactive accounts"


class Chores:
    """The chores of one partition. `clock_us` is its event time: that of the latest event of any account, 0 unknown.

    `forget_after_us` None forgets nobody. `rescore_at` is the position from which on all accounts are to be scored
    again, None where they are.
    """

    def __init__(self, forget_after_us: int | None = None) -> None:
        self.clock_us = 0
        self.rescore_at: int | None = None
        self._forget_after_us = forget_after_us
        self._looked_us = 0
        self._before_us = 0
        self._to_rescore: list[str] | None = None
        self._to_look_at: list[str] = []
        self._was_chore = False

    @property
    def unscored(self) -> int:
        """How many accounts are still to be scored again, as far as that began."""
        return len(self._to_rescore or ())

    def rescore(self, at: int) -> None:
        """Score all accounts again, from the first on, once the partition stands at `at`."""
        self.rescore_at = max(1, at)
        self._to_rescore = None

    def is_due(self, next_offset: int) -> bool:
        """Whether there is a chore to be done at this position."""
        return self._rescores(next_offset) or bool(self._to_look_at) or self._looks()

    def has_turn(self, next_offset: int) -> bool:
        """Whether a chore is done now rather than a fetch: where one is due, every second time."""
        self._was_chore = not self._was_chore and self.is_due(next_offset)
        return self._was_chore

    def take(self, accounts: Mapping[str, bytes], next_offset: int) -> tuple[Chore, Sequence[str]]:
        """The next chore and the accounts it is about, maybe none. Call it where one is due."""
        if self._rescores(next_offset):
            if self._to_rescore is None:
                self._to_rescore = list(accounts)
            taken = _cut(self._to_rescore, RESCORED_A_TURN)
            if not self._to_rescore:
                self._to_rescore = None
                self.rescore_at = None
            return Chore.RESCORE, taken
        if not self._to_look_at:
            self._looked_us = self.clock_us
            self._before_us = self.clock_us - (self._forget_after_us or 0)
            self._to_look_at = list(accounts)
        return Chore.FORGET, _cut(self._to_look_at, LOOKED_THROUGH_A_TURN)

    @property
    def before_us(self) -> int:
        """Accounts that were inactive since before this are forgotten."""
        return self._before_us

    def passed(self, times_us: Iterable[int]) -> None:
        """Events at these times were folded."""
        self.clock_us = max(self.clock_us, max(times_us, default=0))

    def _rescores(self, next_offset: int) -> bool:
        return self.rescore_at is not None and next_offset >= self.rescore_at

    def _looks(self) -> bool:
        return self._forget_after_us is not None and self.clock_us >= self._looked_us + DAY_US


def _cut(names: list[str], most: int) -> list[str]:
    taken = names[-most:]
    del names[-most:]
    return taken
