"""Takes, scores and overrides in memory, as their ports specify them. Shipped for tests, trials and replays.

It loses nothing where a server may lose a little. Only expiry bounds it: every thousandth take drops what has expired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gate.core.duration import DAY_US, HOUR_US
from gate.core.limits.answer import answered
from gate.core.limits.gcra import LATEST_TAT_US, Flights, Tats, rooms
from gate.core.limits.limit import Limit
from gate.core.limits.reservation import (
    Change,
    Expired,
    Notice,
    Reservation,
    ReservationState,
    Settlement,
    settle,
)
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.limits.token_lease import Exchange, Exchanged, exchange
from gate.core.override import Override
from gate.core.score import Score, replaces, risk_at
from gate.core.standing import Standing
from gate.ports.clock import Clock
from gate.ports.scores import EncodedScore
from gate.records.score import decode_score

_SWEEP_EVERY = 1_000


class MemoryAccountStore:
    """A TakeStore, TokenLeaseStore, ReservationStore, ScoreMirror and OverrideStore in one process. One step of its loop is
    atomic."""

    down: str | None = None
    """See TakeStore: it always answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tats: Tats = {}
        self._flights: Flights = {}
        self._scores: dict[str, Score] = {}
        self._marks: dict[str, str] = {}
        self._overrides: dict[str, Override] = {}
        self._reservations: dict[tuple[str, str], Reservation] = {}
        self._takes = 0

    async def take(self, request: TakeRequest) -> TakeResult:
        """See TakeStore. Never raises StoreUnavailable."""
        now_us = self._clock.now_us() if request.now_us is None else request.now_us
        self._sweep(now_us)
        result, reservation = self._taken(request, now_us, self._tats, self._flights)
        if reservation is not None:
            self._reservations[request.account, request.upload_id] = reservation
        return result

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        """See TakeStore."""
        return [await self.take(request) for request in requests]

    async def peek(self, request: TakeRequest) -> Peek:
        """See TakeStore. Never raises StoreUnavailable."""
        now_us = self._clock.now_us() if request.now_us is None else request.now_us
        room = rooms(self._tats, self._flights, request.buckets, now_us)
        result, _ = self._taken(request, now_us, dict(self._tats), dict(self._flights))
        return Peek(result, room)

    async def exchange(self, wanted: Sequence[Exchange], now_us: int | None = None) -> list[Exchanged | Exception]:
        """See TokenLeaseStore. Never fails."""
        now_us = self._clock.now_us() if now_us is None else now_us
        return [exchange(self._tats, each, now_us) for each in wanted]

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """See TakeStore. Nothing needs to be prepared."""

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        """See ReservationStore. Never raises StoreUnavailable."""
        now_us = self._clock.now_us() if now_us is None else now_us
        return [self._settle(notice, now_us) for notice in notices]

    async def unheard(self, older_than_s: float) -> list[Settlement]:
        """See ReservationStore. No settlement fails."""
        return []

    async def due(self, most: int, now_us: int | None = None) -> list[Expired]:
        """See ReservationStore."""
        now_us = self._clock.now_us() if now_us is None else now_us
        over = (
            Expired(*key)
            for key, kept in self._reservations.items()
            if kept.returns and kept.state is ReservationState.OPEN and now_us >= kept.until_us
        )
        return [notice for notice, _ in zip(over, range(most), strict=False)]

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        """See ScoreStore."""
        stored = 0
        for score, data in scores:
            known = self._scores.get(score.account)
            if known is not None and not replaces(score.stamp, known.stamp):
                continue
            self._scores[score.account] = decode_score(data)
            stored += 1
        return stored

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        """See ScoreStore."""
        return [self._scores.get(account) for account in accounts]

    async def mark_filled(self, marks: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """See ScoreMirror."""
        before = {name: self._marks.get(name, "") for name in marks}
        self._marks |= {name: later for name, (expected, later) in marks.items() if before[name] == expected}
        return before

    async def forget_scores(self, accounts: Sequence[str], before_us: int) -> int:
        """See ScoreMirror."""
        gone = [a for a in accounts if a in self._scores and self._scores[a].at_us < before_us]
        for account in gone:
            del self._scores[account]
        return len(gone)

    async def put_override(self, account: str, override: Override) -> Override | None:
        """See OverrideStore."""
        before, self._overrides[account] = self._overrides.get(account), override
        return None if before == override else before

    async def overrides(self, accounts: Sequence[str]) -> list[Override | None]:
        """See OverrideStore."""
        return [self._overrides.get(account) for account in accounts]

    async def remove_override(self, account: str) -> Override | None:
        """See OverrideStore."""
        return self._overrides.pop(account, None)

    async def all_overrides(self, most: int) -> dict[str, Override]:
        """See OverrideStore."""
        return dict(list(self._overrides.items())[:most])

    def tat_us(self, entity: str, limit: str) -> int:
        """When the bucket will be full again, 0 where it was never used: for tests that count tokens."""
        return self._tats.get((entity, limit), 0)

    def _taken(
        self, request: TakeRequest, now_us: int, tats: Tats, flights: Flights
    ) -> tuple[TakeResult, Reservation | None]:
        standing = self._standing(request.account, now_us).meeting(request.hot)
        known = self._reservations.get((request.account, request.upload_id))
        return answered(request, standing, known, tats, flights, now_us)

    def _settle(self, notice: Notice, now_us: int) -> Settlement:
        key = (notice.account, notice.upload_id)
        known = self._reservations.get(key)
        settling = settle(known, notice, now_us)
        if settling.reservation is not None:
            self._reservations[key] = settling.reservation
        for change in settling.changes:
            self._change(change, now_us, 0 if known is None else known.until_us)
        return settling.settlement

    def _change(self, change: Change, now_us: int, until_us: int) -> None:
        key = (change.entity, change.limit)
        if change.leaves:
            if until_us in self._flights.get(key, ()):
                self._flights[key].remove(until_us)
        elif change.delta_us > 0:
            self._tats[key] = min(max(self._tats.get(key, 0), now_us) + change.delta_us, LATEST_TAT_US)
            self._tats[change.entity, Limit.debt_of(change.limit)] = self._tats[key]
        elif key in self._tats:
            self._tats[key] += change.delta_us

    def _standing(self, account: str, now_us: int) -> Standing:
        score = self._scores.get(account)
        override = self._overrides.get(account)
        if override is not None and now_us >= override.expires_at_us:
            override = None
        if score is None:
            return Standing(override=override)
        half_life_us, base = score.half_life_us, score.base
        risk = risk_at(score.risk, score.at_us, half_life_us, base, now_us)
        return Standing(risk, score.at_us, override, half_life_us, base, now_us, score.acts)

    def _sweep(self, now_us: int) -> None:
        self._takes += 1
        if self._takes % _SWEEP_EVERY:
            return
        self._tats = {k: tat for k, tat in self._tats.items() if tat > now_us - DAY_US}
        self._flights = {k: open_ for k, open_ in self._flights.items() if open_ and max(open_) > now_us}
        self._reservations = {k: r for k, r in self._reservations.items() if now_us < r.until_us + HOUR_US}
        self._overrides = {k: o for k, o in self._overrides.items() if now_us < o.expires_at_us}
