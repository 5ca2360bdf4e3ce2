"""One pause as a value: its fields, when it is in force, and the change that may wait for a second person.

A release is a pause's next revision, keeps its expiry and is final. A newer release of the software may write fields that
this one does not know. They are kept unchanged in `extra`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gate.core.duration import DAY_US, HOUR_US
from gate.core.pause.scope import NOBODY, Action, Exemption, InFlight, PauseMode, Scope

DEFAULT_DURATION_US = 4 * HOUR_US
MAX_DURATION_US = DAY_US
"""How long one person alone may pause."""


class PauseChange(StrEnum):
    """A change of a pause that may need a second person."""

    SET = "set"
    RELEASE = "release"
    EXTEND = "extend"


Extra = Mapping[str, bytes]
"""Fields of a newer release by name; each value is the JSON as it was read."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of a pause that waits for a second person. `expires_at_us` and `ramp_us` are the values it would set.

    `by` is the name that the proposer gave, `identity` the login that ran the command; empty where it is unknown.
    """

    change: PauseChange
    by: str
    at_us: int
    expires_at_us: int | None = None
    ramp_us: int | None = None
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """One entry of the kill switch. Times are µs since 1970; `id` is never reused, `rev` grows with each change.

    A pause without `starts_at_us` is in force as soon as it arrives, regardless of the clocks. `set_at_us` tells when it
    was written; only which uploads were under way by then depends on it. After its end a pause ramps down for `ramp_us`:
    the share of accounts that it still holds falls from all to none. `percent` is the share of accounts that it holds at
    all. `factor` belongs to a throttle. A machine's pause is a lease (`gate.core.pause.lease`). A pause whose `proposal`
    is to set it is not in force before a second person approves it. `public` is what answers tell the uploaders that the
    pause holds, `public_link` a link beside it. `identity` is the login that set it, empty where it is unknown. `salt`
    draws the accounts of `percent` (`gate.core.pause.ramp`); where it is empty, the id does.
    """

    id: str
    rev: int
    scope: Scope
    action: Action
    reason: str
    text: str
    owner: str
    starts_at_us: int | None
    expires_at_us: int
    released_at_us: int | None = None
    released_by: str | None = None
    set_at_us: int | None = None
    extra: Extra = field(default_factory=dict, hash=False)
    factor: float = 0.0
    percent: int = 100
    exempt: Exemption = NOBODY
    mode: PauseMode = PauseMode.ENFORCE
    in_flight: InFlight = InFlight.DRAIN
    ramp_us: int = 0
    machine: bool = False
    incident: str = ""
    approver: str | None = None
    emergency: str = ""
    proposal: Proposal | None = None
    public: str = ""
    public_link: str = ""
    identity: str = ""
    salt: str = ""

    def active(self, now_us: int) -> bool:
        """True from its start until it is released or expires. A ramp after that does not count."""
        return (
            self.released_at_us is None
            and now_us < self.expires_at_us
            and (self.starts_at_us is None or self.starts_at_us <= now_us)
            and not self.awaits_approval
        )

    @property
    def awaits_approval(self) -> bool:
        """True for a pause that does not act before a second person approves it."""
        return self.proposal is not None and self.proposal.change is PauseChange.SET

    @property
    def begins_at_us(self) -> int | None:
        """When it begins: its start, or when it was set."""
        return self.set_at_us if self.starts_at_us is None else self.starts_at_us

    @property
    def drawn_by(self) -> str:
        """The salt by which its share of the accounts is drawn."""
        return self.salt or self.id

    @property
    def ended_at_us(self) -> int:
        """When it stopped, or will stop, to hold every upload that it matches."""
        return self.expires_at_us if self.released_at_us is None else min(self.released_at_us, self.expires_at_us)

    @property
    def over_at_us(self) -> int:
        """When its ramp ends, too. A pause that only counted has none: it never held anyone."""
        return self.ended_at_us if self.mode is PauseMode.DRY_RUN else self.ended_at_us + self.ramp_us

    def begins_later(self, now_us: int) -> bool:
        """True if it has a start that is still to come."""
        return self.starts_at_us is not None and now_us < self.starts_at_us and self.released_at_us is None

    @property
    def never_began(self) -> bool:
        """True if it was released before its start."""
        begins_us, ended_us = self.starts_at_us, self.released_at_us
        return begins_us is not None and ended_us is not None and ended_us <= begins_us

    @property
    def has_ramp(self) -> bool:
        """True if accounts come back over a while once it has ended, as it held them until then."""
        return self.ended_at_us < self.over_at_us and not (self.awaits_approval or self.never_began)

    def ramping(self, now_us: int) -> bool:
        """True while it has ended and still holds a share of the accounts.

        A release counts also where `now_us` is of a clock that is behind the release: then it still holds all of them.
        """
        has_ended = self.released_at_us is not None or self.ended_at_us <= now_us
        return has_ended and self.has_ramp and now_us < self.over_at_us
