"""`release`: ends a pause now, waits until every live gate obeys, and names other pauses of the same uploads."""

from __future__ import annotations

from typing import Annotated

import typer

from gate.cli.addresses import Addresses, AdminFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.board_access import YesFlag, not_written, operating, person, report, run_change
from gate.cli.output import Output, OutputFlag, result, say
from gate.cli.pause_text import uploads_of
from gate.core.duration import duration_text
from gate.core.pause.board import Board, Pause
from gate.core.pause.scope import Scope
from gate.errors import StoreUnavailable, UploadGateError

COMPLETE_WITHIN_S = 0.3
WITHOUT_REDIS = (
    "A release needs Redis: repeat it once Redis answers. Until then the pause stays in force, at most to its expiry"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="release")(release)


def pause_ids(context: typer.Context, incomplete: str) -> list[str]:
    """The ids of pauses in force that start with `incomplete`, for shell completion; none if no gate answers."""
    from gate.cli.http_json import admin_token, get_json

    try:
        admin = resolve_addresses(context.params.get("state"), admin=context.params.get("admin")).admin
        answer = None if admin is None else get_json(f"{admin}/v1/board", COMPLETE_WITHIN_S, admin_token())
    except UploadGateError:
        return []
    shown = answer.get("pauses") if isinstance(answer, dict) else None
    ids = [str(pause.get("id")) for pause in shown or [] if isinstance(pause, dict)]
    return [id_ for id_ in ids if id_.startswith(incomplete)]


def release(
    id_: Annotated[
        str,
        typer.Argument(metavar="ID", help="The pause's id, as `status` shows it.", autocompletion=pause_ids),
    ],
    by: Annotated[str | None, typer.Option("--by", "--owner", help="Who releases it; default as in `pause`.")] = None,
    yes: YesFlag = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
    admin: AdminFlag = None,
) -> None:
    """Release a pause, and wait until every live gate obeys.

    It prints the released pause, and the other pauses that still match the same uploads.

    Example: upload-gate release p-7k2mq4xd
    """
    addresses = resolve_addresses(state, redis=redis, admin=admin)
    run_change(_release(addresses, id_, person(by), output), addresses)


async def _release(addresses: Addresses, id_: str, by: str, output: Output) -> None:
    async with operating(addresses) as operate:
        try:
            released = await operate.release(id_, by)
            board, now_us = await operate.board(), await operate.now_us()
        except StoreUnavailable as error:
            raise not_written(error, addresses, WITHOUT_REDIS) from error
        if output is Output.TEXT:
            result(released.id)
        say(released_sentence(released), *still_paused(released, board, now_us))
        say(f"released in Redis at {addresses.shown('redis')}")
        await report("release of", released, operate, addresses, output)


def released_sentence(pause: Pause) -> str:
    """A sentence on the released pause: scope, reason, owner, and how long it was in force."""
    text = f' "{pause.text}"' if pause.text else ""
    since_us = pause.set_at_us if pause.starts_at_us is None else pause.starts_at_us
    released_us = pause.released_at_us
    lasted = "" if since_us is None or released_us is None else f", set {duration_text(released_us - since_us)} ago"
    return f"released {pause.id}: {pause.action.value} {uploads_of(pause.scope)}, {pause.reason}{text}, by {pause.owner}{lasted}"


def still_paused(released: Pause, board: Board, now_us: int) -> list[str]:
    """A sentence for each other pause in force that matches uploads of the released one."""
    sentences = []
    for pause in (*board.break_glass, *board.active(now_us)):
        if pause.id == released.id or not _overlap(pause.scope, released.scope):
            continue
        whole = all(not mine or (theirs and theirs <= mine) for mine, theirs in _pairs(pause.scope, released.scope))
        share = "those uploads stay" if whole else "some of those uploads stay"
        left = duration_text(pause.expires_at_us - now_us)
        sentences.append(
            f"note: {share} under pause {pause.id} ({pause.action.value} {pause.scope}, {pause.reason}, "
            f"by {pause.owner}, {left} left)"
        )
    return sentences


def _overlap(left: Scope, right: Scope) -> bool:
    """True where some upload matches both scopes."""
    return all(not mine or not theirs or mine & theirs for mine, theirs in _pairs(left, right))


def _pairs(left: Scope, right: Scope) -> list[tuple[frozenset[str], frozenset[str]]]:
    return [(values, right.sets[name]) for name, values in left.sets.items()]
