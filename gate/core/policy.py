"""The policy as a value: classes of accounts, limits for each, thresholds on scores, and what a failure means.

It is read from a file by `gate.policyfile`, checked there, and identified by its hash in every decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gate.core.account import Account
from gate.core.bucket import Charge, Rate
from gate.core.pseudonym import network, pseudonym
from gate.core.request import CheckRequest


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

    def charges(self, request: CheckRequest, class_: str, salt: bytes) -> tuple[Charge, ...]:
        """Every bucket this upload takes from. A subject the request does not name (no IP, no device) has none."""
        found: list[Charge] = []
        for limit in self.limits:
            rate = limit.rates.get(class_)
            if rate is None or limit.mode is Mode.OFF:
                continue
            entity = _entity(limit.subject, request, class_, salt)
            if entity is None:
                continue
            units = 1 if limit.unit is Unit.UPLOADS else (request.media.bytes or 0)
            shadow = limit.mode is Mode.SHADOW
            found.append(Charge(entity, limit.name, rate.cost_us(units), rate.tolerance_us, shadow))
        return tuple(found)


def _entity(subject: Subject, request: CheckRequest, class_: str, salt: bytes) -> str | None:
    match subject:
        case Subject.ACCOUNT:
            return f"account:{{{request.account.id}}}"
        case Subject.IP:
            return None if request.ip is None else f"ip:{pseudonym(salt, 'ip', network(request.ip))}"
        case Subject.DEVICE:
            return None if request.device is None else f"device:{pseudonym(salt, 'device', request.device)}"
        case Subject.CLASS:
            return f"class:{class_}"
        case Subject.PLATFORM:
            return "platform"
