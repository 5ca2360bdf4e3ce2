"""The fields of a pause's JSON object, with their types; `gate.records.pause` checks their bounds."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gate.core.pause.entry import PauseChange
from gate.core.pause.scope import Action, InFlight, PauseMode


class ScopeDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scope: each set that is given must contain the upload's value."""

    classes: list[str] = []
    surfaces: list[str] = []
    kinds: list[str] = []
    countries: list[str] = []
    accounts: list[str] = []
    younger_than_seconds: int | None = None
    risk_from: float | None = None


class ExemptionDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The uploads that a pause leaves alone: those with a value in any of the sets."""

    classes: list[str] = []
    surfaces: list[str] = []
    kinds: list[str] = []
    countries: list[str] = []
    accounts: list[str] = []
    verified: bool = False


class ProposalDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change that waits for a second person."""

    change: PauseChange
    by: str
    at: datetime
    expires_at: datetime | None = None
    ramp_seconds: int | None = None
    identity: str = ""


class PauseDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One pause. A field that is not listed here belongs to a newer release; `…_us` are times of older documents."""

    id: str
    rev: int
    scope: ScopeDocument
    action: Action
    reason: str
    text: str
    owner: str
    set_at: datetime | None = None
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    released_at: datetime | None = None
    released_by: str | None = None
    factor: float = 0.0
    percent: int = 100
    exempt: ExemptionDocument | None = None
    mode: PauseMode = PauseMode.ENFORCE
    in_flight: InFlight = InFlight.DRAIN
    ramp_seconds: int = 0
    machine: bool = False
    incident: str = ""
    approver: str | None = None
    emergency: str = ""
    proposal: ProposalDocument | None = None
    public: str = ""
    public_link: str = ""
    identity: str = ""
    salt: str = ""
    requires: list[str] = []
    starts_at_us: int | None = None
    expires_at_us: int | None = None
    released_at_us: int | None = None
