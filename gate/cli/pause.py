"""`pause`: shows its effect, asks, writes the pause to Redis, and waits until every live gate obeys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from gate.cli.addresses import Addresses, AdminFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.board_access import OwnerFlag, YesFlag, not_written, operating, person, report, run_change
from gate.cli.output import Output, OutputFlag, cancel, confirmed, emit, result, say
from gate.cli.pause_text import uploads_of
from gate.core.duration import HOUR_US, duration_text, parse_duration_us
from gate.core.fields.labels import fold_country, fold_label
from gate.core.pause.board import DEFAULT_DURATION_US, MAX_DURATION_US
from gate.core.pause.scope import Action, Scope
from gate.errors import ControlRefused, OperatorError, StoreUnavailable
from gate.records.pause import MAX_TEXT


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="pause")(pause)


def pause(
    class_: Annotated[list[str] | None, typer.Option("--class", "-c", help="Account class; may be repeated.")] = None,
    surface: Annotated[list[str] | None, typer.Option(help="Surface uploaded to; may be repeated.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Media kind, such as image; may be repeated.")] = None,
    country: Annotated[list[str] | None, typer.Option(help="Country, such as DE; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Platform-wide: every upload.")] = False,
    action: Annotated[Action, typer.Option(help="What to do with uploads that it matches.")] = Action.STOP,
    for_: Annotated[str, typer.Option("--for", help="How long: 90s, 10m, 1h30m; at most 24h for one person.")] = "4h",
    reason: Annotated[str, typer.Option("--reason", "-r", help="Reason code of the policy, such as raid.")] = "",
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

    Different flags together narrow the scope; the same flag repeated widens it. Names are compared without regard to
    case. A name that the policy does not have gives a warning, and is paused all the same. Prints the pause's id on
    stdout.

    Example: upload-gate pause --class new --for 10m --reason raid -m "bots from everywhere" --yes
    """
    scope = _scope(class_, surface, kind, country, everything)
    for_us = _length_us(for_)
    by = person(owner)
    reason = fold_label(reason)
    if not reason or not reason.isprintable():
        raise OperatorError("a pause needs a reason", "give --reason, such as --reason raid")
    if len(text) > MAX_TEXT:
        raise OperatorError(f"the message is longer than {MAX_TEXT} characters", "shorten it and link to the incident")
    addresses = resolve_addresses(state, redis=redis, admin=admin)
    say(
        f"{action.value} {uploads_of(scope)} for {duration_text(for_us)}, reason {reason}, by {by}, "
        f"in Redis at {addresses.shown('redis')}"
    )
    _warn(addresses, scope, action, reason)
    if dry_run:
        _dry_run(scope, action, reason, for_us, output)
        return
    if not yes and not confirmed("Set this pause?"):
        raise cancel()
    run_change(_pause(addresses, scope, action, reason, text, by, for_us, output), addresses)


def _warn(addresses: Addresses, scope: Scope, action: Action, reason: str) -> None:
    """Warn of names that the policy lacks, and print what the pause would have stopped. Returns soon in any case."""
    from gate.cli.policy_names import policy_names, rare_labels
    from gate.cli.preview import preview

    names = policy_names(addresses)
    warnings = (*names.warnings(sorted(scope.classes), reason), *rare_labels(scope, names))
    say(*names.notes, *warnings, *preview(addresses, scope, action))


async def _pause(
    addresses: Addresses, scope: Scope, action: Action, reason: str, text: str, owner: str, for_us: int, output: Output
) -> None:
    async with operating(addresses) as operate:
        try:
            written = await operate.pause(scope, action, reason, text, owner, for_us)
        except StoreUnavailable as error:
            without = (
                f"Without Redis, put the pause into the break-glass file on each gate's host, {addresses.break_glass} "
                "on this one"
            )
            raise not_written(error, addresses, without) from error
        if output is Output.TEXT:
            result(written.id)
        await report("pause", written, operate, addresses, output)


def _dry_run(scope: Scope, action: Action, reason: str, for_us: int, output: Output) -> None:
    say("dry run: nothing was changed")
    if output is Output.JSON:
        emit({
            "id": None,
            "dry_run": True,
            "scope": {name: sorted(values) for name, values in scope.sets.items() if values},
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
        _folded("--class", classes, fold_label),
        _folded("--surface", surfaces, fold_label),
        _folded("--kind", kinds, fold_label),
        _countries(countries),
    )
    if scope.platform_wide and not everything:
        raise OperatorError(
            "the uploads to pause are not specified",
            "give --class, --surface, --kind or --country, or --all for every upload platform-wide",
        )
    if everything and not scope.platform_wide:
        raise OperatorError(f"--all does not go with {scope}", "leave one of them out")
    return scope


def _countries(given: Iterable[str] | None) -> frozenset[str]:
    """Raises OperatorError for what no upload's country can be: uploads carry two letters."""
    countries = _folded("--country", given, fold_country)
    for country in sorted(countries):
        if not re.fullmatch("[A-Z][A-Z0-9]", country):
            raise OperatorError(
                f"--country {country} is no country as uploads name it", "give two letters (ISO 3166-1), such as DE"
            )
    return countries


def _folded(flag: str, given: Iterable[str] | None, fold: Callable[[str], str]) -> frozenset[str]:
    """The values of a flag as checks compare them. Raises OperatorError for one that is empty or cannot be shown."""
    values = frozenset(fold(value) for value in given or ())
    if any(not value or not value.isprintable() for value in values):
        raise OperatorError(f"a value of {flag} is empty or cannot be shown, and would be no scope", f"correct {flag}")
    return values


def _length_us(text: str) -> int:
    most = f"{MAX_DURATION_US // HOUR_US}h for one person"
    try:
        length_us = parse_duration_us(text, most)
    except ValueError as error:
        raise OperatorError(f"--for: {error}", f"without --for it is {duration_text(DEFAULT_DURATION_US)}") from error
    if length_us > MAX_DURATION_US:
        raise ControlRefused(
            f"--for: a pause of {text.strip()} is longer than {most}; a second person's approval cannot be given yet",
            f"set at most {MAX_DURATION_US // HOUR_US}h and set it again before it ends",
        )
    return length_us
