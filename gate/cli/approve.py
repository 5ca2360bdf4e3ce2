"""`approve`: a second person approves a proposed change of the kill switch, which then comes into force."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from gate.app.permission import Authority
from gate.cli.addresses import Addresses, AdminFlag, KafkaFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.authority import why_urgent
from gate.cli.board_access import (
    YesFlag,
    not_written,
    operating,
    person,
    record_failed,
    repeat_or_other_way,
    report,
    run_change,
)
from gate.cli.direct import Direct, DirectFlag
from gate.cli.extend import ByFlag
from gate.cli.held_by_file import unless_by_file
from gate.cli.output import Output, OutputFlag, cancel, confirmed, is_asked, result, say
from gate.cli.pause_text import pause_lines, proposal_text, terminal_width, uploads_of
from gate.cli.release import proposal_ids
from gate.core.pause.entry import Pause, Proposal
from gate.errors import OperatorError, StateUnreadable, StoreUnavailable


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="approve")(approve)


def approve(
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="The pause's id, as `status` shows it.", autocompletion=proposal_ids)
    ],
    by: ByFlag = None,
    emergency: Annotated[
        str,
        typer.Option(
            "--emergency",
            metavar="WHY",
            callback=why_urgent,
            help="Approve what you proposed yourself; WHY is recorded.",
        ),
    ] = "",
    direct: DirectFlag = None,
    yes: YesFlag = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
    kafka: KafkaFlag = None,
    admin: AdminFlag = None,
) -> None:
    """Approve the change that was proposed for a pause, and wait until every live gate obeys.

    The command shows the change and, at a terminal, asks before it approves it. If somebody proposes another change
    meanwhile, it approves nothing.

    The person who proposed the change cannot approve it (exit code 4). Nor can the login (user and host) that proposed it,
    even under another name.

    Example: upload-gate approve p-7k2mq4xd --by bob
    """
    if direct is Direct.FILE:
        raise OperatorError("a pause in a break-glass file needs no approval", "leave --direct out")
    addresses = resolve_addresses(state, redis=redis, kafka=kafka, admin=admin)
    who = person(by)
    shown = _shown(addresses, id_, who, direct)
    if shown is not None and is_asked(yes) and not confirmed("Approve it?"):
        raise cancel()
    run_change(_approve(addresses, id_, who, emergency, shown, direct, output), addresses)


def _shown(addresses: Addresses, id_: str, who: str, direct: Direct | None) -> Proposal | None:
    """Say what is to be approved, and return it; None if nothing waits in the channels that could be read. Raises
    StoreUnavailable where the channel that is written does not answer at all."""

    async def read() -> tuple[Pause | None, int]:
        async with operating(addresses, direct=direct) as operate:
            board, now_us = (await operate.known_board()).board, await operate.now_us()
            return board.pauses.get(id_), now_us

    pause, now_us = None, 0
    try:
        pause, now_us = asyncio.run(read())
    except StoreUnavailable as error:
        if not error.was_reached:  # the approval would wait as long once more
            failed = not_written(error, addresses, repeat_or_other_way(direct))
            record_failed(addresses, "approve", who, failed)
            raise failed from error
    except StateUnreadable:
        pass  # the approval itself says what is wrong
    if pause is None or pause.proposal is None:
        return None
    proposal = pause.proposal
    by = f"{proposal.by} ({proposal.identity})" if proposal.identity else proposal.by
    say(f"{by} proposes {proposal_text(proposal, now_us)}:", *pause_lines(pause, now_us, terminal_width()))
    return proposal


async def _approve(
    addresses: Addresses, id_: str, by: str, emergency: str, shown: Proposal | None, direct: Direct | None, output: Output
) -> None:  # fmt: skip
    async with operating(addresses, Authority(emergency=emergency), direct) as operate:
        try:
            changed = await operate.approve(id_, by, shown)
        except StoreUnavailable as error:
            raise not_written(error, addresses, repeat_or_other_way(direct)) from error
        except OperatorError as error:
            raise await unless_by_file(error, id_, addresses) from error
        say(*(f"warning: {sentence}" for sentence in operate.unread))
        if output is Output.TEXT:
            result(changed.id)
        act = "released" if changed.released_at_us is not None else changed.action.value
        say(f"{by} approves {changed.id} of {changed.owner}: {act} {uploads_of(changed.scope)}")
        await report("the approved change of", changed, operate, addresses, output, direct)
