"""The text of `dlq` commands for people: the remedy for each reason, and an event's bytes as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from streams.core.events import MAX_EVENT_BYTES

REMEDIES: Final[Mapping[str, str]] = {
    "value.empty": "The sender wrote a record without a value. Send each event as a JSON object.",
    "size.exceeded": f"The event is larger than {MAX_EVENT_BYTES // 1024} KiB. Shorten its text and links at the sender.",
    "json.malformed": "The value is not JSON. Find the sender that writes to this topic in another format.",
    "type.unknown": "Send one of the types attempted, completed, removed, reported, challenged.",
    "field.missing": "The sender left out a required field: type, id, at or account.id.",
    "field.invalid": "Correct the field named above at the sender; config/schemas has the schema.",
    "id.too_long": "Ids have at most 256 bytes. Send a shorter id, such as a hash of it.",
    "clock.future": "The sender's clock is ahead; where this concerns all senders, the broker's is behind. Correct it; the event "
    "can be replayed once its time has passed.",
    "clock.absurd": "`at` is before 1970: the sender's clock or its unit is wrong.",
    "key.mismatch": "The sender keys its records by something other than account.id. A replay corrects the key.",
    "event.unprocessable": "A fault of the worker. Report it with this event; replay it with a release that has the correction.",
}
OTHER_REASON: Final = "This release does not know the reason; a newer one wrote the letter."
BYTES_A_LINE: Final = 16
MAX_HEX_LINES: Final = 64


def remedy(reason: str) -> str:
    """The remedy for events with this reason."""
    return REMEDIES.get(reason, OTHER_REASON)


def selected(reason: str | None, partition: int | None = None, since: str | None = None) -> str:
    """How a sentence that there are no letters goes on, by the options that were given: it corrects a misspelt reason."""
    where = "" if partition is None else f" of partition {partition}"
    when = "" if since is None else f" written since {since}"
    return f"{where}{when}{_of_reason(reason)}"


def _of_reason(reason: str | None) -> str:
    if reason is None:
        return ""
    if reason in REMEDIES:
        return f" of the reason {reason}"
    near = get_close_matches(reason, REMEDIES, n=1)
    meant = f"did you mean {near[0]}?" if near else f"reasons are {', '.join(REMEDIES)}"
    return f" of the reason {reason}, which this release does not have; {meant}"


def event_lines(event: bytes) -> list[str]:
    """An event for people: JSON with one field a line, other text as it is, else its first bytes in hexadecimal.

    The lines are not safe for a terminal yet.
    """
    if not event:
        return ["(no value)"]
    try:
        text = event.decode()
    except UnicodeDecodeError:
        return hex_lines(event)
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False).split("\n")
    except (ValueError, RecursionError):
        return text.split("\n")


def hex_lines(event: bytes) -> list[str]:
    """The first KiB, 16 bytes a line, beside the printable ASCII in it."""
    lines = []
    for at in range(0, min(len(event), BYTES_A_LINE * MAX_HEX_LINES), BYTES_A_LINE):
        part = event[at : at + BYTES_A_LINE]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:04x}  {part.hex(' '):<47}  {shown}")
    rest = len(event) - BYTES_A_LINE * MAX_HEX_LINES
    return lines if rest <= 0 else [*lines, f"… {rest:,} more bytes"]
