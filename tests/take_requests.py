"""What tests request of the stores, and what they store there: buckets, limits of a class, take requests, scores, overrides."""

import asyncio
import time
from typing import Protocol

from gate.core.limits.limit import (
    EntityBuckets,
    EntityLimits,
    Limit,
    Rate,
)
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.override import Override
from gate.core.score import Reason, Score, Stamp
from gate.ports.overrides import OverrideStore
from gate.ports.scores import ScoreStore
from gate.ports.takes import TakeStore


class AccountStore(TakeStore, ScoreStore, OverrideStore, Protocol):
    """A store of all that is kept by account."""


MINUTE_US = 60_000_000
DAY_US = 86_400_000_000


def one_limit(entity: str, limit: str, rate: Rate, *, shadow: bool = False, by_bytes: bool = False) -> EntityBuckets:
    """The buckets of an entity that has that limit alone."""
    return EntityBuckets(entity, EntityLimits((Limit(limit, rate, shadow, by_bytes),)))


def class_limits(
    *shared: EntityBuckets, refuse_at: float | None, max_score_age_us: int, lifetime_us: int
) -> ClassLimits:
    """The limits of a class whose every upload is charged to the same entities."""
    return ClassLimits(None, None, None, shared, refuse_at, max_score_age_us, lifetime_us)


class WallClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000


class NoClock:
    """The clock of a store that no request may read."""

    def now_us(self) -> int:
        raise AssertionError("each request brings its own time")


NOW_US = WallClock().now_us()


def per_minute(
    limit: str, burst: int, entity: str = "account:{a}", *, shadow: bool = False, by_bytes: bool = False
) -> EntityBuckets:
    """The bucket of a limit of `burst` a minute."""
    return one_limit(entity, limit, Rate(burst, MINUTE_US, burst), shadow=shadow, by_bytes=by_bytes)


def take_request(
    upload: str, *buckets: EntityBuckets, account: str = "a", size: int = 0, now_us: int | None = NOW_US,
    at: float | None = 0.9,
) -> TakeRequest:  # fmt: skip
    limits = class_limits(*buckets, refuse_at=at, max_score_age_us=DAY_US, lifetime_us=10 * MINUTE_US)
    return TakeRequest(account, upload, limits, size=size, now_us=now_us)


def score(account: str = "a", risk: float = 0.95, offset: int = 1, epoch: str = "e", at_us: int = NOW_US) -> Score:
    reasons = (Reason("tempo.burst", 0.5, 0.25),)
    return Score(account, 0.5, 0.25, risk, reasons, at_us, NOW_US, Stamp(epoch, offset), "9f2c")


def override(allow: bool, expires_at_us: int = NOW_US + 60 * MINUTE_US) -> Override:
    return Override(allow, "a known photographer", "ada", expires_at_us)


async def admitted(store: AccountStore, count: int, *buckets: EntityBuckets, account: str = "a") -> int:
    """How many of `count` more uploads are let in, checked at once."""
    tag = time.monotonic_ns()
    requests = [take_request(f"{tag}-{i}", *buckets, account=account) for i in range(count)]
    return sum(result.charged for result in await asyncio.gather(*map(store.take, requests)))
