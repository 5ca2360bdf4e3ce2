"""`drill`: exercises the kill switch on the canary class, from the pause to the release, and records that it worked."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Annotated

import typer

from gate.app.operate import Operate
from gate.cli.addresses import Addresses, AdminFlag, GateFlag, KafkaFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.board_access import OBEY_DEADLINE_S, OwnerFlag, not_written, operating, other_way, person, run_change
from gate.cli.direct import Direct, DirectFlag
from gate.cli.obedience import not_obeyed, query_unheard
from gate.cli.output import Output, OutputFlag, counted, emit, result, say
from gate.cli.scope_flags import folded
from gate.core.fields.labels import fold_label
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import NotConverged, OperatorError, StoreUnavailable

CLASS = "canary"
LASTS_US = 60_000_000
REASON = "drill"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="drill")(drill)


def drill(
    class_: Annotated[
        str, typer.Option("--class", "-c", help="The class to pause; no real account should have it.")
    ] = CLASS,
    owner: OwnerFlag = None,
    direct: DirectFlag = None,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
    kafka: KafkaFlag = None,
    gate: GateFlag = None,
    admin: AdminFlag = None,
) -> None:
    """Pause the class `canary`, check that its uploads are held, release it, and check that they are let in again.

    Before it pauses anything, it asks the gate at hand about one upload, so that a drill without the gate's token, or while
    another pause holds the class, changes nothing. Every live gate must obey both changes. A drill that passed sets
    upload_gate_drill_last_success_timestamp_seconds; an alert fires if no drill passed for a week. The exit code is 3 if a
    check fails.

    Example: upload-gate drill
    """
    if direct is Direct.FILE:
        raise OperatorError(
            "a drill needs Redis or Kafka",
            "leave --direct out, or give redis or kafka",
        )
    addresses = resolve_addresses(state, redis=redis, kafka=kafka, gate=gate, admin=admin)
    scope = Scope(folded("--class", [class_], fold_label))
    _expect(addresses, scope, None, before=True)
    run_change(_drill(addresses, scope, person(owner), direct, output), addresses)


async def _drill(addresses: Addresses, scope: Scope, by: str, direct: Direct | None, output: Output) -> None:
    async with operating(addresses, direct=direct) as operate:
        began_s = time.monotonic()
        try:
            pause = await operate.pause(scope, Action.STOP, REASON, "a drill", by, LASTS_US)
        except StoreUnavailable as error:
            raise not_written(
                error, addresses, f"Repeat the drill once it answers, or with {other_way(direct)}"
            ) from error
        try:
            obeyed = await _obeyed("the drill's pause", pause, operate, addresses)
            _expect(addresses, scope, pause.id)
        finally:
            released = await _released(operate, pause, by)
        let_in = await _obeyed("the drill's release", released, operate, addresses)
        _expect(addresses, scope, None)
        await operate.drill_passed(pause.id)
    took_s = time.monotonic() - began_s
    if output is Output.JSON:
        emit({
            "id": pause.id, "passed": True, "gates": obeyed[0], "paused_after_seconds": round(obeyed[1], 4),
            "released_after_seconds": round(let_in[1], 4), "seconds": round(took_s, 3),
        })  # fmt: skip
    else:
        gates = counted(obeyed[0], "gate")
        result(
            f"the drill passed in {took_s:.1f} s: {gates} paused {scope} after {obeyed[1]:.2f} s and released it "
            f"after {let_in[1]:.2f} s"
        )


async def _released(operate: Operate, pause: Pause, by: str) -> Pause:
    """Release the drill's pause, also where Ctrl-C cancels the drill meanwhile."""
    releasing = asyncio.ensure_future(operate.release(pause.id, by, ramp_us=0))
    try:
        return await asyncio.shield(releasing)
    except asyncio.CancelledError:
        await releasing
        raise


async def _obeyed(what: str, change: Pause, operate: Operate, addresses: Addresses) -> tuple[int, float]:
    """How many gates obey the change, and after how many seconds. Raises NotConverged unless all do."""
    waited = await operate.converged(change, OBEY_DEADLINE_S)
    convergence, unheard = await query_unheard(waited, OBEY_DEADLINE_S, await operate.lapsed_gates())
    problem = not_obeyed(what, convergence, unheard, addresses)
    if problem is not None:
        raise problem
    return len(convergence.gates), convergence.seconds


def _expect(addresses: Addresses, scope: Scope, pause: str | None, before: bool = False) -> None:
    """Ask the gate at hand about one upload of the class. Raises NotConverged unless `pause` holds it, or none if it is None.

    `before`: nothing is changed yet.
    """
    from gate.cli.http_json import gate_token, post_json

    (class_,) = scope.classes
    if before:  # a gate that hangs takes seconds
        say(f"asking the gate at {addresses.shown('gate')}")
    upload = f"drill-{secrets.token_hex(6)}"
    body = {"upload_id": upload, "account": {"id": upload, "class": class_}, "media": {"kind": "image"}}
    answer = post_json(f"{addresses.gate}/v1/check", json.dumps(body).encode(), gate_token())
    told = answer if isinstance(answer, dict) else {}
    decision, by = told.get("decision"), told.get("pause")
    meets = f"an upload of class {class_} gets the decision {decision}" + (f" by pause {by}" if by else "")
    if (by is not None or decision in (None, "paused")) if pause is None else (by, decision) != (pause, "paused"):
        expected = "no pause" if before else "no longer paused" if pause is None else f"paused by {pause}"
        raise NotConverged(
            f"at the gate at {addresses.shown('gate')}, {meets}; expected: {expected}",
            f"see what holds it with `upload-gate status`{'; nothing was changed' if before else ''}",
        )
    if not before:
        say(f"{meets}, as expected")
