"""`history` and `audit`: show who changed which pause, and check that the audit log is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import typer

from gate.cli.addresses import Addresses, KafkaFlag, StateFlag, resolve_addresses
from gate.cli.board_access import audit_log
from gate.cli.output import Output, OutputFlag, counted, emit, result, say
from gate.cli.pause_text import lines_of, local_time, terminal_width
from gate.cli.with_kafka import topics_of_command, with_kafka
from gate.core.pause.wording import effect_of, narrowing
from gate.errors import NotConverged, StateUnreadable, StoreUnavailable
from gate.records.audit import AuditRecord, check_chain, decode_audit
from gate.records.pause import decode_pause

LAST = 20
_CHANGES = {"set": "pause", "release": "release", "extend": "extension"}


def register(app: typer.Typer) -> None:
    """Add `history`."""
    app.command(name="history")(history)


def history(
    id_: Annotated[
        str | None, typer.Argument(metavar="ID", help="Show only this pause or account.", show_default=False)
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Show the records of all hosts, from Kafka.")
    ] = False,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest records to show.")] = LAST,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    kafka: KafkaFlag = None,
) -> None:
    """Show who set, released, extended or approved which pause, and who set or removed which override.

    Attempts that were refused or failed are shown too.

    Example: upload-gate history p-7k2mq4xd
    """
    addresses = resolve_addresses(state, kafka=kafka)
    records = _from_kafka(addresses) if everywhere else _from_file(addresses)
    found = [record for record in records if id_ is None or id_ in (record.pause, record.account)][-last:]
    if output is Output.JSON:
        emit({"records": [record_json(record) for record in found]})
    else:
        result(*(line for record in found for line in lines_of(record_fields(record), terminal_width())))
        if not found:
            of = "" if id_ is None else f" of {id_}"
            say(f"no record{of} in {'Kafka' if everywhere else audit_log(addresses).path}")


def record_fields(record: AuditRecord) -> list[str]:
    """A record as fields for people, the time first."""
    after, before = record.after or {}, record.before or {}
    what = after or before
    fields = [
        local_time(round(record.at.timestamp() * 1_000_000)),
        f"{record.act} {record.pause or record.account}".rstrip(),
        f"by {record.who}",
    ]
    if record.outcome != "done":
        fields.append(record.outcome.upper())
    if what and record.account:
        does = "allow" if what.get("allow") else f"limits of {what['limits_of']}" if what.get("limits_of") else "deny"
        fields.append(f"{does}, {what.get('reason')}")
    elif what:
        fields += _pause_fields(what)
    proposal = before.get("proposal")
    if record.approver and isinstance(proposal, dict):
        fields.append(
            f"approves the {_CHANGES.get(str(proposal.get('change')), 'change')} that {proposal.get('by')} proposed"
        )
    elif record.approver:
        fields.append(f"approved by {record.approver}")
    if record.emergency:
        fields.append(f"EMERGENCY: {record.emergency}")
    if record.direct:
        fields.append(f"directly in {record.via} (break-glass)")
    if record.detail:
        fields.append(record.detail)
    if record.identity:
        fields.append(f"login {record.identity}")
    return fields


def _pause_fields(recorded: dict[str, Any]) -> list[str]:
    """What a recorded pause does, in the words of `status`; its action and reason alone if a newer release wrote it."""
    try:
        pause = decode_pause(msgspec.json.encode(recorded))
    except StateUnreadable as error:
        return [f"{recorded.get('action')}, {recorded.get('reason')}, of uploads that cannot be read here ({error})"]
    effect = effect_of(pause.action, pause.factor, pause.mode)
    return [f"{effect} {pause.scope}", *narrowing(pause.percent, pause.exempt), pause.reason]


def record_json(record: AuditRecord) -> dict[str, object]:
    """A record as JSON, with its time as it is stored."""
    return {name: getattr(record, name) for name in record.__struct_fields__} | {"at": record.at.isoformat()}


audit = typer.Typer(
    help="Check and send the record of all changes of the kill switch.",
    epilog="Example: upload-gate audit verify",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@audit.command()
def verify(output: OutputFlag = Output.TEXT, state: StateFlag = None, kafka: KafkaFlag = None) -> None:
    """Check that no record of this host was changed or removed, against its chain and against Kafka's copies.

    The exit code is 3 if the chain is broken. Without Kafka it checks the chain alone, and says so.

    Example: upload-gate audit verify
    """
    addresses = resolve_addresses(state, kafka=kafka)
    log = audit_log(addresses)
    lines = list(log.lines())
    checked = check_chain(lines)
    problems = list(checked.problems)
    kept: list[int] = []
    try:
        copies = _from_kafka(addresses)
    except StoreUnavailable as error:
        say(f"warning: the copies in Kafka were not compared: {error}")
    else:
        problems += copy_problems(lines, copies, log.chain, checked.damaged)
        kept = sorted({copy.seq for copy in copies if copy.chain == log.chain and copy.seq in checked.damaged})
    if output is Output.JSON:
        emit({"file": str(log.path), "records": len(lines), "problems": problems})
    else:
        count = counted(len(problems), "problem") if problems else "no problems"
        result(*problems, f"{counted(len(lines), 'record')} in {log.path}, {count}")
    if problems:
        raise NotConverged(f"the audit log {log.path} is incomplete or was changed", _where_the_original_is(kept))


def _where_the_original_is(kept: Sequence[int]) -> str:
    if not kept:
        return "see the problems above"
    records = f"record {kept[0]}" if len(kept) == 1 else f"records {', '.join(map(str, kept[:10]))}"
    return f"Kafka has {records} as first written: `upload-gate history --everywhere` shows it"


@audit.command()
def send(output: OutputFlag = Output.TEXT, state: StateFlag = None, kafka: KafkaFlag = None) -> None:
    """Send the records of this host that Kafka does not have yet. A gate on this host does so by itself.

    Example: upload-gate audit send
    """
    from gate.stores.kafka.audit import send_unsent

    addresses = resolve_addresses(state, kafka=kafka)
    log = audit_log(addresses)
    sent = with_kafka(addresses.kafka, lambda: send_unsent(log, addresses.kafka, topics_of_command().audit.name))
    where = f"Kafka at {addresses.shown('kafka')}"
    emit({"sent": sent}) if output is Output.JSON else result(f"{counted(sent, 'record')} sent to {where}")


def copy_problems(
    lines: Sequence[bytes], copies: Sequence[AuditRecord], chain: str, damaged: frozenset[int] = frozenset()
) -> list[str]:
    """A sentence for each record of this host's `chain` that Kafka has in another form, or has and the file lacks.

    `damaged` are the records of lines that are known to be at fault, of which there is nothing more to say.
    """
    own: dict[int, AuditRecord] = {}
    for line in lines:
        try:
            record = decode_audit(line)
        except StateUnreadable:
            continue
        own[record.seq] = record
    chains = {chain, *(record.chain for record in own.values())}
    forked, forks = _forks(own, [copy for copy in copies if copy.chain in chains])
    return forks + [
        f"record {copy.seq} of {copy.chain} differs from its copy in Kafka"
        if copy.seq in own
        else f"record {copy.seq} of {copy.chain} is in Kafka and not in the file"
        for copy in copies
        if copy.chain in chains
        and copy.seq not in damaged
        and copy.hash not in forked
        and (copy.seq not in own or own[copy.seq].hash != copy.hash)
    ]


def _forks(own: Mapping[int, AuditRecord], copies: Sequence[AuditRecord]) -> tuple[set[str], list[str]]:
    """The hashes of the copies that another log wrote into this chain, and a sentence for each place where it forks.

    Kafka then has two versions of a record, this file's and another one: a state directory was copied or restored, or
    records were forged and sent.
    """
    sent = {copy.hash for copy in copies}
    forked: set[str] = set()
    sentences: list[str] = []
    for copy in sorted(copies, key=lambda each: each.seq):
        mine = own.get(copy.seq)
        if copy.prev in forked:
            forked.add(copy.hash)
        elif mine is not None and mine.hash != copy.hash and mine.hash in sent:
            forked.add(copy.hash)
            sentences.append(
                f"record {copy.seq} of {copy.chain} exists twice in Kafka: this file's by {_by(mine)}, and another one by "
                f"{_by(copy)}; two logs continue one chain, so give each host a state directory of its own"
            )
    return forked, sentences


def _by(record: AuditRecord) -> str:
    return f"{record.who} ({record.identity})" if record.identity else record.who


def _from_file(addresses: Addresses) -> list[AuditRecord]:
    found: list[AuditRecord] = []
    for number, line in enumerate(audit_log(addresses).lines(), 1):
        try:
            found.append(decode_audit(line))
        except StateUnreadable as error:
            say(f"warning: line {number}: {error}")
    return found


def _from_kafka(addresses: Addresses) -> list[AuditRecord]:
    from gate.stores.kafka.audit import read_audit

    return with_kafka(addresses.kafka, lambda: read_audit(addresses.kafka, topics_of_command().audit.name))
