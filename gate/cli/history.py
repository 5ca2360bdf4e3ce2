"""`history`: shows who changed which pause and which override."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from gate.cli.addresses import Addresses, KafkaFlag, StateFlag, resolve_addresses
from gate.cli.board_access import audit_log
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.cli.pause_text import lines_of, local_time, terminal_width
from gate.cli.with_kafka import topics_of_command, with_kafka
from gate.core.pause.wording import effect_of, narrowing
from gate.errors import StateUnreadable, UploadGateError, file_problem
from gate.records.audit import AuditRecord, decode_audit
from gate.records.pause import decode_pause
from gate.stores.disk.audit_file import AuditFile

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
    records = records_in_kafka(addresses) if everywhere else _from_file(addresses)
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
    elif record.wanted:
        fields.append(record.wanted)
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


def _from_file(addresses: Addresses) -> list[AuditRecord]:
    found: list[AuditRecord] = []
    for number, line in enumerate(lines_of_log(audit_log(addresses)), 1):
        try:
            found.append(decode_audit(line))
        except StateUnreadable as error:
            say(f"warning: line {number}: {error}")
    return found


def lines_of_log(log: AuditFile) -> list[bytes]:
    """The lines of the log. Raises UploadGateError if this user or this host cannot read it."""
    try:
        return list(log.lines())
    except OSError as error:
        raise unreadable(log, error) from error


def unreadable(log: AuditFile, error: OSError) -> UploadGateError:
    """The error of a log that this host cannot read, or whose place it cannot keep."""
    return UploadGateError(
        f"the audit log {log.path} cannot be used: {file_problem(error)}",
        "look at the file and its folder, or type the command as their owner; `history --everywhere` reads the copies in Kafka",
    )


def records_in_kafka(addresses: Addresses) -> list[AuditRecord]:
    """The records of all hosts. Raises StoreUnavailable."""
    from gate.stores.kafka.audit import read_audit

    return with_kafka(addresses.kafka, lambda: read_audit(addresses.kafka, topics_of_command().audit.name))
