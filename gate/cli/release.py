"""`release`: ends a pause now, waits until every live gate obeys, and names other pauses of the same uploads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from gate.app.operate import Operate
from gate.app.permission import Authority
from gate.cli.addresses import Addresses, AdminFlag, KafkaFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.authority import EmergencyFlag, MachineReleaseFlag, ProposeFlag, authority_of, proposed, replaced_note
from gate.cli.board_access import (
    YesFlag,
    audit_log,
    not_written,
    obedience,
    operating,
    other_way,
    page_of_gate,
    person,
    run_change,
)
from gate.cli.direct import Direct, DirectFlag, release_by_file
from gate.cli.held_by_file import held_by_file, stay_by_file, unless_by_file
from gate.cli.output import Output, OutputFlag, cancel, confirmed, emit, result, say, say_error
from gate.cli.pause_text import clock_time, pause_lines, terminal_width, uploads_of
from gate.cli.scope_flags import span_us
from gate.core.duration import duration_text, left_text
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.ramp import MAX_RAMP_US
from gate.core.pause.scope import Action, PauseMode, Scope
from gate.core.pause.wording import waiting
from gate.errors import AwaitsApproval, ControlRefused, NotPermitted, OperatorError, StoreUnavailable, UploadGateError
from gate.records.pause import pause_document

COMPLETE_WITHIN_S = 0.3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="release")(release)


def pause_ids(context: typer.Context, incomplete: str) -> list[str]:
    """The ids of pauses that have not ended, for shell completion; none if no gate answers."""
    return _completed(context, incomplete, lambda _: True)


def proposal_ids(context: typer.Context, incomplete: str) -> list[str]:
    """The ids of pauses of which a change waits for a second person, for shell completion."""
    return _completed(context, incomplete, lambda pause: bool(pause.get("proposal")))


def _completed(context: typer.Context, incomplete: str, offers: Callable[[dict[str, object]], bool]) -> list[str]:
    from gate.cli.http_json import admin_token, get_json

    try:
        admin = resolve_addresses(context.params.get("state"), admin=context.params.get("admin")).admin
        answer = None if admin is None else get_json(f"{admin}/v1/board", COMPLETE_WITHIN_S, admin_token())
    except UploadGateError:
        return []
    fields = answer if isinstance(answer, dict) else {}
    shown = [*(fields.get("pauses") or ()), *(fields.get("scheduled") or ())]
    ids = [str(pause.get("id")) for pause in shown if isinstance(pause, dict) and offers(pause)]
    return [id_ for id_ in ids if id_.startswith(incomplete)]


PauseId = Annotated[
    str, typer.Argument(metavar="ID", help="The pause's id, as `status` shows it.", autocompletion=pause_ids)
]


def release(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="The pauses' ids, as `status` shows them.", autocompletion=pause_ids),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every pause in force.")] = False,
    ramp: Annotated[str | None, typer.Option(help="Let accounts back over this time, such as 10m.")] = None,
    instant: Annotated[bool, typer.Option("--instant", help="Let every account back at once.")] = False,
    by: Annotated[str | None, typer.Option("--by", "--owner", help="Who releases it; default as in `pause`.")] = None,
    machine: MachineReleaseFlag = False,
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
    """Release a pause, or several, and wait until every live gate obeys.

    It prints each released pause, and the other pauses that still match the same uploads. Accounts come back over a
    tenth of the time that the pause was in force, at most 10 minutes; under 100 seconds all come back at once.

    The exit code is 3 unless each live gate obeys, as for `pause`.

    Example: upload-gate release p-7k2mq4xd --ramp 10m
    """
    if bool(ids) == everything:
        raise OperatorError("the pauses to release are not specified", "give their ids, or --all, and not both")
    if ramp is not None and instant:
        raise OperatorError("--ramp does not go with --instant", "leave one of them out")
    ramp_us = 0 if instant else span_us("--ramp", ramp)
    if ramp_us is not None and ramp_us > MAX_RAMP_US:
        raise OperatorError("--ramp is longer than an hour", "give at most 1h")
    addresses, who = resolve_addresses(state, redis=redis, kafka=kafka, admin=admin), person(by)
    if direct is Direct.FILE:
        _refuse_with_file({"--all": everything, "--ramp": ramp, "--propose": propose, "--machine": machine})
        release_by_file(addresses, dict.fromkeys(ids or ()), who, audit_log(addresses), output, emergency)
        return
    authority = authority_of(addresses, propose, emergency)
    if everything:
        ids = _all_in_force(addresses, direct)
        if ids and not yes and not confirmed(f"Release {'it' if len(ids) == 1 else f'these {len(ids)}'}?"):
            raise cancel()
    options = Release(
        tuple(ids or ()), who, None if ramp_us is None else ramp_us // 1_000_000 * 1_000_000, machine, everything
    )
    run_change(_release(addresses, options, authority, direct, output), addresses)


@dataclass(frozen=True, slots=True)
class Release:
    """Which pauses to release, by whom, and over how long. `everything`: they are all that were in force."""

    ids: tuple[str, ...]
    by: str
    ramp_us: int | None
    machine: bool
    everything: bool


def _refuse_with_file(flags: Mapping[str, object]) -> None:
    """Raise OperatorError for flags that the host's file cannot keep: it lifts the named pauses at once, and for good."""
    for flag, given in flags.items():
        if given:
            raise OperatorError(
                f"{flag} cannot be used with --direct file",
                "the file lifts pauses at once: name them, as `status` lists them, without that flag",
            )


def _all_in_force(addresses: Addresses, direct: Direct | None) -> list[str]:
    """Show every pause in force, and return the ids: what is released is what the operator has seen."""

    async def read() -> list[str]:
        async with operating(addresses, direct=direct) as operate:
            try:
                known, now_us = await operate.caught_up_board(), await operate.now_us()
            except StoreUnavailable as error:
                raise not_written(error, addresses, _remedy(direct)) from error
            active = known.active(now_us)
            by_file = stay_by_file(await held_by_file(addresses), addresses, now_us)
            say(*(f"warning: {sentence}" for sentence in operate.unread), *_not_in_force(known, now_us), *by_file)
            for pause in active:
                say(*pause_lines(pause, now_us, terminal_width()))
            if not active:
                say(f"no {'other ' if by_file else ''}pause is in force; nothing was changed")
            return [pause.id for pause in active]

    return asyncio.run(read())


def _remedy(direct: Direct | None) -> str:
    away, other = ("Kafka", "Redis") if direct is Direct.KAFKA else ("Redis", "Kafka")
    return (
        f"Repeat it once {away} answers, or release it through {other} with {other_way(direct)}, or on this host with "
        "--direct file. Until then the pause stays in force, at most to its expiry"
    )


async def _release(
    addresses: Addresses, options: Release, authority: Authority, direct: Direct | None, output: Output
) -> None:
    """Release the pauses one after the other, and only then wait for the gates: a gate that does not answer delays none."""
    problems: list[UploadGateError] = []
    documents: list[dict[str, object]] = []
    async with operating(addresses, authority, direct) as operate:
        try:
            done: list[Pause] = []
            withdrawn: set[str] = set()
            for id_ in dict.fromkeys(options.ids):
                try:
                    released = await _release_one(operate, id_, options, output)
                    if not operate.waits:
                        done.append(released)
                        withdrawn |= {id_} if operate.before is not None and operate.before.awaits_approval else set()
                        continue
                    now_us = await operate.now_us()
                    say(*replaced_note(operate, now_us))
                    documents.append(pause_document(released, now_us))
                    problems.append(proposed(released, addresses, Output.TEXT, now_us))
                except OperatorError as error:
                    problems.append(await unless_by_file(error, id_, addresses))
                except (ControlRefused, NotPermitted) as error:
                    problems.append(error)
            if not options.everything:
                say(*(f"warning: {sentence}" for sentence in operate.unread))
            board, now_us = await _board_here(operate, addresses), await operate.now_us()
            for released in done:
                say(
                    released_sentence(released, held=released.id not in withdrawn and not released.never_began),
                    *still_paused(released, board, now_us),
                    _released_where(addresses, direct),
                )
                document, failed = await obedience("release of", released, operate, addresses, output, direct)
                documents.append(document)
                problems += [] if failed is None else [failed]
        except StoreUnavailable as error:
            raise not_written(error, addresses, _remedy(direct)) from error
    is_list = options.everything or len(options.ids) != 1
    if output is Output.JSON and is_list:
        emit({"releases": documents, "problems": [str(problem) for problem in problems]})
    elif output is Output.JSON and documents:
        emit(documents[0])
    if problems:
        problems.sort(key=lambda problem: isinstance(problem, AwaitsApproval))  # failures come first
        for problem in problems[1:]:
            say_error(problem)
        raise problems[0]


async def _release_one(operate: Operate, id_: str, options: Release, output: Output) -> Pause:
    """Release one pause, or propose that. Raises what `Operate.release` raises."""
    released = await operate.release(id_, options.by, ramp_us=options.ramp_us, machine=options.machine)
    if output is Output.TEXT:
        result(released.id)
    return released


async def _board_here(operate: Operate, addresses: Addresses) -> Board:
    """The board of both channels, with the break-glass file of the gate at hand. Raises StoreUnavailable."""
    board = (await operate.known_board()).board
    glass = Board()
    if addresses.admin is not None:
        with suppress(UploadGateError):
            glass = await page_of_gate(addresses.admin, whole=False)
    return replace(board, break_glass=glass.break_glass, lifted=glass.lifted)


def _not_in_force(board: Board, now_us: int) -> list[str]:
    """A sentence for each pause that begins later or waits for a second person: `--all` releases those in force."""
    return [
        f"note: pause {pause.id} {'waits for a second person' if pause.awaits_approval else _begins(pause, now_us)} and stays; "
        "to release it, name it"
        for pause in waiting(board, now_us)
    ]


def _begins(pause: Pause, now_us: int) -> str:
    return f"begins {clock_time(pause.starts_at_us or 0, now_us)}"


def _released_where(addresses: Addresses, direct: Direct | None) -> str:
    name = "kafka" if direct is Direct.KAFKA else "redis"
    return f"released in {name.capitalize()} at {addresses.shown(name)}"


def released_sentence(pause: Pause, held: bool = True) -> str:
    """A sentence on the released pause: scope, reason, owner, and how long it was in force, if it `held` anybody at all."""
    text = f' "{pause.text}"' if pause.text else ""
    since_us = pause.set_at_us if pause.starts_at_us is None else pause.starts_at_us
    released_us = pause.released_at_us
    lasted = "" if since_us is None or released_us is None else f", set {left_text(released_us - since_us)} ago"
    ramp_us = pause.over_at_us - pause.ended_at_us
    ramp = f"; accounts come back over {duration_text(ramp_us)}" if ramp_us else ""
    return (
        f"released {pause.id}: {pause.action.value} {uploads_of(pause.scope)}, {pause.reason}{text}, "
        f"by {pause.owner}{lasted}{ramp}{'' if held else '; it never was in force'}"
    )


def still_paused(released: Pause, board: Board, now_us: int) -> list[str]:
    """A sentence for each other pause in force that matches uploads of the released one."""
    sentences = []
    for pause in (*board.break_glass, *board.active(now_us)):
        if pause.id == released.id or not _overlap(pause.scope, released.scope):
            continue
        if pause.mode is PauseMode.DRY_RUN or pause.id in board.lifted or not pause.active(now_us):
            continue
        whole = _holds_all(pause, released.scope)
        share = "those uploads stay" if whole else "some of those uploads stay"
        left = left_text(pause.expires_at_us - now_us)
        sentences.append(
            f"note: {share} under pause {pause.id} ({pause.action.value} {pause.scope}, {pause.reason}, "
            f"by {pause.owner}, {left} left)"
        )
    for key, pause in sorted(board.pauses.items()):
        ramps = key != released.id and key not in board.lifted and pause.ramping(now_us)
        if ramps and _overlap(pause.scope, released.scope):
            sentences.append(
                f"note: some of those uploads stay under pause {pause.id}, which has ended and lets accounts back until "
                f"{clock_time(pause.over_at_us, now_us)}"
            )
    return sentences


def _holds_all(pause: Pause, scope: Scope) -> bool:
    """True if the pause surely holds every upload of the scope."""
    mine = pause.scope
    return (
        all(not some or (theirs and theirs <= some) for some, theirs in _pairs(mine, scope))
        and mine.younger_than_us in (None, scope.younger_than_us)
        and mine.risk_from in (None, scope.risk_from)
        and pause.percent == 100
        and not pause.exempt
        and pause.action is not Action.ALLOW_ONLY
    )


def _overlap(left: Scope, right: Scope) -> bool:
    """True where some upload matches both scopes."""
    return all(not mine or not theirs or mine & theirs for mine, theirs in _pairs(left, right))


def _pairs(left: Scope, right: Scope) -> list[tuple[frozenset[str], frozenset[str]]]:
    return [(values, right.sets[name]) for name, values in left.sets.items()]
