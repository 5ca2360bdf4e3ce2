"""`pause` and `release`: say what it would do, ask, write it to Redis, and wait until every live gate obeys."""

from __future__ import annotations

import asyncio
import getpass
import os
from typing import Annotated

import typer

from gate.app.operate import Operate
from gate.cli.find import Addresses, AdminFlag, RedisFlag, StateFlag, find
from gate.cli.output import Output, OutputFlag, confirmed, emit, result, say
from gate.core.duration import duration_text, parse_duration_us
from gate.core.pause import DEFAULT_DURATION_US, MAX_DURATION_US, Action, Pause, Scope
from gate.errors import ControlRefused, OperatorError, StoreUnavailable
from gate.records.board import MAX_NAME, MAX_TEXT

CANCELLED = 2

OwnerFlag = Annotated[str | None, typer.Option("--owner", help="Who answers for it; default UPLOAD_GATE_OWNER or you.")]
YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="pause")(pause)
    app.command(name="release")(release)


def pause(
    class_: Annotated[list[str] | None, typer.Option("--class", "-c", help="Account class; may be repeated.")] = None,
    surface: Annotated[list[str] | None, typer.Option(help="Surface uploaded to; may be repeated.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Media kind, such as image; may be repeated.")] = None,
    country: Annotated[list[str] | None, typer.Option(help="Country, such as DE; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Platform-wide: every upload.")] = False,
    action: Annotated[Action, typer.Option(help="What becomes of the uploads it meets.")] = Action.STOP,
    for_: Annotated[str, typer.Option("--for", help="How long: 90s, 10m, 1h30m; at most 24h.")] = "4h",
    reason: Annotated[str, typer.Option("--reason", "-r", help="Reason code the policy declares.")] = "",
    text: Annotated[str, typer.Option("--message", "-m", help="What happened, for your colleagues.")] = "",
    owner: OwnerFlag = None,
    yes: YesFlag = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and write nothing.")] = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
    admin: AdminFlag = None,
) -> None:
    """Pause new uploads, platform-wide or for a part of them, and wait until every live gate obeys.

    Different flags narrow the scope together, the same flag repeated widens it. Prints the pause's id on stdout.

    Example: upload-gate pause --class new --for 10m --reason raid -m "bots from everywhere" --yes
    """
    scope = _scope(class_, surface, kind, country, everything)
    for_us = _length_us(for_)
    by = _owner(owner)
    if not reason:
        raise OperatorError("a pause needs a reason", "give --reason, such as --reason raid")
    if len(text) > MAX_TEXT:
        raise OperatorError(f"the message is longer than {MAX_TEXT} characters", "shorten it and link to the incident")
    addresses = find(state, redis=redis, admin=admin)
    from gate.cli.declared import declared

    declared(addresses).check(scope.classes, reason)
    if not yes or dry_run:
        from gate.cli.radius import radius

        say(f"{action.value} uploads {_covering(scope)} for {duration_text(for_us)}, reason {reason}, by {by}")
        say(radius(addresses, scope, action))
    if dry_run:
        _dry_run(scope, action, reason, for_us, output)
        return
    if not yes and not confirmed("Set this pause?"):
        say("cancelled; nothing was changed")
        raise typer.Exit(CANCELLED)
    asyncio.run(_pause(addresses, scope, action, reason, text, by, for_us, output))


def release(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The pause's id, as `status` shows it.")],
    by: Annotated[str | None, typer.Option("--by", "--owner", help="Who releases it; default as for pause.")] = None,
    yes: YesFlag = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
    admin: AdminFlag = None,
) -> None:
    """Release a pause, and wait until every live gate obeys.

    Example: upload-gate release p-7k2mq4xd
    """
    asyncio.run(_release(find(state, redis=redis, admin=admin), id_, _owner(by), output))


async def _pause(
    addresses: Addresses, scope: Scope, action: Action, reason: str, text: str, owner: str, for_us: int, output: Output
) -> None:
    from gate.cli.board import operating

    async with operating(addresses) as operate:
        try:
            set_ = await operate.pause(scope, action, reason, text, owner, for_us)
        except StoreUnavailable as error:
            raise _not_written(error) from error
        if output is Output.TEXT:
            result(set_.id)
        await _report("pause", set_, operate, output)


async def _release(addresses: Addresses, id_: str, by: str, output: Output) -> None:
    from gate.cli.board import operating

    async with operating(addresses) as operate:
        try:
            released = await operate.release(id_, by)
        except StoreUnavailable as error:
            raise _not_written(error) from error
        if output is Output.TEXT:
            result(released.id)
        await _report("release of", released, operate, output)


async def _report(act: str, changed: Pause, operate: Operate, output: Output) -> None:
    from gate.cli.board import OBEY_DEADLINE_S, convergence_json, obeyed, pause_json
    from gate.cli.silent import SEEN_WITHIN_US, with_silent

    convergence = await operate.converged(changed.rev, OBEY_DEADLINE_S)
    convergence, unheard = await with_silent(convergence, await operate.gates(SEEN_WITHIN_US))
    if output is Output.JSON:
        silent = {"silent": [{"gate": gate.gate, "url": gate.url, "rev": gate.rev} for gate in unheard]}
        emit({**pause_json(changed, changed.starts_at_us), **convergence_json(convergence), **silent})
    for gate in unheard:
        say(f"note: gate {gate.gate} at {gate.url} was heard of in the last 5 minutes and answers no more")
    sentence = obeyed(f"{act} {changed.id}", convergence)
    if output is Output.TEXT:
        say(sentence)


def _dry_run(scope: Scope, action: Action, reason: str, for_us: int, output: Output) -> None:
    say("dry run: nothing was changed")
    if output is Output.JSON:
        from gate.cli.board import scope_json

        emit({
            "id": None,
            "dry_run": True,
            "scope": scope_json(scope),
            "covers": str(scope),
            "action": action.value,
            "reason": reason,
            "for_seconds": for_us / 1_000_000,
        })  # fmt: skip


def _scope(
    classes: list[str] | None,
    surfaces: list[str] | None,
    kinds: list[str] | None,
    countries: list[str] | None,
    everything: bool,
) -> Scope:
    scope = Scope(
        frozenset(classes or ()), frozenset(surfaces or ()), frozenset(kinds or ()), frozenset(countries or ())
    )
    if any(not v or not v.isprintable() for v in frozenset().union(*scope.sets.values())):
        raise OperatorError(
            "a value of the scope is empty or cannot be shown", "look at --class, --surface and the others"
        )
    if scope.platform_wide and not everything:
        raise OperatorError(
            "nothing says which uploads to pause",
            "give --class, --surface, --kind or --country, or --all for every upload platform-wide",
        )
    if everything and not scope.platform_wide:
        raise OperatorError(f"--all does not go with {scope}", "leave one of them out")
    return scope


def _length_us(text: str) -> int:
    try:
        length_us = parse_duration_us(text)
    except ValueError as error:
        raise OperatorError(f"--for: {error}") from error
    if length_us > MAX_DURATION_US:
        raise ControlRefused(
            f"a pause of {duration_text(length_us)} needs a second person's approval, which cannot be given yet",
            f"set at most {MAX_DURATION_US // 3_600_000_000}h (without --for it is {duration_text(DEFAULT_DURATION_US)}) "
            "and set it again before it ends",
        )
    return length_us


def _owner(given: str | None) -> str:
    owner = given or os.environ.get("UPLOAD_GATE_OWNER") or os.environ.get("SUDO_USER")
    if not owner:
        try:
            owner = getpass.getuser()
        except (KeyError, OSError):
            owner = f"uid-{os.getuid()}"
    if len(owner) > MAX_NAME or not owner.isprintable():
        raise OperatorError("the owner's name is too long or cannot be shown", "give --owner NAME")
    return owner


def _covering(scope: Scope) -> str:
    return "platform-wide" if scope.platform_wide else f"of {scope}"


def _not_written(error: StoreUnavailable) -> StoreUnavailable:
    return StoreUnavailable(
        error.problem.rstrip("."),
        "Look with `upload-gate status` whether the change was written. Without Redis, put the pause into the "
        "break-glass file (break-glass.json in the state directory) on each gate's host",
    )
