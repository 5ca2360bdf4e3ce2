"""The answer to a check: what becomes of the upload, which stage decided it, and when to come back."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gate.core.limits.limit import Limit, Room


class Verdict(StrEnum):
    """What becomes of the upload. `allow` and `review` let it in, all others refuse it."""

    ALLOW = "allow"
    REVIEW = "review"
    THROTTLE = "throttle"
    CHALLENGE = "challenge"
    DENY = "deny"
    PAUSED = "paused"

    @property
    def lets_in(self) -> bool:
        """True where the upload goes ahead, and therefore tokens move."""
        return self in _LETS_IN


_LETS_IN = frozenset((Verdict.ALLOW, Verdict.REVIEW))  # a set outside the class: members are slow to look up on it


class Stage(StrEnum):
    """The stage that decided, in order of precedence; `overload` is where a check is decided that was shed.

    `reservation` is where a check is decided whose upload id was checked before with other content.
    """

    BREAK_GLASS = "break_glass"
    DENY_LIST = "deny_list"
    PAUSE = "pause"
    OVERRIDE = "override"
    SCORE = "score"
    OVERLOAD = "overload"
    RESERVATION = "reservation"
    BUCKET = "bucket"
    DEFAULT = "default"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """One decision. `retry_after_us` is µs from now, None where waiting does not help.

    `degraded` lists the stores that could not be asked, such as `store`; the gate then decided by what it knows itself.
    `hot` names the hot fact that decided, by the key of its record. `reserved` tells whether a
    report is awaited. `room` is the emptiest bucket at `room_at_us`. `message` and `link` are what the pause that
    decided tells the uploader. `refused_by` is the limit that refused; None if none did, or if the policy no longer has it.
    """

    upload_id: str
    account: str
    class_: str
    verdict: Verdict
    stage: Stage
    reason: str
    retry_after_us: int | None
    pause: str | None
    policy: str
    board_rev: int
    risk: float | None
    shadow: tuple[str, ...]
    degraded: tuple[str, ...] = ()
    hot: str | None = None
    reserved: bool = False
    room: Room | None = None
    room_at_us: int = 0
    message: str = ""
    link: str = ""
    refused_by: Limit | None = None
