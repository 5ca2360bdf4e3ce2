"""`status`: each pause in force, who obeys, and by which policy; from Redis, or from a gate where Redis is down."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import typer

from gate.cli.addresses import (
    Addresses,
    AdminFlag,
    RedisFlag,
    StateFlag,
    resolve_addresses,
)
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.core.pause.board import Board
from gate.errors import StateUnreadable, StoreUnavailable, UploadGateError, redact
from gate.ports.boards import Acknowledgement

ASK_DEADLINE_S = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """What could be learnt. `source` is `redis` or `gate`; from a gate, `gates` is empty."""

    source: str
    board: Board
    rev: int
    gates: list[Acknowledgement]
    now_us: int
    note: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="status")(status)


def status(
    output: OutputFlag = Output.TEXT, state: StateFlag = None, redis: RedisFlag = None, admin: AdminFlag = None
) -> None:
    """Show each pause in force, the gates and the revision they obey, and the policy.

    Works while the gates are down, and, by asking a gate, while Redis is.

    Example: upload-gate status -o json
    """
    addresses = resolve_addresses(state, redis=redis, admin=admin)
    view = asyncio.run(_look(addresses))
    policy, policy_words = _policy_hash(addresses)
    if view.note:
        say(f"warning: {view.note}")
    if output is Output.JSON:
        emit(_json(view, policy, addresses))
    else:
        result(_words(view, policy_words))


async def _look(addresses: Addresses) -> View:
    from gate.app.converge import HEARD_WITHIN_US
    from gate.cli.pause_output import operating

    try:
        async with operating(addresses) as operate:
            board = await operate.board()
            gates = await operate.gates(HEARD_WITHIN_US)
            said = [gate for gate in gates.acknowledgements if not gate.left]
            return View("redis", board, board.rev, said, gates.now_us)
    except (StoreUnavailable, StateUnreadable) as error:
        return _ask_gate(addresses, error)


def _ask_gate(addresses: Addresses, problem: UploadGateError) -> View:
    from gate.cli.http_json import get_json
    from gate.records.board_page import decode_board_page
    from gate.serve.clock import SystemClock

    url = f"{addresses.admin}/v1/board"
    try:
        board, rev = decode_board_page(json.dumps(get_json(url, ASK_DEADLINE_S)).encode())
    except UploadGateError as second:
        raise StoreUnavailable(
            f"neither Redis ({redact(addresses.redis)}) nor a gate ({redact(url)}) tells the board: "
            f"{problem.problem.rstrip('.')}; {second.problem.rstrip('.')}",
            "start it with `upload-gate up`, or name it with --state, --redis or --admin",
        ) from second
    note = f"Redis cannot be read ({problem.problem.rstrip('.')}); this is what the gate at {redact(addresses.admin)} obeys"
    return View("gate", board, rev, [], SystemClock().now_us(), note)


def _policy_hash(addresses: Addresses) -> tuple[str | None, str]:
    """The hash of the policy in force, or None and why it is unknown."""
    from gate.cli.http_json import get_json

    try:
        answer = get_json(f"{addresses.admin}/v1/policy", ASK_DEADLINE_S)
    except UploadGateError as error:
        return None, f"unknown: {error.problem}"
    hash_ = answer.get("hash") if isinstance(answer, dict) else None
    return (hash_, hash_) if isinstance(hash_, str) else (None, "unknown: the gate does not tell its hash")


def _json(view: View, policy: str | None, addresses: Addresses) -> dict[str, object]:
    from gate.cli.pause_output import pause_json

    return {
        "source": view.source,
        "redis": redact(addresses.redis),
        "rev": view.rev,
        "policy": policy,
        "pauses": [pause_json(pause, view.now_us) for pause in view.board.active(view.now_us)],
        "break_glass": [pause_json(pause, view.now_us) for pause in view.board.break_glass],
        "gates": [
            {
                "gate": gate.gate,
                "url": gate.url,
                "rev": gate.rev,
                "obeys": gate.rev >= view.rev,
                "age_seconds": _age_s(gate, view),
            }
            for gate in view.gates
        ],
    }


def _words(view: View, policy: str) -> str:
    from gate.app.converge import LIVE_WITHIN_US
    from gate.cli.pause_output import pause_words

    pauses = view.board.active(view.now_us)
    lines = [f"{len(pauses)} active {'pause' if len(pauses) == 1 else 'pauses'} (rev {view.rev})"]
    lines += [f"  {pause_words(pause, view.now_us)}" for pause in pauses]
    lines += [
        f"  {pause_words(pause, view.now_us)}  FROM THE HOST'S BREAK-GLASS FILE" for pause in view.board.break_glass
    ]
    for gate in view.gates:
        behind = "" if gate.rev >= view.rev else f", BEHIND rev {view.rev}"
        silent = "" if _age_s(gate, view) * 1_000_000 <= LIVE_WITHIN_US else ", SILENT"
        lines.append(
            f"gate {gate.gate} at {gate.url}: rev {gate.rev}, heard {_age_s(gate, view):.1f} s ago{behind}{silent}"
        )
    if view.source == "redis" and not view.gates:
        lines.append("no gate was heard of in the last 5 minutes")
    lines.append(f"policy {policy}")
    return "\n".join(lines)


def _age_s(gate: Acknowledgement, view: View) -> float:
    return round(max(view.now_us - gate.acknowledged_at_us, 0) / 1_000_000, 3)
