"""The request to the account store to take tokens for one upload, and the store's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import msgspec

from gate.core.hot_facts import MetFact
from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate, Room
from gate.core.standing import Standing


class RefusedByHot(IntEnum):
    """The accounts that a hot fact refuses: none, those whose score does not count, or all."""

    NOBODY = 0
    UNSCORED = 1
    ANYBODY = 2


@dataclass(frozen=True, slots=True, eq=False)
class ClassLimits:
    """The limits of all uploads of one class, as the store learns them beforehand. The policy builds it once; identity
    compares it.

    The limits of an upload's account, IP network and device; the buckets `shared` by all uploads of the class; the
    risk that refuses (None: no score does) while it is no older than `max_score_age_us`; for how long an upload is
    reserved; whether its tokens return if nobody has reported it by then; the class whose limits these are; its rank:
    overload sheds the lowest first; and the shared buckets whose tokens the gate gives out of its leases, which the store
    does not take from but notes in the reservation.
    """

    account: EntityLimits | None
    ip: EntityLimits | None
    device: EntityLimits | None
    shared: tuple[EntityBuckets, ...]
    refuse_at: float | None
    max_score_age_us: int
    lifetime_us: int
    returns: bool = False
    name: str = ""
    rank: int = 0
    leased: tuple[EntityBuckets, ...] = ()
    byte_rates: tuple[Rate, ...] = field(init=False)
    """The rates of all limits that count bytes, in the order of `entity_limits`."""
    by_name: Mapping[str, Limit] = field(init=False, repr=False)
    """The same limits by their names, by which a refusal names the one that refused."""

    def __post_init__(self) -> None:
        all_of_it = self.entity_limits
        object.__setattr__(self, "byte_rates", tuple(rate for each in all_of_it for rate in each.byte_rates))
        object.__setattr__(self, "by_name", {limit.name: limit for each in all_of_it for limit in each.limits})

    @property
    def entity_limits(self) -> tuple[EntityLimits, ...]:
        """The limits of the account, the IP network and the device, then those of the shared buckets."""
        own = (self.account, self.ip, self.device)
        return (*(limits for limits in own if limits is not None), *(buckets.limits for buckets in self.shared))

    def buckets_of(self, account: str, ip: str | None, device: str | None) -> tuple[EntityBuckets, ...]:
        """The buckets of every entity that such an upload takes from; network and device as in `TakeRequest`."""
        found: tuple[EntityBuckets, ...] = ()
        if self.account is not None:
            found = (EntityBuckets(f"account:{{{account}}}", self.account),)
        if ip is not None and self.ip is not None:
            found += (EntityBuckets(f"ip:{ip}", self.ip),)
        if device is not None and self.device is not None:
            found += (EntityBuckets(f"device:{device}", self.device),)
        return found + self.shared if self.shared else found

    def refuse(self, standing: Standing, now_us: int) -> bool:
        """Whether an account of that standing is refused before its buckets are looked at, so that the store takes nothing.

        An override in force decides alone, otherwise a score that is not too old and acts, or a hot fact. The Redis
        script does the same.
        """
        override = standing.override_in_force(now_us)
        if override is not None:
            return not override.allow
        risk = standing.counted_risk(now_us, self.max_score_age_us)
        by_hot = self.refused_by(standing.hot)
        if by_hot is RefusedByHot.ANYBODY or (risk is None and by_hot is RefusedByHot.UNSCORED):
            return True
        return risk is not None and standing.acts and self.refuse_at is not None and risk >= self.refuse_at

    def refused_by(self, hot: MetFact | None) -> RefusedByHot:
        """The accounts that the hot fact refuses, unless an override in force decides."""
        if hot is None or self.refuse_at is None or hot.risk < self.refuse_at:
            return RefusedByHot.NOBODY
        return RefusedByHot.ANYBODY if hot.is_for_scored else RefusedByHot.UNSCORED


class TakeRequest(msgspec.Struct, frozen=True, gc=False):
    """One check as the store sees it: an upload of `size` bytes; `ip` and `device` are pseudonyms, None where unknown.

    The store takes from all `buckets` or from none. It takes from none where an override denies, and where the account's
    risk or the `hot` fact that the upload meets reaches `refuse_at` of its class without an override that allows. An
    `upload_id` already answered within the class's `lifetime_us` gets the same answer again without being charged again,
    if it is of the same `class_`, `kind`, network, device and size; `attempt` names the check among all checks. An account
    that a staff override gives the limits of another class is not taken from, unless `keep_limits`: the answer names that
    class. With `judges_anew` no refusal of the upload is repeated, as where staff have given the account other limits or let
    it in. `now_us` is the recorded time of a replay; None means the store's own clock.
    """

    account: str
    upload_id: str
    class_limits: ClassLimits
    ip: str | None = None
    device: str | None = None
    size: int = 0
    now_us: int | None = None
    hot: MetFact | None = None
    class_: str = ""
    kind: str | None = None
    attempt: int = 0
    keep_limits: bool = False
    judges_anew: bool = False

    @property
    def fingerprint(self) -> str:
        """What is checked, a line for each value: class, kind, size, and the pseudonyms of network and device."""
        return f"{self.class_}\n{self.kind or ''}\n{self.size}\n{self.ip or ''}\n{self.device or ''}"

    @property
    def buckets(self) -> tuple[EntityBuckets, ...]:
        """The buckets of every entity that this upload takes from."""
        return self.class_limits.buckets_of(self.account, self.ip, self.device)


class TakeResult(msgspec.Struct, frozen=True, gc=False):
    """The store's answer. `charged` tells whether tokens moved, now or (`repeated`) at an earlier check of the same id.

    `now_us` is the time the store decided by. `shadow` names limits that would have refused, were they enforced. `room` is
    the emptiest bucket that was taken from, None where nothing was taken now. With `conflict` the upload id was checked
    before with other content, and nothing moved; with `limits_of` nothing moved because that class's limits apply.
    `resent` tells that the earlier check is this one: its reply was lost on the way, and the store sent it again.
    """

    standing: Standing
    charged: bool
    repeated: bool
    refusal: Refusal | None
    shadow: tuple[str, ...]
    now_us: int
    room: Room | None = None
    conflict: bool = False
    limits_of: str | None = None
    resent: bool = False

    @property
    def took_now(self) -> bool:
        """Whether this check moved the tokens, and no earlier one of its upload."""
        return self.charged and (self.resent or not self.repeated)


class Peek(msgspec.Struct, frozen=True, gc=False):
    """What a take would answer, and the room in each bucket before it."""

    result: TakeResult
    rooms: tuple[Room, ...]
