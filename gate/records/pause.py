"""A pause as JSON: its only format outside a process, and the only parser of it, which is strict.

    {"id": "p-7k2mq4xd", "rev": 3, "scope": {"classes": ["new"]}, "action": "stop", "reason": "raid", "text": "bots",
     "owner": "ann", "set_at": "2026-11-26T11:00:00Z", "expires_at": "2026-11-26T15:00:00Z"}

Boards (`gate.records.board_document`), a gate's `/v1/board`, `status -o json`, the controls topic and the break-glass
file all carry this object. Times are RFC 3339 with up to six digits of a second. Older documents have times in µs since
1970 under names that end in `_us`, which are read as well. A pause without `starts_at` is in force on receipt.

Control data is hostile input: a forged document could stop every upload or let all uploads in. Sizes and counts are
bounded here. Newer releases are expected: an unknown field of a pause is kept and written again. `requires` names the
fields without which the pause may not be obeyed: those that a release must know to hold no more uploads than were
meant.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from gate.core.duration import DAY_US
from gate.core.fields.text import is_hidden
from gate.core.pause.entry import Extra, Pause, Proposal
from gate.core.pause.ramp import MAX_RAMP_US
from gate.core.pause.scope import NOBODY, Exemption, PauseMode, Scope
from gate.errors import StateUnreadable
from gate.records.complaints import plain_complaint
from gate.records.pause_document import ExemptionDocument, PauseDocument, ProposalDocument, ScopeDocument
from gate.records.pause_public import link_problem, public_problem

VERSION: Final = 1
"""The version of documents that hold pauses."""
MAX_BYTES: Final = 256 * 1024
MAX_ID: Final = 64
MAX_NAME: Final = 256
MAX_TEXT: Final = 2_000
MAX_SCOPE: Final = 500
MAX_ACCOUNTS: Final = 2_000
MAX_REV: Final = 1 << 53
MAX_TIME_US: Final = 4_102_444_800_000_000
"""2100-01-01: a time beyond it is a mistake in units."""
MAX_LENGTH_US: Final = 366 * DAY_US
"""Longest pause that is read. `gate.app.operate` limits what people may set, which is shorter."""

_SECOND_US: Final = 1_000_000
_EXEMPT_SETS: Final = ("classes", "surfaces", "kinds", "countries", "accounts")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


REQUIRES: Final = "requires"
_FIELDS: Final = frozenset(PauseDocument.__struct_fields__)
NOT_UNDERSTOOD = (msgspec.DecodeError, ValueError, RecursionError, OverflowError)
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode_pause = msgspec.json.Decoder(PauseDocument).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode_pause(pause: Pause) -> bytes:
    """One pause as the JSON object that a document holds."""
    data = _encode(pause_struct(pause))
    if not pause.extra:
        return data
    fields = {name: msgspec.Raw(value) for name, value in pause.extra.items()}
    own = _required(pause)
    if own and REQUIRES in fields:
        others = msgspec.json.decode(fields[REQUIRES], type=list[str])
        fields[REQUIRES] = msgspec.Raw(_encode([*own, *others]))
    return _encode({**_decode_fields(data), **fields})


def decode_pause(raw: bytes, place: str = "pause") -> Pause:
    """The pause that `raw` holds. Raises StateUnreadable, naming the field after `place`."""
    try:
        read, fields = _decode_pause(raw), _decode_fields(raw)
    except NOT_UNDERSTOOD as error:
        raise StateUnreadable(f"{place}: {plain_complaint(error)}") from error
    unknown = {name: bytes(value) for name, value in fields.items() if name not in _FIELDS}
    missing = sorted(set(read.requires) - _FIELDS)
    if missing:
        raise out_of_bounds(f"{place}.requires", f"names {', '.join(missing)[:200]}, which this release does not know")
    _check_scope(read.scope, f"{place}.scope")
    if read.exempt is not None:
        _check_scope(read.exempt, f"{place}.exempt")
    pause = _pause(read, unknown, place)
    own = _required(pause)
    others = [name for name in read.requires if name not in own]
    if others:  # a newer release requires a field that this one would not
        pause = replace(pause, extra={**unknown, REQUIRES: _encode(others) if own else bytes(fields[REQUIRES])})
    _check(pause, place, "expires_at" if read.expires_at_us is None else "expires_at_us")
    return pause


def fingerprint(pause: Pause) -> str:
    """`ID@REV#HASH`. Two processes with the same content of the same revision get the same one, on any release."""
    fields = msgspec.json.decode(encode_pause(pause))
    return f"{pause.id}@{pause.rev}#{hashlib.sha256(_encode_sorted(fields)).hexdigest()[:8]}"


def pause_struct(pause: Pause) -> PauseDocument:
    """The pause as its document writes it, without the fields of a newer release."""
    scope, exempt, proposal = pause.scope, pause.exempt, pause.proposal
    return PauseDocument(
        id=pause.id,
        rev=pause.rev,
        scope=ScopeDocument(
            sorted(scope.classes),
            sorted(scope.surfaces),
            sorted(scope.kinds),
            sorted(scope.countries),
            sorted(scope.accounts),
            _seconds(scope.younger_than_us),
            scope.risk_from,
        ),
        action=pause.action,
        reason=pause.reason,
        text=pause.text,
        owner=pause.owner,
        set_at=instant(pause.set_at_us),
        starts_at=instant(pause.starts_at_us),
        expires_at=instant(pause.expires_at_us),
        released_at=instant(pause.released_at_us),
        released_by=pause.released_by,
        factor=pause.factor,
        percent=pause.percent,
        exempt=_exemption_struct(exempt) if exempt else None,
        mode=pause.mode,
        in_flight=pause.in_flight,
        ramp_seconds=pause.ramp_us // _SECOND_US,
        machine=pause.machine,
        incident=pause.incident,
        approver=pause.approver,
        emergency=pause.emergency,
        proposal=None if proposal is None else _proposal_struct(proposal),
        public=pause.public,
        public_link=pause.public_link,
        identity=pause.identity,
        salt=pause.salt,
        requires=_required(pause),
    )


def _required(pause: Pause) -> list[str]:
    """The fields without which a release may not obey this pause: it would hold more uploads than were meant."""
    needed = {
        "percent": pause.percent < 100,
        "exempt": bool(pause.exempt),
        "mode": pause.mode is PauseMode.DRY_RUN,
        "proposal": pause.awaits_approval,
    }
    return [name for name, is_needed in needed.items() if is_needed]


def _exemption_struct(exempt: Exemption) -> ExemptionDocument:
    return ExemptionDocument(
        sorted(exempt.classes),
        sorted(exempt.surfaces),
        sorted(exempt.kinds),
        sorted(exempt.countries),
        sorted(exempt.accounts),
        exempt.verified,
    )


def _proposal_struct(proposal: Proposal) -> ProposalDocument:
    at, expires_at = instant(proposal.at_us), instant(proposal.expires_at_us)
    assert at is not None
    ramp_seconds = _seconds(proposal.ramp_us)
    return ProposalDocument(proposal.change, proposal.by, at, expires_at, ramp_seconds, proposal.identity)


def _seconds(us: int | None) -> int | None:
    return None if us is None else us // _SECOND_US


def pause_document(pause: Pause, now_us: int) -> dict[str, Any]:
    """The pause for people and programs to read: its fields as written, and its state at `now_us`.

    `covers` is the scope in words, `active` says whether it is in force, `seconds_left` is the time until it expires.
    """
    return {
        **msgspec.json.decode(encode_pause(pause)),
        "covers": str(pause.scope),
        "active": pause.active(now_us),
        "ramping": pause.ramping(now_us),
        "seconds_left": round(max(pause.expires_at_us - now_us, 0) / 1_000_000, 1),
    }


SHOWN: Final = frozenset(("covers", "active", "ramping", "seconds_left"))
"""The fields that `pause_document` adds for reading; they are never stored."""


def instant_us(value: datetime | None) -> int | None:
    """µs since 1970. Raises ValueError for a time without an offset."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("has no offset from UTC; write it like 2026-11-26T15:00:00Z")
    return (value - _EPOCH) // _MICROSECOND


def instant(us: int | None) -> datetime | None:
    """The time as a datetime in UTC."""
    return None if us is None else _EPOCH + us * _MICROSECOND


def _pause(read: PauseDocument, extra: Extra, place: str) -> Pause:
    scope = read.scope
    starts_at_us = _either(read.starts_at, read.starts_at_us, f"{place}.starts_at")
    expires_at_us = _either(read.expires_at, read.expires_at_us, f"{place}.expires_at")
    if expires_at_us is None:
        raise out_of_bounds(f"{place}.expires_at", "is missing")
    return Pause(
        read.id,
        read.rev,
        _scope(scope),
        read.action,
        read.reason,
        read.text,
        read.owner,
        starts_at_us,
        expires_at_us,
        _either(read.released_at, read.released_at_us, f"{place}.released_at"),
        read.released_by,
        _either(read.set_at, None, f"{place}.set_at"),
        extra,
        read.factor,
        read.percent,
        NOBODY if read.exempt is None else _exemption(read.exempt),
        read.mode,
        read.in_flight,
        read.ramp_seconds * _SECOND_US,
        read.machine,
        read.incident,
        read.approver,
        read.emergency,
        None if read.proposal is None else _proposal(read.proposal, f"{place}.proposal"),
        read.public,
        read.public_link,
        read.identity,
        read.salt,
    )


def _scope(read: ScopeDocument) -> Scope:
    younger_us = None if read.younger_than_seconds is None else read.younger_than_seconds * _SECOND_US
    return Scope(
        frozenset(read.classes),
        frozenset(read.surfaces),
        frozenset(read.kinds),
        frozenset(read.countries),
        frozenset(read.accounts),
        younger_us,
        read.risk_from,
    )


def _exemption(read: ExemptionDocument) -> Exemption:
    return Exemption(
        frozenset(read.classes),
        frozenset(read.surfaces),
        frozenset(read.kinds),
        frozenset(read.countries),
        frozenset(read.accounts),
        read.verified,
    )


def _proposal(read: ProposalDocument, place: str) -> Proposal:
    at_us = _either(read.at, None, f"{place}.at")
    if at_us is None:
        raise out_of_bounds(f"{place}.at", "is missing")
    _check_name(read.by, f"{place}.by", MAX_NAME)
    ramp_us = None if read.ramp_seconds is None else read.ramp_seconds * _SECOND_US
    expires_at_us = _either(read.expires_at, None, f"{place}.expires_at")
    if read.identity:
        _check_name(read.identity, f"{place}.identity", MAX_NAME)
    return Proposal(read.change, read.by, at_us, expires_at_us, ramp_us, read.identity)


def _either(at: datetime | None, at_us: int | None, place: str) -> int | None:
    if at is not None and at_us is not None:
        raise out_of_bounds(place, "occurs twice, once in µs")
    try:
        us = instant_us(at) if at_us is None else at_us
    except ValueError as error:
        raise out_of_bounds(place, str(error)) from error
    if us is not None and not 0 <= us < MAX_TIME_US:
        raise out_of_bounds(place if at_us is None else f"{place}_us", "is not between 1970 and 2100")
    return us


def _check(pause: Pause, place: str, expiry: str) -> None:
    _check_name(pause.id, f"{place}.id", MAX_ID)
    _check_name(pause.reason, f"{place}.reason", MAX_ID)
    _check_name(pause.owner, f"{place}.owner", MAX_NAME)
    if len(pause.text) > MAX_TEXT:
        raise out_of_bounds(f"{place}.text", f"is longer than {MAX_TEXT}")
    if not 1 <= pause.rev <= MAX_REV:
        raise out_of_bounds(f"{place}.rev", "is not a positive revision")
    begins_us = pause.set_at_us if pause.starts_at_us is None else pause.starts_at_us
    if begins_us is None:
        raise out_of_bounds(f"{place}.set_at", "is missing, and there is no `starts_at` either")
    if pause.starts_at_us is not None and pause.expires_at_us <= pause.starts_at_us:
        raise out_of_bounds(f"{place}.{expiry}", "is not after the start")
    if pause.expires_at_us - begins_us > MAX_LENGTH_US:
        raise out_of_bounds(f"{place}.{expiry}", "is more than a year after the start")
    if pause.released_by is not None:
        if pause.released_at_us is None:
            raise out_of_bounds(f"{place}.released_by", "is given without a time of release")
        _check_name(pause.released_by, f"{place}.released_by", MAX_NAME)
    for name, longest in (("identity", MAX_NAME), ("salt", MAX_ID)):
        if getattr(pause, name):
            _check_name(getattr(pause, name), f"{place}.{name}", longest)
    _check_effect(pause, place)


def _check_effect(pause: Pause, place: str) -> None:
    if not 0.0 <= pause.factor < 1.0:
        raise out_of_bounds(f"{place}.factor", "is not from 0 to below 1")
    if not 1 <= pause.percent <= 100:
        raise out_of_bounds(f"{place}.percent", "is not from 1 to 100")
    if not 0 <= pause.ramp_us <= MAX_RAMP_US:
        raise out_of_bounds(f"{place}.ramp_seconds", "is not from 0 to an hour")
    for name in ("incident", "emergency"):
        if len(getattr(pause, name)) > MAX_TEXT:
            raise out_of_bounds(f"{place}.{name}", f"is longer than {MAX_TEXT}")
    for name, problem in (("public", public_problem(pause.public)), ("public_link", link_problem(pause.public_link))):
        if problem is not None:
            raise out_of_bounds(f"{place}.{name}", problem)
    if pause.approver is not None:
        _check_name(pause.approver, f"{place}.approver", MAX_NAME)
    younger_us, risk = pause.scope.younger_than_us, pause.scope.risk_from
    if younger_us is not None and not 0 < younger_us < MAX_TIME_US:
        raise out_of_bounds(f"{place}.scope.younger_than_seconds", "is not a length of time")
    if risk is not None and not 0.0 <= risk <= 1.0:
        raise out_of_bounds(f"{place}.scope.risk_from", "is not from 0 to 1")


def _check_scope(scope: ScopeDocument | ExemptionDocument, place: str) -> None:
    for name in _EXEMPT_SETS:
        values: list[str] = getattr(scope, name)
        most = MAX_ACCOUNTS if name == "accounts" else MAX_SCOPE
        if len(values) > most:
            raise out_of_bounds(f"{place}.{name}", f"has more than {most} values")
        for value in values:
            # of accounts, what checks accept: an id with a character of a newer Unicode would keep a list from being paused
            cannot_be_shown = is_hidden(value) if name == "accounts" else not value.isprintable()
            _check_text(value, f"{place}.{name}", MAX_NAME, cannot_be_shown)


def _check_name(value: str, place: str, longest: int) -> None:
    _check_text(value, place, longest, not value.isprintable())


def _check_text(value: str, place: str, longest: int, cannot_be_shown: bool) -> None:
    if not value or len(value) > longest:
        raise out_of_bounds(place, f"is empty or longer than {longest}")
    if cannot_be_shown:
        raise out_of_bounds(place, "has a character that cannot be shown")


def out_of_bounds(place: str, what: str) -> StateUnreadable:
    return StateUnreadable(f"`{place}` {what}")
