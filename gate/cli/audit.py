"""`audit verify` and `audit send`: check that the audit log of this host is complete, and send it to Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from gate.cli.addresses import KafkaFlag, StateFlag, resolve_addresses
from gate.cli.board_access import audit_log
from gate.cli.history import lines_of_log, records_in_kafka, unreadable
from gate.cli.output import Output, OutputFlag, counted, emit, result, say
from gate.cli.with_kafka import topics_of_command, with_kafka
from gate.errors import NotConverged, StateUnreadable, StoreUnavailable
from gate.records.audit import AuditRecord, check_chain, decode_audit

audit = typer.Typer(
    help="Check and send the record of all changes of the kill switch.",
    epilog="Example: upload-gate audit verify",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(audit, name="audit")


@audit.command()
def verify(output: OutputFlag = Output.TEXT, state: StateFlag = None, kafka: KafkaFlag = None) -> None:
    """Check that no record of this host was changed or removed, against its chain and against Kafka's copies.

    The exit code is 3 if the chain is broken. Without Kafka it checks the chain alone, and says so.

    Example: upload-gate audit verify
    """
    addresses = resolve_addresses(state, kafka=kafka)
    log = audit_log(addresses)
    lines = lines_of_log(log)
    checked = check_chain(lines)
    problems = list(checked.problems)
    kept: list[int] = []
    try:
        copies = records_in_kafka(addresses)
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
    try:
        sent = with_kafka(addresses.kafka, lambda: send_unsent(log, addresses.kafka, topics_of_command().audit.name))
    except OSError as error:
        raise unreadable(log, error) from error
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
