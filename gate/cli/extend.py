"""`extend`: lets a pause last longer, or enforces a pause that only counts."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from gate.app.permission import Authority
from gate.cli.addresses import Addresses, AdminFlag, KafkaFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.authority import EmergencyFlag, MachineExtendFlag, ProposeFlag, authority_of, proposed, replaced_note
from gate.cli.board_access import YesFlag, not_written, operating, person, repeat_or_other_way, report, run_change
from gate.cli.direct import Direct, DirectFlag
from gate.cli.held_by_file import unless_by_file
from gate.cli.output import Output, OutputFlag, cancel, confirmed, is_asked, result, say
from gate.cli.pause_text import pause_lines, terminal_width
from gate.cli.release import PauseId
from gate.cli.scope_flags import MAX_LENGTH_US, span_us
from gate.core.pause.entry import Pause
from gate.core.pause.scope import PauseMode
from gate.errors import OperatorError, StateUnreadable, StoreUnavailable
from gate.ports.boards import Acknowledgement

ByFlag = Annotated[str | None, typer.Option("--by", "--owner", help="Who does it; default as in `pause`.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="extend")(extend)


def extend(
    id_: PauseId,
    for_: Annotated[str | None, typer.Option("--for", help="How long from now: 90s, 10m, 1h30m.")] = None,
    enforce: Annotated[bool, typer.Option("--enforce", help="Let a pause that only counts act from now on.")] = False,
    by: ByFlag = None,
    machine: MachineExtendFlag = False,
    propose: ProposeFlag = False,
    emergency: EmergencyFlag = "",
    direct: DirectFlag = None,
    yes: YesFlag = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
    kafka: KafkaFlag = None,
    admin: AdminFlag = None,
) -> None:
    """Let a pause last longer, or let one that only counts act, and wait until every live gate obeys.

    With --enforce it shows the pause and how many uploads it would have held, and asks at a terminal. A machine renews its
    lease with it. To end a pause earlier, release it.

    Example: upload-gate extend p-7k2mq4xd --for 2h
    """
    for_us = span_us("--for", for_) or 0
    if not for_us and not enforce:
        raise OperatorError("--for is missing", "give --for, such as --for 2h, or --enforce")
    if for_us > MAX_LENGTH_US:
        raise OperatorError(
            f"--for: {(for_ or '').strip()} is longer than 30d", "give a shorter time, and extend it again later"
        )
    if direct is Direct.FILE:
        raise OperatorError("a break-glass file cannot extend a pause", "set another with pause --direct file")
    addresses = resolve_addresses(state, redis=redis, kafka=kafka, admin=admin)
    authority = authority_of(addresses, propose, emergency)
    if enforce and _shown(addresses, id_, direct) and is_asked(yes) and not confirmed("Let it hold these uploads?"):
        raise cancel()
    run_change(_extend(addresses, id_, person(by), for_us, machine, enforce, authority, direct, output), addresses)


def _shown(addresses: Addresses, id_: str, direct: Direct | None) -> bool:
    """Say what the pause would hold that only counts, and what it would have held lately; returns whether there is one.

    Where it cannot be read, the change itself says why.
    """
    from gate.cli.preview import Narrowed, live_gates_of, preview

    async def read() -> tuple[Pause | None, int, list[Acknowledgement]]:
        async with operating(addresses, direct=direct) as operate:
            board, now_us = (await operate.known_board()).board, await operate.now_us()
            return board.pauses.get(id_), now_us, await live_gates_of(operate)

    try:
        pause, now_us, gates = asyncio.run(read())
    except (StoreUnavailable, StateUnreadable):
        return False
    if pause is None or pause.mode is PauseMode.ENFORCE:
        return False
    narrowed = Narrowed(pause.percent, bool(pause.exempt))
    say(*pause_lines(pause, now_us, terminal_width()), *preview(gates, addresses, pause.scope, pause.action, narrowed))
    return True


async def _extend(
    addresses: Addresses, id_: str, by: str, for_us: int, machine: bool, enforce: bool, authority: Authority,
    direct: Direct | None, output: Output,
) -> None:  # fmt: skip
    async with operating(addresses, authority, direct) as operate:
        try:
            changed = await operate.extend(id_, by, for_us, machine=machine, enforce=enforce)
        except StoreUnavailable as error:
            raise not_written(error, addresses, repeat_or_other_way(direct)) from error
        except OperatorError as error:
            raise await unless_by_file(error, id_, addresses) from error
        say(*(f"warning: {sentence}" for sentence in operate.unread))
        if output is Output.TEXT:
            result(changed.id)
        if operate.waits:
            now_us = await operate.now_us()
            say(*replaced_note(operate, now_us))
            raise proposed(changed, addresses, output, now_us)
        await report("the changed pause", changed, operate, addresses, output, direct)
