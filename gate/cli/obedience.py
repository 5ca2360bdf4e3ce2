"""Reports which gates obey a change of the board, and queries over HTTP the gates that no longer acknowledge.

A gate that is cut off from Redis goes on with the last board it knew. It acknowledges nothing and still lets in the
uploads that a new pause should stop. So each such gate is queried over HTTP, and gates that do not answer are named.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from gate.app.converge import (
    HEARD_WITHIN_US,
    Convergence,
    GateResult,
    GateState,
    clock_differs,
    is_lifted,
    state_by,
)
from gate.cli.addresses import Addresses
from gate.cli.http_json import get_json
from gate.cli.in_threads import in_threads
from gate.cli.pause_text import clock_time, local_time
from gate.core.duration import left_text
from gate.core.pause.entry import Pause
from gate.errors import NotConverged, UploadGateError
from gate.ports.boards import Acknowledgement

ANSWER_WITHIN_S = 0.5
AT_MOST_S = 1.0
"""How long one gate may take in all, with the look-up of its name and an answer that comes byte by byte."""
ASK_AGAIN_S = 0.05
NAMED = 10
"""More gates of a kind than this are counted in a message, not named."""
AT_ONCE = 128
"""So many gates are queried at a time: hundreds that are gone, as after a rollout, are through within the wait."""


async def query_unheard(
    result: Convergence, deadline_s: float, lapsed: Sequence[Acknowledgement] = ()
) -> tuple[Convergence, list[Acknowledgement]]:
    """`result` plus the unheard gates that answer over HTTP, and the gates that do not answer there either.

    A gate that answers and does not obey yet is queried again until `deadline_s` seconds after the start of the wait:
    the change may reach it a moment later. `lapsed` are gates that no longer count, as they were not heard of for five
    minutes. Most are gone. One that answers still decides about uploads, so it counts.
    """
    clock = asyncio.get_running_loop().time
    began = clock() - result.seconds
    known = {gate.said.gate for gate in (*result.gates, *result.unheard)}
    heard_lately = [gate.said for gate in result.unheard]
    asked = heard_lately + [said for said in lapsed if said.gate not in known]
    answered: dict[str, GateResult] = {}  # by process
    late: Sequence[Acknowledgement] = asked
    passed = result.seconds
    while late:
        answers = await in_threads([partial(_answer_of, said, result) for said in late], AT_ONCE, AT_MOST_S)
        passed = clock() - began
        for said, told in zip(late, answers, strict=True):
            if told is not None:
                state = state_by(told, result.change, result.accepted)
                answered[said.process] = GateResult(told, state, None if state is GateState.LATE else passed)
        late = [said for said in late if said.process in answered and not answered[said.process].obeys]
        if passed >= deadline_s:
            break
        if late:
            await asyncio.sleep(ASK_AGAIN_S)

    states = [answered[said.process] for said in asked if said.process in answered]
    gates = sorted((*result.gates, *states), key=lambda gate: gate.said.process)
    unheard = [said for said in heard_lately if said.process not in answered]
    return replace(result, gates=tuple(gates), seconds=passed if states else result.seconds), unheard


def convergence_json(result: Convergence, unheard: Sequence[Acknowledgement]) -> dict[str, object]:
    """The gates that obey and those that do not, as the JSON that `pause` and `release` print."""
    complete = result.complete and not unheard
    return {
        "gates": [
            {
                "gate": gate.said.gate,
                "url": gate.said.url,
                "rev": gate.said.rev,
                "obeys": gate.obeys,
                "on_disk": gate.said.on_disk,
                "seconds": None if gate.seconds is None else round(gate.seconds, 4),
            }
            for gate in result.gates
        ],
        "accepted_to_obeyed_seconds": round(result.seconds, 4) if complete else None,
        "left": [gate.said.gate for gate in result.left],
        "silent": [{"gate": gate.gate, "url": gate.url, "rev": gate.rev} for gate in unheard],
        "unreadable": [{"gate": entry.gate, "why": entry.why} for entry in result.unreadable],
    }


def obeyed_sentence(act: str, result: Convergence, store: str = "Redis", now_us: int | None = None) -> str:
    """The sentence that says all gates obey `act`, such as `pause p-…`, and when it begins if that is after `now_us`."""
    change, count = result.change, len(result.gates)
    after = f"{result.seconds:.2f} s after {store} accepted it"
    starts_us = change.starts_at_us
    waits = now_us is not None and starts_us is not None and starts_us > now_us and change.released_at_us is None
    start = f"; it begins at {clock_time(starts_us, now_us)}" if waits and starts_us and now_us is not None else ""
    return f"{act} is obeyed by {count} of {count} gates (rev {change.rev}, {after}){start}"


def not_obeyed(
    act: str, result: Convergence, unheard: Sequence[Acknowledgement], addresses: Addresses
) -> NotConverged | None:
    """The error that names every gate which is not known to obey `act`; None if all obey."""
    rev, count = result.change.rev, len(result.gates)
    total = count + len(unheard) + len(result.unreadable)
    if not total:
        return NotConverged(
            f"{act} is written (rev {rev}), but no gate is live to obey it",
            f"gates obey it when they start; see {addresses.command('status')}",
        )
    if result.complete and not unheard:
        return None
    obeying = count - len(result.missing)
    none = "the only gate does not obey" if total == 1 else f"none of {total} gates obeys"
    who = f"only {obeying} of {total} gates obey" if obeying else none
    problem = f"{act} is written (rev {rev}), but {who} it after {result.seconds:.1f} s"
    if result.missing:
        late = [f"{gate.said.gate} at {gate.said.url} ({_why_late(result.change, gate)})" for gate in result.missing]
        problem += f"; not: {', '.join(_first(late, 'and {} more'))}"
    others = [
        f"gate {said.gate} at {said.url} was heard of in the last 5 minutes and no longer answers; it counts until "
        f"{forgotten_at(said)}"
        for said in unheard
    ]
    others = _first(others, "and {} more gates no longer answer")
    ruined = [
        f"nobody knows whether gate {entry.gate!a} obeys, its acknowledgement cannot be read ({entry.why})"
        for entry in result.unreadable
    ]
    problem = "; ".join((problem, *others, *_first(ruined, "nor of {} more gates")))
    names = [*(said.gate for said in unheard), *(entry.gate for entry in result.unreadable)]
    return NotConverged(problem, _remedy(result.change, names, addresses))


def _first(texts: list[str], rest: str) -> list[str]:
    """As many of `texts` as a person reads, then `rest` with the number of the others: half of a data centre may be cut off."""
    return texts if len(texts) <= NAMED else [*texts[:NAMED], rest.format(len(texts) - NAMED)]


def _why_late(change: Pause, gate: GateResult) -> str:
    said = gate.said
    if is_lifted(change, said.lifted):
        return f"rev {said.rev}; the break-glass file of its host lifts the pause"
    if not clock_differs(change, said):
        return f"rev {said.rev}"
    ahead_us = said.store_us - said.acknowledged_at_us
    apart = f"{left_text(abs(ahead_us))} {'ahead of' if ahead_us > 0 else 'behind'} this channel's"
    return f"rev {said.rev}, and it judges by a clock that is {apart}"


def _remedy(change: Pause, unheard: Sequence[str], addresses: Addresses) -> str:
    if change.released_at_us is None:
        remedy = (
            "Look at those gates; where they cannot be reached, put the pause into the break-glass file on their hosts, "
            f"{addresses.break_glass} on this one"
        )
    else:
        remedy = (
            "Look at those gates; each keeps the pause until it reaches Redis again, or until it expires at "
            f"{local_time(change.expires_at_us)}"
        )
    if len(unheard) > NAMED:
        remedy += f". {addresses.command('status -o json')} names all gates"
    gone = ", ".join(addresses.command(f"status --forget {shlex.quote(name)}") for name in unheard[:NAMED])
    return f"{remedy}. A gate that is gone for good: {gone}" if gone else remedy


def forgotten_at(said: Acknowledgement) -> str:
    """When a gate that does not answer any more ceases to count, such as `15:41:10 +00:00`."""
    return local_time(said.acknowledged_at_us + HEARD_WITHIN_US)[11:]


def _answer_of(said: Acknowledgement, result: Convergence) -> Acknowledgement | None:
    """What the gate says of itself at its address now; None if it does not answer there.

    An address may lead to another gate, as that of a gate on loopback does on every other host, and a container's may be
    in use by its successor: that answer says nothing about this gate.
    """
    try:
        page = get_json(f"{said.url}/readyz", ANSWER_WITHIN_S)
    except UploadGateError:
        return None
    if not isinstance(page, dict) or page.get("gate") != said.gate:
        return None
    digest, latest, lifted = page.get("board_digest"), page.get("board_latest"), page.get("board_lifted")
    rev, store_us = page.get("board_rev"), page.get("store_us")
    if not (isinstance(digest, str) and isinstance(latest, list) and isinstance(lifted, list)):
        return None
    return replace(
        said, digest=digest, latest=_texts(latest), lifted=_texts(lifted), on_disk=page.get("board_on_disk") is True,
        rev=rev if isinstance(rev, int) else said.rev, store_us=store_us if isinstance(store_us, int) else 0,
        acknowledged_at_us=result.now_us,
    )  # fmt: skip


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))
