"""Estimates how many uploads a pause would have stopped in the last minutes, from a gate's own counts."""

from __future__ import annotations

import msgspec

from gate.cli.addresses import Addresses
from gate.cli.http_json import admin_token, get_json
from gate.core.duration import duration_text
from gate.core.fields.labels import fold_label
from gate.core.pause.scope import Action, Scope
from gate.errors import UploadGateError

FETCH_WITHIN_S = 0.5
WINDOW_S = 900.0
LET_IN = ("allow", "review")
UNKNOWN = "what it would have met in the last 15 minutes is unknown"
_VERBS = {Action.STOP: "stopped", Action.CHALLENGE: "challenged", Action.REVIEW: "sent to review"}


class _Row(msgspec.Struct):
    decision: str
    count: int
    class_: str = msgspec.field(name="class")


class _Stats(msgspec.Struct):
    rows: list[_Row]
    uptime_s: float


def preview(addresses: Addresses, scope: Scope, action: Action) -> list[str]:
    """Sentences for an operator who is about to pause. Never raises: if the effect is unknown, a sentence says so."""
    if addresses.admin is None:
        return [f"{UNKNOWN}: nothing names a gate's admin port, as --admin would"]
    try:
        stats = get_json(f"{addresses.admin}/v1/stats", FETCH_WITHIN_S, admin_token())
    except UploadGateError as error:
        return [f"{UNKNOWN}: {error.problem}"]
    return [preview_sentence(stats, scope, action), *unmet_warnings(stats, scope)]


def preview_sentence(stats: object, scope: Scope, action: Action) -> str:
    """The sentence for a response of `/v1/stats`, which counts uploads by class since the gate started.

    The gate counts by class only: the effect of a scope that names more is unknown.
    """
    if scope.surfaces or scope.kinds or scope.countries:
        return f"{UNKNOWN}: the gate counts by class alone"
    counts = _read(stats)
    if isinstance(counts, str):
        return f"{UNKNOWN}: the gate's counts cannot be read ({counts})"
    let_in = [row for row in counts.rows if row.decision in LET_IN]
    total = sum(row.count for row in let_in)
    met = sum(row.count for row in let_in if not scope.classes or fold_label(row.class_) in scope.classes)
    share = f" ({met / total:.0%})" if total else ""
    since = duration_text(round(counts.uptime_s * 1_000_000))
    if counts.uptime_s <= WINDOW_S:
        return f"in the last {since} it would have {_VERBS[action]} {met} of {total} uploads let in{share}, seen by this gate"
    about = round(met / counts.uptime_s * WINDOW_S)
    of = round(total / counts.uptime_s * WINDOW_S)
    return (
        f"in 15 minutes it would have {_VERBS[action]} about {about} of {of} uploads let in{share}, "
        f"by this gate's average over the last {since}"
    )


def unmet_warnings(stats: object, scope: Scope) -> list[str]:
    """A sentence for each class of the scope of which this gate has decided no upload."""
    counts = _read(stats)
    if isinstance(counts, str) or not counts.rows:
        return []
    met = {fold_label(row.class_) for row in counts.rows if row.count}
    since = duration_text(round(counts.uptime_s * 1_000_000))
    return [
        f"warning: no upload of class {name} reached this gate in the last {since}; is the class spelled right?"
        for name in sorted(scope.classes - met)
    ]


def _read(stats: object) -> _Stats | str:
    """The counts, or the reason why they cannot be read."""
    try:
        return msgspec.convert(stats, _Stats)
    except msgspec.ValidationError as error:
        return str(error)
