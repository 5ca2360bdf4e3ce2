"""A take: what the account store is requested to take for one upload, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityBuckets, EntityLimits, Rate
from gate.core.standing import Standing


@dataclass(frozen=True, slots=True, eq=False)
class ClassLimits:
    """What the store is asked for all uploads of one class. Worked out once; two are never equal.

    The limits of an upload's account, IP network and device; the entities `shared` by all uploads of the class; the
    risk that refuses (None: no score does) while it is no older than `max_score_age_us`; and for how long an upload is
    charged only once.
    """

    account: EntityLimits | None
    ip: EntityLimits | None
    device: EntityLimits | None
    shared: tuple[EntityBuckets, ...]
    refuse_at: float | None
    max_score_age_us: int
    lifetime_us: int
    by_bytes: tuple[Rate, ...] = field(init=False)
    """The rates of all limits that count bytes, in the order of the tariffs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_bytes", tuple(rate for tariff in self.tariffs for rate in tariff.by_bytes))

    @property
    def tariffs(self) -> tuple[EntityLimits, ...]:
        """All there are: of the account, the IP network, the device, then of what is shared."""
        own = (self.account, self.ip, self.device)
        return (*(tariff for tariff in own if tariff is not None), *(charge.tariff for charge in self.shared))


class TakeRequest(msgspec.Struct, frozen=True, gc=False):
    """One check as the store sees it: an upload of `size` bytes; `ip` and `device` are pseudonyms, None where unknown.

    The store charges all `charges` or none, and none where an override denies or where the account's risk reaches the
    plan's `refuse_at` without an override that allows. An `upload_id` already charged within the plan's `lifetime_us`
    is answered again without being charged again.
    `now_us` is the recorded time of a replay; None means the store's own clock.
    """

    account: str
    upload_id: str
    plan: ClassLimits
    ip: str | None = None
    device: str | None = None
    size: int = 0
    now_us: int | None = None

    @property
    def charges(self) -> tuple[EntityBuckets, ...]:
        """Every entity this upload is charged to."""
        plan = self.plan
        own = (
            (f"account:{{{self.account}}}", plan.account),
            (f"ip:{self.ip}", None if self.ip is None else plan.ip),
            (f"device:{self.device}", None if self.device is None else plan.device),
        )
        return (*(EntityBuckets(entity, tariff) for entity, tariff in own if tariff is not None), *plan.shared)


class TakeResult(msgspec.Struct, frozen=True, gc=False):
    """The store's answer. `charged` tells whether tokens moved, now or (`repeated`) when the id was first asked for.

    `now_us` is the time the store judged by. `shadow` names limits that would have refused, were they enforced.
    """

    standing: Standing
    charged: bool
    repeated: bool
    refusal: Refusal | None
    shadow: tuple[str, ...]
    now_us: int
