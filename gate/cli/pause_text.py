"""A pause and a scope as sentences and lines for people, at the width of their terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime

from gate.core.duration import duration_text, left_text
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.scope import Scope
from gate.core.pause.wording import effect_of, narrowing
from gate.core.terminal import terminal_safe

NARROWEST = 40
LONGEST_TEXT = 240
GAP = "  "
_WAITS = {
    PauseChange.SET: "NOT IN FORCE, waits for a second person",
    PauseChange.RELEASE: "its release waits for a second person",
    PauseChange.EXTEND: "its extension{to} waits for a second person",
}


def terminal_width() -> int:
    """Columns of the terminal: COLUMNS if it is set, else the terminal's width, else 80."""
    return max(shutil.get_terminal_size().columns, NARROWEST)


def pause_lines(pause: Pause, now_us: int, width: int) -> list[str]:
    """A pause with id, action, scope, reason, owner and time left: one line if it fits, else further indented lines."""
    return lines_of(pause_fields(pause, now_us), width)


def pause_fields(pause: Pause, now_us: int, ends: bool = False) -> list[str]:
    """The fields of a pause for people, the most important first; with `ends` also when it ends by this terminal's clock."""
    text = f' "{textwrap.shorten(pause.text, LONGEST_TEXT, placeholder="…")}"' if pause.text else ""
    left = left_text(pause.expires_at_us - now_us)
    fields = [
        pause.id,
        effect_of(pause.action, pause.factor, pause.mode),
        str(pause.scope),
        *narrowing(pause.percent, pause.exempt),
        f"{pause.reason}{text}",
        f"by {pause.owner}{' (a machine)' if pause.machine else ''}",
        f"{left} left",
        *([f"until {clock_time(pause.expires_at_us, now_us)}"] if ends else []),
    ]
    if pause.public:
        fields.append(public_text(pause.public, pause.public_link))
    if pause.incident:
        fields.append(pause.incident)
    if pause.emergency:
        fields.append(f"EMERGENCY: {pause.emergency}")
    if pause.proposal is not None:
        waits = pause.proposal
        to = "" if waits.expires_at_us is None else f" to {clock_time(waits.expires_at_us, now_us)}"
        fields.append(f"{_WAITS[waits.change].format(to=to)}, proposed by {waits.by}")
    return fields


def proposal_text(proposal: Proposal, now_us: int) -> str:
    """What a proposal would make of its pause, such as `to let it last until 17:30 +01:00 (in 4h)`."""
    match proposal.change:
        case PauseChange.SET:
            return "to set it"
        case PauseChange.RELEASE:
            back = f", with accounts back over {duration_text(proposal.ramp_us)}" if proposal.ramp_us else ""
            return f"to release it{back}"
        case PauseChange.EXTEND:
            return f"to let it last until {clock_time(proposal.expires_at_us or 0, now_us)}"


def local_time(us: int) -> str:
    """A time in the zone of this terminal with its offset, such as `2026-11-26 17:30:05 +01:00`."""
    at = datetime.fromtimestamp(us / 1_000_000, UTC).astimezone()
    offset = at.strftime("%z")
    return f"{at:%Y-%m-%d %H:%M:%S} {offset[:3]}:{offset[3:5]}"


def clock_time(us: int, now_us: int) -> str:
    """A time for people: the clock's with its offset, the date only if it is another day, and how far away it is.

    Such as `17:30 +01:00 (in 9m)`.
    """
    full = local_time(us)
    day, clock, offset = full.split(" ")
    today = local_time(now_us).split(" ")[0]
    far = left_text(abs(us - now_us))
    away = f"in {far}" if us >= now_us else f"{far} ago"
    return f"{'' if day == today else day + ' '}{clock[:5]} {offset} ({away})"


def lines_of(fields: Sequence[str], width: int) -> list[str]:
    """The fields side by side. Fields that do not fit into `width` continue in indented lines; no field is cut."""
    lines: list[str] = []
    line = ""
    for field in map(terminal_safe, fields):
        joined = f"{line}{GAP}{field}" if line else field
        if len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        wrapped = textwrap.wrap(field, width, initial_indent=GAP * 2 if lines else "", subsequent_indent=GAP * 2)
        *full, line = wrapped or [""]  # a field of blanks wraps to nothing
        lines += full
    return [*lines, line] if line else lines


def public_text(text: str, link: str) -> str:
    """What a pause tells uploaders, as a field."""
    return f'tells uploaders "{textwrap.shorten(text, LONGEST_TEXT, placeholder="…")}"{f" {link}" if link else ""}'


def uploads_of(scope: Scope) -> str:
    """The uploads a scope matches, such as `uploads of class new` or `all uploads, platform-wide`."""
    return "uploads platform-wide" if scope.platform_wide else f"uploads of {scope}"
