"""Says how many uploads a pause would have stopped in the last 15 minutes, from the counts of all gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from gate.app.operate import Operate
from gate.app.recent_uploads import summed
from gate.cli.addresses import Addresses
from gate.cli.http_json import admin_token, get_json
from gate.cli.output import counted
from gate.core.duration import duration_text
from gate.core.fields.labels import fold_label
from gate.core.pause.scope import Action, Scope
from gate.errors import UploadGateError
from gate.ports.boards import LIVE_WITHIN_US, Acknowledgement

FETCH_WITHIN_S = 0.5
WINDOW_S = 900.0
LET_IN = ("allow", "review")
UNKNOWN = "what it would have met in the last 15 minutes is unknown"
BY_CLASS = "gates count by class alone"
_VERBS = {
    Action.STOP: "stopped",
    Action.ALLOW_ONLY: "stopped, but for verified accounts,",
    Action.THROTTLE: "throttled",
    Action.CHALLENGE: "challenged",
    Action.REVIEW: "sent to review",
}


class _Row(msgspec.Struct):
    decision: str
    count: int
    class_: str = msgspec.field(name="class")


class _Stats(msgspec.Struct):
    rows: list[_Row]
    uptime_s: float


async def live_gates_of(operate: Operate) -> list[Acknowledgement]:
    """The live gates, with what each counted lately. Raises StoreUnavailable."""
    return (await operate.gates(LIVE_WITHIN_US)).live()


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The part of its scope that a pause does not hold: all but `percent` of the accounts, and uploads that it
    `exempts`. A pause that only `counts` holds nothing.
    """

    percent: int = 100
    exempts: bool = False
    counts: bool = False


WHOLE = Narrowed()


def preview(
    gates: Sequence[Acknowledgement], addresses: Addresses, scope: Scope, action: Action, narrowed: Narrowed = WHOLE
) -> list[str]:
    """Sentences for an operator who is about to pause. Never raises: if the effect is unknown, a sentence says so.

    The counts of all gates come with their acknowledgements. Where there are none, those of the gate at hand count.
    """
    counting = [said for said in gates if said.recent_s]
    if counting:
        return recent_sentences(counting, len(gates), scope, action, narrowed)
    if addresses.admin is None:
        return [f"{UNKNOWN}: nothing names a gate's admin port, as --admin would"]
    try:
        stats = get_json(f"{addresses.admin}/v1/stats", FETCH_WITHIN_S, admin_token())
    except UploadGateError as error:
        return [f"{UNKNOWN}: {error.problem}"]
    return [preview_sentence(stats, scope, action), *_of_those(narrowed), *unmet_warnings(stats, scope)]


def recent_sentences(
    gates: Sequence[Acknowledgement], live: int, scope: Scope, action: Action, narrowed: Narrowed = WHOLE
) -> list[str]:
    """What the pause would have done in the last 15 minutes over `gates`, by class, and how much of it was harmless."""
    counts = summed([said.recent for said in gates])
    total = sum(let_in for _, let_in, _ in counts.values())
    held = {name: row for name, row in counts.items() if not scope.classes or fold_label(name) in scope.classes}
    met, fine = sum(row[1] for row in held.values()), sum(row[2] for row in held.values())
    since = duration_text(max(said.recent_s for said in gates) * 1_000_000)
    if scope.accounts:  # all uploads of a class bound those of a few accounts, and say nothing of them
        return [f"what it would have met in the last {since} is unknown: {BY_CLASS}", *_of_those(narrowed)]
    narrower = _names_more(scope)
    bound = "at most " if narrower or narrowed.percent < 100 or narrowed.exempts else ""
    share = f" ({met / total:.0%})" if total else ""
    missing = f", without the {live - len(gates)} that have not counted yet" if live > len(gates) else ""
    said = (
        f"in the last {since} it would have {_VERBS[action]} {bound}{met:,} of {total:,} uploads let in{share}, as "
        f"{counted(len(gates), 'gate')} counted{missing}"
    )
    lines = [said]
    if met:
        classes = ", ".join(
            f"{name} {row[1]:,}" for name, row in sorted(held.items(), key=lambda pair: -pair[1][1]) if row[1]
        )
        lines.append(
            f"by class: {classes}; {fine / met:.0%} of them are of accounts without a score or with a harmless one"
        )
    if narrower:
        lines.append(f"{BY_CLASS}; this pause has a narrower scope, so it would have held at most this many")
    lines += _of_those(narrowed, met)
    reached = {fold_label(name) for name, row in counts.items() if row[0]}
    return lines + [
        f"warning: no upload of class {name} reached any gate in the last {since}; is the class spelled right?"
        for name in sorted(scope.classes - reached)
        if counts
    ]


def _names_more(scope: Scope) -> bool:
    """True for a scope that names more than classes, by which gates count."""
    return replace(scope, classes=frozenset()) != Scope()


def _of_those(narrowed: Narrowed, met: int | None = None) -> list[str]:
    """What the counts of the whole scope say of a pause that leaves a part of it alone."""
    lines = []
    if narrowed.percent < 100:
        about = "" if met is None else f", about {round(met * narrowed.percent / 100):,}"
        lines.append(f"of those it holds the uploads of {narrowed.percent}% of the accounts{about}")
    if narrowed.exempts:
        lines.append("what it exempts is counted in, so it would have held fewer")
    if narrowed.counts:
        lines.append("it only counts, and holds none of them")
    return lines


def preview_sentence(stats: object, scope: Scope, action: Action) -> str:
    """The sentence for a response of `/v1/stats`, which counts uploads by class since the gate started.

    The gate counts by class only: the effect of a scope that names more is unknown.
    """
    if _names_more(scope):
        return f"{UNKNOWN}: {BY_CLASS}"
    counts = _read(stats)
    if isinstance(counts, str):
        return f"{UNKNOWN}: the gate's counts cannot be read ({counts})"
    let_in = [row for row in counts.rows if row.decision in LET_IN]
    total = sum(row.count for row in let_in)
    met = sum(row.count for row in let_in if not scope.classes or fold_label(row.class_) in scope.classes)
    share = f" ({met / total:.0%})" if total else ""
    since = duration_text(round(counts.uptime_s * 1_000_000))
    if counts.uptime_s <= WINDOW_S:
        of_all = f"{met:,} of {total:,} uploads let in{share}"
        return f"in the last {since} it would have {_VERBS[action]} {of_all}, as this gate counted"
    about = round(met / counts.uptime_s * WINDOW_S)
    of = round(total / counts.uptime_s * WINDOW_S)
    return (
        f"in 15 minutes it would have {_VERBS[action]} about {about:,} of {of:,} uploads let in{share}, "
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
