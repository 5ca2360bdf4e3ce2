"""What the account store answers to one check: the account's standing, and what became of its tokens."""

from __future__ import annotations

import msgspec

from gate.core.bucket import Charge, Refusal


class Override(msgspec.Struct, frozen=True):
    """A staff member's word on one account, until `expires_at_us`: let in whatever the score says, or refuse."""

    allow: bool
    reason: str
    owner: str
    expires_at_us: int


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What is known of an account: its risk in [0, 1] with the event time it stands for (None: never scored)."""

    risk: float | None = None
    at_us: int | None = None
    override: Override | None = None


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One check as the store sees it.

    The store charges all `charges` or none, and none where an override denies or where the account's risk, no older
    than `max_score_age_us`, reaches `refuse_at` (None: no score refuses) without an override that allows.
    An `upload_id` already charged within `lifetime_us` is answered again without being charged again.
    `now_us` is the recorded time of a replay; None means the store's own clock.
    """

    account: str
    upload_id: str
    charges: tuple[Charge, ...]
    refuse_at: float | None
    max_score_age_us: int
    lifetime_us: int
    now_us: int | None = None


class Taken(msgspec.Struct, frozen=True, gc=False):
    """The store's answer. `charged` tells whether tokens moved, now or (`repeated`) when the id was first asked for.

    `now_us` is the time the store judged by. `shadow` names limits that would have refused, were they enforced.
    """

    standing: Standing
    charged: bool
    repeated: bool
    refusal: Refusal | None
    shadow: tuple[str, ...]
    now_us: int
