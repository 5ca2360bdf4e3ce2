"""`pause`: shows its effect, asks, writes the pause, and waits until every live gate obeys."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import typer

from gate.app.operate import Details, wanted_pause
from gate.app.permission import Authority
from gate.cli.addresses import Addresses, AdminFlag, KafkaFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.authority import EmergencyFlag, MachineFlag, ProposeFlag, awaits_more_time, check_one_way, proposed
from gate.cli.board_access import (
    STORE_DEADLINE_S,
    OwnerFlag,
    YesFlag,
    audit_log,
    not_written,
    operating,
    other_way,
    person,
    record_failed,
    report,
    run_change,
)
from gate.cli.direct import Direct, DirectFlag, pause_by_file
from gate.cli.output import Output, OutputFlag, cancel, confirmed, emit, result, say, typed
from gate.cli.pause_flags import (
    AccountsFlag,
    ActionFlag,
    ClassesFlag,
    CountOnlyFlag,
    CountryFlag,
    DryRunFlag,
    EnforceFlag,
    ExceptAccountsFlag,
    ExceptClassFlag,
    ExceptCountryFlag,
    ExceptKindFlag,
    ExceptSurfaceFlag,
    ExceptVerifiedFlag,
    FactorFlag,
    ForFlag,
    IncidentFlag,
    InFlightFlag,
    KindFlag,
    MessageFlag,
    OnlyVerifiedFlag,
    PercentFlag,
    PlatformWideFlag,
    PublicFlag,
    PublicLinkFlag,
    RampFlag,
    ReasonFlag,
    RiskFromFlag,
    StartInFlag,
    SurfaceFlag,
    YoungerThanFlag,
)
from gate.cli.pause_intention import Wanted, dry_run_document, dry_run_outcome, first_alone, intention_lines
from gate.cli.scope_flags import MAX_LENGTH_US, ScopeFlags, exemption_of, scope_of, span_us
from gate.core.duration import HOUR_US, duration_text, parse_duration_us
from gate.core.fields.labels import fold_label
from gate.core.fields.text import repaired
from gate.core.pause.entry import DEFAULT_DURATION_US, MAX_DURATION_US
from gate.core.pause.lease import MAX_LEASE_US, TOO_LONG_A_LEASE
from gate.core.pause.ramp import MAX_RAMP_US
from gate.core.pause.scope import Action, InFlight, PauseMode, Scope
from gate.errors import ControlRefused, NotPermitted, OperatorError, StoreUnavailable
from gate.ports.boards import Acknowledgement
from gate.records.pause import MAX_TEXT
from gate.records.pause_public import link_problem, public_problem

DEFAULT_FOR = duration_text(DEFAULT_DURATION_US)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="pause")(pause)


def pause(
    class_: ClassesFlag = None, surface: SurfaceFlag = None, kind: KindFlag = None, country: CountryFlag = None,
    younger_than: YoungerThanFlag = None, risk_from: RiskFromFlag = None, accounts: AccountsFlag = None,
    everything: PlatformWideFlag = False, action: ActionFlag = Action.STOP, factor: FactorFlag = 0.1,
    only_verified: OnlyVerifiedFlag = False, percent: PercentFlag = 100, except_class: ExceptClassFlag = None,
    except_surface: ExceptSurfaceFlag = None, except_kind: ExceptKindFlag = None,
    except_country: ExceptCountryFlag = None, except_accounts: ExceptAccountsFlag = None,
    except_verified: ExceptVerifiedFlag = False, in_flight: InFlightFlag = InFlight.DRAIN,
    count_only: CountOnlyFlag = False, enforce: EnforceFlag = False, for_: ForFlag = None,
    start_in: StartInFlag = None, ramp: RampFlag = None, reason: ReasonFlag = "", text: MessageFlag = "",
    incident: IncidentFlag = "", public: PublicFlag = "", public_link: PublicLinkFlag = "", owner: OwnerFlag = None,
    machine: MachineFlag = False, propose: ProposeFlag = False, emergency: EmergencyFlag = "",
    direct: DirectFlag = None, yes: YesFlag = False, dry_run: DryRunFlag = False, output: OutputFlag = Output.TEXT,
    state: StateFlag = None, redis: RedisFlag = None, kafka: KafkaFlag = None, admin: AdminFlag = None,
) -> None:  # fmt: skip
    """Pause new uploads, platform-wide or for a part of them, and wait until every live gate obeys.

    Different flags together narrow the scope; the same flag repeated widens it. Names are compared without regard to
    case. For a name that the policy does not have, the command warns and pauses all the same. It prints the pause's id on
    stdout.

    The exit code is 3 unless each live gate obeys and each acknowledgement can be read. `status --forget` removes a gate
    that is gone for good.

    Example: upload-gate pause --class new --for 10m --reason raid -m "bots from everywhere" --yes
    """
    scope = scope_of(ScopeFlags(class_, surface, kind, country, accounts, younger_than, risk_from, everything))
    exempt = exemption_of(
        ScopeFlags(except_class, except_surface, except_kind, except_country, except_accounts), except_verified
    )
    counts = count_only or (accounts is not None and not enforce)
    details = Details(
        _factor(factor) if action is Action.THROTTLE else 0.0, _percent(percent), exempt,
        PauseMode.DRY_RUN if counts else PauseMode.ENFORCE, in_flight, _ramp_us(ramp), _text("--incident", incident),
        *_public(public, public_link), span_us("--start-in", start_in), machine,
    )  # fmt: skip
    action = Action.ALLOW_ONLY if only_verified else action
    check_one_way(propose, emergency)
    authority, who = Authority(propose=propose, emergency=emergency), person(owner)
    addresses = resolve_addresses(state, redis=redis, kafka=kafka, admin=admin)
    try:
        for_us = _lease_us(for_) if machine else _length_us(for_ or DEFAULT_FOR, authority)
    except (ControlRefused, NotPermitted) as refused:
        if not dry_run:
            length = for_ or DEFAULT_FOR
            record_failed(addresses, "pause", who, refused, wanted=wanted_pause(scope, action, reason, length, details))
            raise
        proposing = replace(authority, propose=True)
        for_us = _length_us(for_ or DEFAULT_FOR, proposing)  # the end of the command says what became of it
    wanted = (scope, action, _reason(reason), _text("--message", text), who, for_us)
    if direct is Direct.FILE and propose:
        raise OperatorError("--propose cannot be used with --direct file", "leave one of them out")
    say(*intention_lines(wanted, details, _place(addresses, direct)))
    if counts and not count_only:
        say("a list of accounts is set as a dry run first; see its count with `status`, then `extend ID --enforce`")
    _carry_out(addresses, wanted, details, authority, direct, yes=yes, dry_run=dry_run, output=output)


def _carry_out(
    addresses: Addresses, wanted: Wanted, details: Details, authority: Authority, direct: Direct | None, *, yes: bool,
    dry_run: bool, output: Output,
) -> None:  # fmt: skip
    """Preview the pause, ask unless `yes`, and set it unless it is a dry run."""
    problem, authority = _warned(addresses, wanted, details, authority, direct)
    if dry_run:
        outcome = dry_run_outcome(wanted, details, authority)
        say(f"dry run: nothing was changed{f'; {outcome}' if outcome else ''}")
        if output is Output.JSON:
            emit({**dry_run_document(wanted, details), "outcome": outcome})
        return
    if not yes and not _confirmed(wanted[0]):
        raise cancel()
    if problem is not None and yes:
        failed = not_written(problem, addresses, _other_ways(addresses, direct))
        scope, action, reason, *_, for_us = wanted
        wish = wanted_pause(scope, action, reason, duration_text(for_us), details)
        record_failed(addresses, "pause", wanted[4], failed, wanted=wish)
        raise failed
    if direct is Direct.FILE:
        pause_by_file(addresses, wanted, details, audit_log(addresses), output, authority.emergency)
        return
    run_change(_pause(addresses, wanted, details, authority, direct, output), addresses)


def _place(addresses: Addresses, direct: Direct | None) -> str:
    if direct is Direct.FILE:
        return f"in the break-glass file {addresses.break_glass}"
    return (
        f"in Kafka at {addresses.shown('kafka')}"
        if direct is Direct.KAFKA
        else f"in Redis at {addresses.shown('redis')}"
    )


def _confirmed(scope: Scope) -> bool:
    """Whether the operator agrees; a platform-wide pause is agreed to by typing its scope."""
    if scope.platform_wide:
        return typed("This pauses EVERY upload. Type platform-wide to set it:", "platform-wide")
    return confirmed("Set this pause?")


def _warned(
    addresses: Addresses, wanted: Wanted, details: Details, authority: Authority, direct: Direct | None
) -> tuple[StoreUnavailable | None, Authority]:
    """Warn of names that the policy lacks, and print what the pause would have stopped.

    Returns what the policy permits, and why the board does not answer if that took its whole deadline: another attempt at
    once would take a second one. None: it answers, or refused at once.
    """
    from gate.cli.policy_names import policy_names, rare_labels
    from gate.cli.preview import Narrowed, live_gates_of, preview

    scope, action, reason, *_ = wanted

    async def live() -> list[Acknowledgement]:
        async with operating(addresses, direct=direct) as operate:
            return await live_gates_of(operate)

    gates: list[Acknowledgement] = []
    problem: StoreUnavailable | None = None
    if direct is not Direct.FILE:
        try:
            began_s = time.monotonic()
            gates = asyncio.run(live())
        except StoreUnavailable as error:
            problem = error if time.monotonic() - began_s >= STORE_DEADLINE_S / 2 else None
    names = policy_names(addresses)
    warnings = (*names.warnings(sorted(scope.classes), reason), *rare_labels(scope, names))
    known = Authority(
        names.second_person, names.machines_platform_wide, authority.propose, authority.emergency,
        alone_us=names.alone_us,
    )  # fmt: skip
    first = () if direct is Direct.FILE else first_alone(wanted, details, known)
    narrowed = Narrowed(details.percent, bool(details.exempt), details.mode is PauseMode.DRY_RUN)
    say(*names.notes, *warnings, *preview(gates, addresses, scope, action, narrowed), *first)
    return problem, known


async def _pause(
    addresses: Addresses, wanted: Wanted, details: Details, authority: Authority,
    direct: Direct | None, output: Output,
) -> None:  # fmt: skip
    async with operating(addresses, authority, direct) as operate:
        try:
            written = await operate.pause(*wanted, details)
        except StoreUnavailable as error:
            raise not_written(error, addresses, _other_ways(addresses, direct)) from error
        if output is Output.TEXT:
            result(written.id)
        if written.awaits_approval:
            raise proposed(written, addresses, output, await operate.now_us())
        say(*awaits_more_time(written, addresses))
        await report("pause", written, operate, addresses, output, direct)


def _other_ways(addresses: Addresses, direct: Direct | None) -> str:
    return (
        f"Without {'Kafka' if direct is Direct.KAFKA else 'Redis'}, repeat it with {other_way(direct)}, or put the pause into "
        f"the break-glass file on each gate's host (--direct file writes {addresses.break_glass} on this one)"
    )


def _reason(given: str) -> str:
    reason = fold_label(given)
    if not reason or not reason.isprintable():
        raise OperatorError("a pause needs a reason", "give --reason, such as --reason raid")
    return reason


def _text(flag: str, text: str) -> str:
    if len(text) > MAX_TEXT:
        raise OperatorError(
            f"the text of {flag} is longer than {MAX_TEXT} characters", "shorten it and link to the incident"
        )
    return repaired(text)  # a terminal of another encoding must not keep a pause from being set


def _public(text: str, link: str) -> tuple[str, str]:
    """The text and the link for uploaders. Raises OperatorError for those that no answer may carry."""
    text, link = text.strip(), link.strip()
    for flag, problem in (("--public", public_problem(text)), ("--public-link", link_problem(link))):
        if problem is not None:
            raise OperatorError(f"{flag} {problem}", "correct it; nothing was changed")
    if link and not text:
        raise OperatorError("--public-link comes without a text", "add --public with what uploaders are told")
    return text, link


def _factor(given: float) -> float:
    if not 0.0 < given < 1.0:
        raise OperatorError("--factor is not between 0 and 1", "give a number such as 0.1, for one minute in ten")
    return given


def _percent(given: int) -> int:
    if not 1 <= given <= 100:
        raise OperatorError("--percent is out of range", "give a whole number from 1 to 100")
    return given


def _ramp_us(given: str | None) -> int | None:
    ramp_us = span_us("--ramp", given)
    if ramp_us is not None and ramp_us > MAX_RAMP_US:
        raise OperatorError("--ramp is longer than an hour", "give at most 1h")
    return None if ramp_us is None else ramp_us // 1_000_000 * 1_000_000


def _lease_us(text: str | None) -> int:
    """The length of a machine's pause: what was typed, 60 s where nothing was. Raises NotPermitted beyond that."""
    length_us = MAX_LEASE_US if text is None else _length_us(text, Authority(propose=True))
    if length_us > MAX_LEASE_US:
        raise NotPermitted(TOO_LONG_A_LEASE, "give --for 60s, and renew it with `extend`")
    return length_us


def _length_us(text: str, authority: Authority) -> int:
    most = f"{MAX_DURATION_US // HOUR_US}h for one person"
    try:
        length_us = parse_duration_us(text, most)
    except ValueError as error:
        raise OperatorError(f"--for: {error}", f"without --for it is {duration_text(DEFAULT_DURATION_US)}") from error
    if length_us > MAX_LENGTH_US:
        raise OperatorError(
            f"--for: a pause of {text.strip()} is longer than 30d", "set a shorter one, and extend it later"
        )
    if length_us > MAX_DURATION_US and not authority.propose and not authority.emergency:
        raise ControlRefused(
            f"--for: a pause of {text.strip()} is longer than {most}",
            f"set at most {MAX_DURATION_US // HOUR_US}h, or repeat it with --propose, so that a second person approves it, or "
            "with --emergency WHY",
        )
    return length_us
