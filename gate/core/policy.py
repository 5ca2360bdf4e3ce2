"""The policy as a value: classes of accounts, the limits and score thresholds of each, and the failure modes.

`gate.policyfile` reads it from a file and checks it. Each decision carries the policy's hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from gate.core.account import Account
from gate.core.decision import Verdict
from gate.core.limits.limit import (
    EntityBuckets,
    EntityLimits,
    Limit,
    Rate,
)
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.pause.four_eyes import ALONE_BY_DEFAULT_US, BY_DEFAULT, TwoPersonRule
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest


class Subject(StrEnum):
    """The kind of entity that a limit counts for; each entity has a bucket of its own."""

    ACCOUNT = "account"
    IP = "ip"
    DEVICE = "device"
    CLASS = "class"
    PLATFORM = "platform"


class Unit(StrEnum):
    """What a limit counts."""

    UPLOADS = "uploads"
    BYTES = "bytes"
    IN_FLIGHT = "in_flight"


class Mode(StrEnum):
    """The mode of a limit: it refuses, it only counts the uploads that it would refuse, or it is not applied."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


class OnStoreError(StrEnum):
    """What a limit does while the store does not answer: take from this gate's own bucket, let in, or refuse."""

    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"


class Unreported(StrEnum):
    """What becomes of the tokens of an upload that nobody has reported by the end of its lifetime."""

    KEEP = "keep"
    GIVE_BACK = "give_back"


class PausesUnknown(StrEnum):
    """What becomes of uploads at a gate that has started and has learned of the pauses from nobody yet."""

    OPEN = "open"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One named limit. `rates` maps a class to its rate; the limit does not apply to other classes.

    Where `kinds` is not empty, it applies to uploads of these media kinds alone. A gate may hold a `lease` of so many units
    of a class's or the platform's bucket; see `Limit`. Of the platform's, a class may have a share `reserved` that no other
    class uses.
    """

    name: str
    subject: Subject
    unit: Unit
    mode: Mode
    on_store_error: OnStoreError
    rates: Mapping[str, Rate]
    kinds: frozenset[str] = frozenset()
    lease: int | None = 0
    reserved: Mapping[str, float] = field(default_factory=dict)

    def limits_of(self, class_: str) -> tuple[Limit, ...]:
        """The limits of an upload of the class by this rule: one, or a reserve of the class and the rest."""
        rate = self.rates[class_]
        rest = 1 - sum(round(share, 3) for share in self.reserved.values())  # shares are whole thousandths
        whole = Limit(
            self.name,
            rate.part(rest) if self.reserved else rate,
            self.mode is Mode.SHADOW,
            self.unit is Unit.BYTES,
            self.unit is Unit.IN_FLIGHT,
            self.lease if self.subject in (Subject.CLASS, Subject.PLATFORM) else 0,
        )
        share = self.reserved.get(class_)
        if not share:
            return (whole,)
        name = f"{self.name} reserved for {class_}"
        return replace(whole, name=name, rate=rate.part(share), reserve_of=self.name), whole


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The risks in [0, 1] from which an account's uploads are reviewed, challenged or denied; None: never."""

    review: float | None = None
    challenge: float | None = None
    deny: float | None = None
    refuse_at: float | None = field(init=False)
    """The lowest risk that refuses an upload; None: no risk refuses. The store needs it before it takes tokens."""
    lowest: float = field(init=False)
    """The lowest threshold; an account below it scores as harmless. Above 1 where there is none."""
    _steps: tuple[tuple[float, Verdict], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        strictest_first = (
            (self.deny, Verdict.DENY),
            (self.challenge, Verdict.CHALLENGE),
            (self.review, Verdict.REVIEW),
        )
        steps = tuple((from_, verdict) for from_, verdict in strictest_first if from_ is not None)
        object.__setattr__(self, "_steps", steps)
        object.__setattr__(self, "lowest", min((from_ for from_, _ in steps), default=2.0))
        refusing = [from_ for from_, verdict in steps if not verdict.lets_in]
        object.__setattr__(self, "refuse_at", min(refusing, default=None))

    def verdict_at(self, risk: float) -> Verdict | None:
        """The strictest verdict whose threshold `risk` reaches; None if it is below all thresholds."""
        for from_, verdict in self._steps:
            if risk >= from_:
                return verdict
        return None


@dataclass(frozen=True, slots=True)
class KnownValues:
    """The media kinds, surfaces and countries that the policy lists. A `*` in a value stands for any characters.

    Values are given and compared as fields of checks are read: without case. An absent value is known.
    """

    kinds: frozenset[str]
    surfaces: frozenset[str]
    countries: frozenset[str]
    _any: tuple[bool, ...] = field(init=False, repr=False, compare=False)
    _exact: tuple[frozenset[str | None], ...] = field(init=False, repr=False, compare=False)
    _patterns: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        listed = self.listed.values()
        object.__setattr__(self, "_any", tuple("*" in values for values in listed))
        object.__setattr__(self, "_exact", tuple(values | {None} for values in listed))
        object.__setattr__(self, "_patterns", tuple(map(_pattern, listed)))

    @property
    def listed(self) -> Mapping[str, frozenset[str]]:
        """The values by the field of a check that holds them."""
        return {"kind": self.kinds, "surface": self.surfaces, "country": self.countries}

    def has_kind(self, kind: str | None) -> bool:
        """Whether a media kind is known."""
        return self._any[0] or kind in self._exact[0] or self._patterns[0].fullmatch(kind or "") is not None

    def unlisted(self, request: CheckRequest) -> tuple[str, ...]:
        """The fields of `request` whose value is not listed: of `kind`, `surface` and `country`."""
        (kinds, surfaces, countries), (any_kind, any_surface, any_country) = self._exact, self._any
        kind, surface, country = request.media.kind, request.surface, request.country
        if (
            (any_kind or kind in kinds)
            and (any_surface or surface in surfaces)
            and (any_country or country in countries)
        ):
            return ()
        values = (kind, surface, country)
        return tuple(
            field
            for field, value, exact, pattern in zip(self.listed, values, self._exact, self._patterns, strict=True)
            if value is not None and value not in exact and pattern.fullmatch(value) is None
        )


def _pattern(values: frozenset[str]) -> re.Pattern[str]:
    """An expression for those of `values` that hold a `*`; it matches nothing where there are none."""
    parts = [".*".join(map(re.escape, value.split("*"))) for value in sorted(values) if "*" in value]
    return re.compile("|".join(parts) or "(?!)", re.DOTALL)


MOST_ATTEMPTS: Final = (1 << 32) - 1
"""Numbers of checks before they repeat: the check after this one gets the first number again."""
EVERY_KIND = "*"
"""Stands for a media kind that is not known: every limit that has kinds applies to it."""
ANY_VALUE = KnownValues(frozenset("*"), frozenset("*"), frozenset("*"))
"""Every kind, surface and country is known."""


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules of a decision except the pauses. `thresholds` has an entry for every class of `classes`.

    Overload sheds checks of the first of `classes` first.

    `upload_lifetime_us` is how long an answered upload is reserved. With `unreported_returns` the tokens of an upload that
    nobody has reported by then are given back. `assumed_bytes` is the size of an upload of a class whose check states none.
    """

    hash: str
    classes: tuple[str, ...]
    default_class: str
    new_class: str | None
    new_below_us: int
    unverified_class: str | None
    thresholds: Mapping[str, Thresholds]
    limits: tuple[LimitRule, ...]
    deny_accounts: frozenset[str]
    reasons: tuple[str, ...]
    max_score_age_us: int
    upload_lifetime_us: int
    deadline_us: int
    second_person: frozenset[TwoPersonRule] = BY_DEFAULT
    machines_platform_wide: bool = False
    alone_us: int = ALONE_BY_DEFAULT_US
    pauses_unknown: PausesUnknown = PausesUnknown.OPEN
    known: KnownValues = ANY_VALUE
    unreported_returns: bool = False
    assumed_bytes: Mapping[str, int] = field(default_factory=dict)
    _class_limits: Mapping[tuple[str, str | None], ClassLimits] = field(init=False, repr=False, compare=False)
    _staff_limits: Mapping[tuple[str, str | None, float | None], ClassLimits] = field(
        init=False, repr=False, compare=False
    )
    _any_kind: Mapping[str, ClassLimits] = field(init=False, repr=False, compare=False)
    """The limits of each class where no limit names a media kind."""
    _kinds: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = frozenset(kind for rule in self.limits for kind in rule.kinds)
        limits = {
            (class_, kind): self._limits_of(class_, kind)
            for class_ in self.thresholds
            for kind in (None, *kinds, *((EVERY_KIND,) if kinds else ()))
        }
        staff = {
            (class_, kind, refuse_at): each if each.refuse_at == refuse_at else replace(each, refuse_at=refuse_at)
            for (class_, kind), each in limits.items()
            for refuse_at in {other.refuse_at for other in self.thresholds.values()}
        }
        object.__setattr__(self, "_kinds", kinds)
        object.__setattr__(self, "_class_limits", limits)
        object.__setattr__(self, "_staff_limits", staff)
        object.__setattr__(self, "_any_kind", {class_: limits[class_, None] for class_ in self.thresholds})

    @property
    def class_limits(self) -> tuple[ClassLimits, ...]:
        """The limits of each class, for each media kind that has limits of its own."""
        return tuple(self._class_limits.values())

    def has_class(self, given: str | None) -> bool:
        """Whether a caller may give this class: one of the policy, or none."""
        return given is None or given in self.thresholds

    def class_of(self, account: Account, now_us: int) -> str:
        """The account's class: the one the caller states if the policy has it, else one by age and verification."""
        if account.class_ is not None and account.class_ in self.thresholds:
            return account.class_
        if self.new_class is not None and account.created_at is not None and self._is_new(account.created_at, now_us):
            return self.new_class
        if self.unverified_class is not None and account.verified is False:
            return self.unverified_class
        return self.default_class

    def _is_new(self, created_at: datetime, now_us: int) -> bool:
        return now_us - int(created_at.timestamp() * 1_000_000) < self.new_below_us

    def take_request(
        self, request: CheckRequest, class_: str, names: Pseudonyms, now_us: int | None = None, attempt: int = 0
    ) -> TakeRequest:
        """The request to the account store for this upload. `now_us` is set only in a replay: the recorded time."""
        ip, device, media = request.ip, request.device, request.media
        kind, size = media.kind, media.bytes
        return TakeRequest(
            request.account.id,
            request.upload_id,
            self._class_limits[class_, self._limited_as(kind)] if self._kinds else self._any_kind[class_],
            None if ip is None else names.of_ip(ip),
            None if device is None else names.of_device(device),
            self.assumed_bytes.get(class_, 0) if size is None else size,
            now_us,
            None,
            class_,
            kind,
            attempt,
        )

    def take_requests(
        self, requests: Sequence[CheckRequest], names: Pseudonyms, now_us: int, attempt: int
    ) -> list[TakeRequest]:
        """`take_request` of each by its class at `now_us`, numbered after `attempt`."""
        limits_by_class, assumed = self._any_kind, self.assumed_bytes
        class_of, thresholds, kinds = self.class_of, self.thresholds, self._kinds
        ips = names.of_ips([request.ip for request in requests])
        devices = names.of_devices([request.device for request in requests])
        found = []
        for request, ip, device in zip(requests, ips, devices, strict=True):
            account, media = request.account, request.media
            given, kind, size = account.class_, media.kind, media.bytes
            class_ = given if given is not None and given in thresholds else class_of(account, now_us)
            attempt = attempt % MOST_ATTEMPTS + 1
            found.append(
                TakeRequest(
                    account.id,
                    request.upload_id,
                    self._class_limits[class_, self._limited_as(kind)] if kinds else limits_by_class[class_],
                    ip,
                    device,
                    assumed.get(class_, 0) if size is None else size,
                    None,
                    None,
                    class_,
                    kind,
                    attempt,
                )
            )
        return found

    def with_limits_of(self, request: TakeRequest, limits_class: str) -> TakeRequest:
        """The same request with the limits that a staff override gives; with its own if there is no such class (now)."""
        kind, own = self._limited_as(request.kind), self.thresholds.get(request.class_)
        refuse_at = request.class_limits.refuse_at if own is None else own.refuse_at  # a pause by risk has its own
        limits = self._staff_limits.get((limits_class, kind, refuse_at))
        if limits is None:
            return msgspec.structs.replace(request, keep_limits=True)
        return msgspec.structs.replace(request, class_limits=limits)

    def _limited_as(self, kind: str | None) -> str | None:
        """The media kind whose limits apply; None where no limit names it. One that is not known has every kind's limits."""
        if kind in self._kinds:
            return kind
        return None if not self._kinds or self.known.has_kind(kind) else EVERY_KIND

    def _limits_of(self, class_: str, kind: str | None) -> ClassLimits:
        together = ((f"class:{class_}", Subject.CLASS), ("platform", Subject.PLATFORM))
        shared = ((entity, self._entity_limits(subject, class_, kind)) for entity, subject in together)
        return ClassLimits(
            self._entity_limits(Subject.ACCOUNT, class_, kind),
            self._entity_limits(Subject.IP, class_, kind),
            self._entity_limits(Subject.DEVICE, class_, kind),
            tuple(EntityBuckets(entity, limits) for entity, limits in shared if limits is not None),
            self.thresholds[class_].refuse_at,
            self.max_score_age_us,
            self.upload_lifetime_us,
            self.unreported_returns,
            class_,
            self.classes.index(class_),
        )

    def _entity_limits(self, subject: Subject, class_: str, kind: str | None) -> EntityLimits | None:
        limits = tuple(
            limit
            for rule in self.limits
            if rule.subject is subject
            and class_ in rule.rates
            and rule.mode is not Mode.OFF
            and (not rule.kinds or kind == EVERY_KIND or kind in rule.kinds)
            for limit in rule.limits_of(class_)
        )
        return EntityLimits(limits) if limits else None
