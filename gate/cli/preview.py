"""What a pause would have stopped in the last minutes, in words and numbers, from the gate's own counts."""

from __future__ import annotations

import msgspec

from gate.cli.addresses import Addresses
from gate.cli.http_json import get_json
from gate.core.duration import duration_text
from gate.core.pause.scope import Action, Scope
from gate.errors import UploadGateError

ASK_DEADLINE_S = 1.0
WINDOW_S = 900.0
LET_IN = ("allow", "review")
UNKNOWN = "what it would have met in the last 15 minutes is unknown"


class _Row(msgspec.Struct):
    decision: str
    count: int
    class_: str = msgspec.field(name="class")


class _Stats(msgspec.Struct):
    rows: list[_Row]
    uptime_s: float


def preview(addresses: Addresses, scope: Scope, action: Action) -> str:
    """One sentence for whoever is about to confirm. Never raises: not knowing is an answer."""
    try:
        return words(get_json(f"{addresses.admin}/v1/stats", ASK_DEADLINE_S), scope, action)
    except UploadGateError as error:
        return f"{UNKNOWN}: {error.problem}"


def words(stats: object, scope: Scope, action: Action) -> str:
    """The sentence for the answer of `/v1/stats`: counts by class since the gate started, let in or not.

    It counts by class alone; a scope that asks for more makes it unknown.
    """
    if scope.surfaces or scope.kinds or scope.countries:
        return f"{UNKNOWN}: the gate counts by class alone"
    try:
        counts = msgspec.convert(stats, _Stats)
    except msgspec.ValidationError as error:
        return f"{UNKNOWN}: the gate's counts cannot be read ({error})"
    let_in = [row for row in counts.rows if row.decision in LET_IN]
    total = sum(row.count for row in let_in)
    met = sum(row.count for row in let_in if not scope.classes or row.class_ in scope.classes)
    share = f" ({met / total:.0%})" if total else ""
    verb = {Action.STOP: "stopped", Action.CHALLENGE: "challenged", Action.REVIEW: "sent to review"}[action]
    since = duration_text(round(counts.uptime_s * 1_000_000))
    if counts.uptime_s <= WINDOW_S:
        return f"in the last {since} it would have {verb} {met} of {total} uploads let in{share}, seen by this gate"
    about = round(met / counts.uptime_s * WINDOW_S)
    of = round(total / counts.uptime_s * WINDOW_S)
    return (
        f"in 15 minutes it would have {verb} about {about} of {of} uploads let in{share}, "
        f"by this gate's average over the last {since}"
    )
