"""Takes, scores and overrides in memory: what their ports mean, without a server. Shipped for tests, tries and replays.

It loses nothing where a server may lose a little. Only expiry bounds it: every thousandth take drops what has expired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from gate.core.duration import DAY_US
from gate.core.limits.gcra import take
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.score import Score, replaces, risk_at
from gate.core.standing import Standing
from gate.ports.clock import Clock
from gate.ports.scores import EncodedScore
from gate.records.score import decode_score

_SWEEP_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class _Upload:
    """What was answered when an upload was charged."""

    at_us: int
    lifetime_us: int
    standing: Standing
    shadow: tuple[str, ...]


class MemoryAccountStore:
    """A TakeStore, a ScoreMirror and an OverrideStore in one process. One step of the loop is one atomic step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tats: dict[tuple[str, str], int] = {}
        self._scores: dict[str, Score] = {}
        self._marks: dict[str, str] = {}
        self._overrides: dict[str, Override] = {}
        self._uploads: dict[tuple[str, str], _Upload] = {}
        self._takes = 0

    async def take(self, request: TakeRequest) -> TakeResult:
        """See TakeStore. Never raises StoreUnavailable."""
        now_us = self._clock.now_us() if request.now_us is None else request.now_us
        self._sweep(now_us)
        standing = self._standing(request.account, now_us).meeting(request.hot)
        if request.class_limits.refuse(standing, now_us):
            return TakeResult(standing, False, False, None, (), now_us)
        upload = self._uploads.get((request.account, request.upload_id))
        if upload is not None and now_us - upload.at_us < upload.lifetime_us:
            recorded = replace(upload.standing, override=standing.override)
            return TakeResult(recorded, True, True, None, upload.shadow, upload.at_us)
        refusal, shadow = take(
            self._tats, request.buckets, request.size, now_us, never_refuse=standing.override is not None
        )
        if refusal is None:
            self._uploads[request.account, request.upload_id] = _Upload(
                now_us, request.class_limits.lifetime_us, replace(standing, half_life_us=0, hot=None), shadow
            )
        return TakeResult(standing, refusal is None, False, refusal, shadow, now_us)

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        """See TakeStore."""
        return [await self.take(request) for request in requests]

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

    async def put_override(self, account: str, override: Override) -> None:
        """See OverrideStore."""
        self._overrides[account] = override

    def tat_us(self, entity: str, limit: str) -> int:
        """When the bucket will be full again, 0 where it was never used: for tests that count tokens."""
        return self._tats.get((entity, limit), 0)

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
        self._uploads = {k: u for k, u in self._uploads.items() if now_us - u.at_us < u.lifetime_us}
        self._overrides = {k: o for k, o in self._overrides.items() if now_us < o.expires_at_us}
