"""The policy as a value: classes of accounts, limits for each, thresholds on scores, and what a failure means.

It is read from a file by `gate.policyfile`, checked there, and identified by its hash in every decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from gate.core.account import Account
from gate.core.bucket import Charge, Rate
from gate.core.pseudonym import network, pseudonym
from gate.core.request import CheckRequest
from gate.core.standing import Ask


class Subject(StrEnum):
    """Whose bucket a limit is."""

    ACCOUNT = "account"
    IP = "ip"
    DEVICE = "device"
    CLASS = "class"
    PLATFORM = "platform"


class Unit(StrEnum):
    """What a limit counts."""

    UPLOADS = "uploads"
    BYTES = "bytes"


class Mode(StrEnum):
    """Whether a limit refuses, only counts what it would refuse, or is not looked at."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


class OnStoreError(StrEnum):
    """What a limit does while the account store does not answer: an own bucket, let in, or refuse."""

    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Limit:
    """One named limit; `rates` by class, classes without an entry are not limited by it."""

    name: str
    subject: Subject
    unit: Unit
    mode: Mode
    on_store_error: OnStoreError
    rates: Mapping[str, Rate]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Risk in [0, 1] from which an account's uploads are reviewed, challenged or denied; None: never."""

    review: float | None = None
    challenge: float | None = None
    deny: float | None = None

    @property
    def refuse_at(self) -> float | None:
        """The lowest risk that refuses an upload; `review` does not refuse."""
        return min((t for t in (self.challenge, self.deny) if t is not None), default=None)


_Price = tuple[str, int, int, bool, Rate | None]
"""One limit of a class: name, cost of one upload, tolerance, shadow; the rate where bytes are counted."""

_Namer = Callable[[CheckRequest, str, bytes], str | None]

_Prices = tuple[tuple[_Namer, tuple[_Price, ...]], ...]
"""All limits of a class, by subject: what names the subject's entity, and the limits on it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides beside the pauses. `thresholds` has an entry for every class of `classes`."""

    hash: str
    classes: tuple[str, ...]
    default_class: str
    new_class: str | None
    new_below_us: int
    unverified_class: str | None
    thresholds: Mapping[str, Thresholds]
    limits: tuple[Limit, ...]
    deny_accounts: frozenset[str]
    reasons: tuple[str, ...]
    max_score_age_us: int
    upload_lifetime_us: int
    deadline_us: int
    _prices: Mapping[str, _Prices] = field(init=False, repr=False, compare=False)
    _refuse_at: Mapping[str, float | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # every check asks for these, so they are worked out once
        object.__setattr__(self, "_prices", {class_: _priced(self.limits, class_) for class_ in self.thresholds})
        object.__setattr__(self, "_refuse_at", {class_: t.refuse_at for class_, t in self.thresholds.items()})

    def class_of(self, account: Account, now_us: int) -> str:
        """The class the caller gives, where the policy declares it; else what age and verification make of it."""
        if account.class_ is not None and account.class_ in self.thresholds:
            return account.class_
        if self.new_class is not None and account.created_at is not None and self._is_new(account.created_at, now_us):
            return self.new_class
        if self.unverified_class is not None and account.verified is False:
            return self.unverified_class
        return self.default_class

    def _is_new(self, created_at: datetime, now_us: int) -> bool:
        return now_us - int(created_at.timestamp() * 1_000_000) < self.new_below_us

    def ask(self, request: CheckRequest, class_: str, salt: bytes, now_us: int | None = None) -> Ask:
        """What the account store is asked for this upload; `now_us` is the recorded time of a replay."""
        return Ask(
            request.account.id,
            request.upload_id,
            self.charges(request, class_, salt),
            self._refuse_at[class_],
            self.max_score_age_us,
            self.upload_lifetime_us,
            now_us,
        )

    def charges(self, request: CheckRequest, class_: str, salt: bytes) -> tuple[Charge, ...]:
        """Every bucket this upload takes from. A subject the request does not name (no IP, no device) has none."""
        found: list[Charge] = []
        for entity_of, prices in self._prices[class_]:
            entity = entity_of(request, class_, salt)
            if entity is None:
                continue
            for name, cost_us, tolerance_us, shadow, rate in prices:
                if rate is not None:
                    cost_us = rate.cost_us(request.media.bytes or 0)
                found.append(Charge(entity, name, cost_us, tolerance_us, shadow))
        return tuple(found)


def _priced(limits: tuple[Limit, ...], class_: str) -> _Prices:
    by_subject: dict[Subject, list[_Price]] = {}
    for limit in limits:
        rate = limit.rates.get(class_)
        if rate is None or limit.mode is Mode.OFF:
            continue
        by_bytes = rate if limit.unit is Unit.BYTES else None
        price = (limit.name, rate.cost_us(1), rate.tolerance_us, limit.mode is Mode.SHADOW, by_bytes)
        by_subject.setdefault(limit.subject, []).append(price)
    return tuple((_ENTITIES[subject], tuple(prices)) for subject, prices in by_subject.items())


def _account(request: CheckRequest, class_: str, salt: bytes) -> str | None:
    return f"account:{{{request.account.id}}}"


def _ip(request: CheckRequest, class_: str, salt: bytes) -> str | None:
    return None if request.ip is None else _ip_entity(salt, request.ip)


def _device(request: CheckRequest, class_: str, salt: bytes) -> str | None:
    return None if request.device is None else f"device:{pseudonym(salt, 'device', request.device)}"


def _class(request: CheckRequest, class_: str, salt: bytes) -> str | None:
    return f"class:{class_}"


def _platform(request: CheckRequest, class_: str, salt: bytes) -> str | None:
    return "platform"


_ENTITIES: Mapping[Subject, _Namer] = {
    Subject.ACCOUNT: _account,
    Subject.IP: _ip,
    Subject.DEVICE: _device,
    Subject.CLASS: _class,
    Subject.PLATFORM: _platform,
}


# the same few thousand addresses come again and again, and parsing one costs as much as all the rest
@lru_cache(maxsize=1 << 14)
def _ip_entity(salt: bytes, ip: str) -> str:
    return f"ip:{pseudonym(salt, 'ip', network(ip))}"
