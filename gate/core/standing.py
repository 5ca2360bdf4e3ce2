"""The standing of an account at a check: its risk, a staff override, and a hot fact that applies to the upload.

A gate remembers the last standings that it met, for the time in which the store does not answer.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gate.core.hot_facts import MetFact
from gate.core.override import Override
from gate.core.score import risk_at


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What is known of an account: its risk in [0, 1], the event time of that risk (None: never scored), a staff override.

    The risk is as of `as_of_us` (None: as of `at_us`) and decays from there on; see `risk_at`. A score that does not
    act refuses nothing. `hot` is the hot fact that the upload meets, None where its device and network are not known
    for anything.
    """

    risk: float | None = None
    at_us: int | None = None
    override: Override | None = None
    half_life_us: int = 0
    base: float = 0.0
    as_of_us: int | None = None
    acts: bool = True
    hot: MetFact | None = None

    def override_in_force(self, now_us: int) -> Override | None:
        """The override that lets in or refuses; None if there is none, it has expired, or it only changes limits."""
        override = self.override
        if override is None or now_us >= override.expires_at_us or override.limits is not None:
            return None
        return override

    def limits_of(self, now_us: int) -> str | None:
        """The class whose limits a staff override gives the account; None for those of its own."""
        override = self.override
        return override.limits if override is not None and now_us < override.expires_at_us else None

    def risk_now(self, now_us: int) -> float | None:
        """The decayed risk at `now_us`, regardless of the score's age; None if the account was never scored."""
        if self.risk is None or self.at_us is None or not self.half_life_us or self.as_of_us == now_us:
            return self.risk
        as_of_us = self.at_us if self.as_of_us is None else self.as_of_us
        return risk_at(self.risk, as_of_us, self.half_life_us, self.base, now_us)

    def counted_risk(self, now_us: int, max_age_us: int) -> float | None:
        """The decayed risk; None if the account was never scored or its score is older than `max_age_us`."""
        if self.at_us is None or now_us - self.at_us > max_age_us:
            return None
        return self.risk_now(now_us)

    def acting_risk(self, now_us: int, max_age_us: int) -> float | None:
        """The risk by which a pause may refuse: that of a score that counts and acts, or of a hot fact if that is higher.

        None where an override is in force, which replaces the score.
        """
        if self.override_in_force(now_us) is not None:
            return None
        risk = self.counted_risk(now_us, max_age_us)
        hot = self.hot.risk if self.hot is not None and (risk is None or self.hot.is_for_scored) else None
        acting = risk if self.acts else None
        return max((each for each in (acting, hot) if each is not None), default=None)

    def meeting(self, hot: MetFact | None) -> Standing:
        """The same standing with the hot fact `hot`."""
        if hot is self.hot:
            return self
        return msgspec.structs.replace(self, hot=hot)


UNKNOWN: Final = Standing()
"""The standing of an account of which nothing is known. Stores use this one object, so that `is` suffices to compare."""
LAST_KNOWN: Final = 50_000
"""Accounts whose standing is remembered, about 250 bytes each."""


class LastKnown:
    """The last standing of recent accounts that have a score or an override, `accounts` at most and half of them at least.

    Two halves are kept: when the recent one is full, it replaces the older one, which is forgotten. A standing is
    forgotten early rather than late, and remembering one costs the same however many there are.
    """

    def __init__(self, accounts: int = LAST_KNOWN) -> None:
        self._half = max(1, accounts // 2)
        self._recent: dict[str, Standing] = {}
        self._older: dict[str, Standing] = {}

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def remember(self, account: str, standing: Standing) -> None:
        """Keep `standing`; where it says nothing, forget what was known before."""
        recent, older = self._recent, self._older
        if standing is UNKNOWN or (standing.risk is None and standing.override is None):
            if account in recent or account in older:
                recent.pop(account, None)
                older.pop(account, None)
            return
        if len(recent) >= self._half and account not in recent:
            self._older, self._recent = recent, {account: standing}
        else:
            recent[account] = standing

    def of(self, account: str) -> Standing:
        """The remembered standing of the account; an empty one where nothing is known."""
        return self._recent.get(account) or self._older.get(account) or UNKNOWN
