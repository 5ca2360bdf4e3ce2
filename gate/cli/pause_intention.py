"""What a new pause will do, in full: as sentences before it is confirmed, and as JSON of a dry run."""

from __future__ import annotations

from gate.app.operate import Details
from gate.app.permission import Authority, permitted
from gate.cli.pause_text import public_text, uploads_of
from gate.core.duration import duration_text
from gate.core.pause.entry import Pause, PauseChange
from gate.core.pause.four_eyes import MEANINGS, TwoPersonRule, broken_rules
from gate.core.pause.ramp import default_ramp_us
from gate.core.pause.scope import Action, InFlight, PauseMode, Scope
from gate.core.pause.wording import effect_on, narrowing
from gate.errors import ControlRefused, NotPermitted

Wanted = tuple[Scope, Action, str, str, str, int]
"""Scope, action, reason, text, owner and length in µs of a new pause."""

_SECOND_US = 1_000_000
_UNDER_WAY = {
    InFlight.DRAIN: "uploads that began before it may end",
    InFlight.ABORT: "uploads that began before it are held too",
}


def intention_lines(wanted: Wanted, details: Details, place: str) -> list[str]:
    """Everything that will be in force: first what is held, for how long, why and by whom, then the rest."""
    scope, action, reason, text, by, for_us = wanted
    start_us = details.starts_in_us
    begins = "" if start_us is None else f", beginning in {duration_text(start_us)}"
    first = ", ".join([
        effect_on(uploads_of(scope), action, details.factor, details.mode),
        *narrowing(details.percent, details.exempt),
    ])  # fmt: skip
    comma = "," if narrowing(details.percent, details.exempt) else ""
    return [
        f"{first}{comma} for {duration_text(for_us)}{begins}, reason {reason}, by {by}"
        f"{' as a machine' if details.machine else ''}, {place}",
        f"  {_effect_on_those_under_way(details, for_us)}",
        *([f'  message "{text}"'] if text else []),
        *([f"  {public_text(details.public, details.public_link)}"] if details.public else []),
        *([f"  incident {details.incident}"] if details.incident else []),
    ]


def first_alone(wanted: Wanted, details: Details, authority: Authority) -> list[str]:
    """A sentence on a pause that one person alone may set for a part of its time only; none for any other."""
    for_us = wanted[5]
    pause = _pause(wanted, details)
    broken = broken_rules(PauseChange.SET, pause, authority.rules)
    alone_us = authority.alone_us
    if not broken or TwoPersonRule.LONG in broken or authority.propose or authority.emergency:
        return []
    if not 0 < alone_us < for_us:
        return []
    why = " and ".join(MEANINGS[rule] for rule in broken)
    return [
        f"note: a pause that {why} needs a second person after {duration_text(alone_us)}: it is in force at once, and lasts "
        f"{duration_text(for_us)} once they `approve` it, or with --emergency WHY"
    ]


def dry_run_outcome(wanted: Wanted, details: Details, authority: Authority) -> str:
    """What would become of the pause if it were set: that it would be refused, or wait; empty where it would be in force."""
    pause = _pause(wanted, details)
    try:
        set_ = permitted(authority, PauseChange.SET, pause, None, pause.owner, details.machine, 0)
    except (ControlRefused, NotPermitted) as refused:
        return f"it would be refused: {refused}"
    return "it would wait for a second person, who approves it" if set_.awaits_approval else ""


def _pause(wanted: Wanted, details: Details) -> Pause:
    """The pause as one that is set at time 0."""
    scope, action, reason, text, by, for_us = wanted
    return Pause(
        "p", 1, scope, action, reason, text, by, None, for_us, set_at_us=0, exempt=details.exempt, mode=details.mode,
        machine=details.machine, ramp_us=_ramp_us(details, for_us),
    )  # fmt: skip


def dry_run_document(wanted: Wanted, details: Details) -> dict[str, object]:
    """The pause that a dry run did not set, by the names of a pause's fields."""
    scope, action, reason, text, owner, for_us = wanted
    exempt = details.exempt
    sets = {name: getattr(exempt, name) for name in scope.sets}
    start_us = details.starts_in_us
    return {
        "id": None,
        "dry_run": True,
        "scope": {name: sorted(values) for name, values in scope.sets.items() if values},
        "covers": str(scope),
        "action": action.value,
        "factor": details.factor,
        "percent": details.percent,
        "exempt": {name: sorted(values) for name, values in sets.items() if values} | {"verified": exempt.verified},
        "mode": details.mode.value,
        "in_flight": details.in_flight.value,
        "reason": reason,
        "text": text,
        "owner": owner,
        "machine": details.machine,
        "starts_in_seconds": None if start_us is None else start_us / _SECOND_US,
        "for_seconds": for_us / _SECOND_US,
        "ramp_seconds": _ramp_us(details, for_us) // _SECOND_US,
        "incident": details.incident,
        "public": details.public,
        "public_link": details.public_link,
    }


def _ramp_us(details: Details, for_us: int) -> int:
    return default_ramp_us(for_us) if details.ramp_us is None else details.ramp_us


def _effect_on_those_under_way(details: Details, for_us: int) -> str:
    if details.mode is PauseMode.DRY_RUN:
        return "it holds no upload before `extend ID --enforce`"
    return f"{_UNDER_WAY[details.in_flight]}; {_return(_ramp_us(details, for_us))}"


def _return(ramp_us: int) -> str:
    if not ramp_us:
        return "after it all accounts come back at once"
    return f"after it accounts come back over {duration_text(ramp_us)}"
