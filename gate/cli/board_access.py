"""Opens the board in Redis for a command, and finishes a change of it: waits for the gates and reports."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.app.both_channels import BothChannels, OtherChannel
from gate.app.operate import Operate, Way
from gate.app.permission import Authority
from gate.cli.addresses import UP_FILE, Addresses
from gate.cli.direct import Direct
from gate.cli.http_json import admin_token, get_json
from gate.cli.identity import login_identity, login_name
from gate.cli.obedience import convergence_json, not_obeyed, obeyed_sentence, query_unheard
from gate.cli.output import CANCELLED, Output, emit, say
from gate.cli.with_kafka import SAY_AFTER_S, topics_of_command, waiting_for
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.errors import (
    AccessRefused,
    ControlRefused,
    NotConverged,
    NotPermitted,
    OperatorError,
    StateUnreadable,
    StoreUnavailable,
    UploadGateError,
    redact,
)
from gate.ports.audit import AuditEntry, AuditOutcome
from gate.ports.boards import BoardStore
from gate.records.board_page import decode_board_page
from gate.records.pause import MAX_NAME, pause_document
from gate.stores.disk.audit_file import AuditFile

if TYPE_CHECKING:
    from gate.stores.kafka.boards import KafkaBoardStore

STORE_DEADLINE_S = 2.0
OBEY_DEADLINE_S = 5.0
GATE_DEADLINE_S = 1.0
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

OwnerFlag = Annotated[str | None, typer.Option("--owner", help="Who is responsible; default UPLOAD_GATE_OWNER or you.")]
YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def new_pause_id() -> str:
    """`p-` and 40 random bits in base32."""
    return "p-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))


@asynccontextmanager
async def operating(
    addresses: Addresses, authority: Authority | None = None, direct: Direct | None = None
) -> AsyncIterator[Operate]:
    """The acts on the board in the system's Redis, or on the way that the operator chose.

    Its calls raise StoreUnavailable while that server is away. The first call connects, so that a server which does not
    answer takes one deadline. Every change is written to the audit log of the state directory.
    """
    is_kafka = direct is Direct.KAFKA
    way = Way("kafka" if is_kafka else "redis", direct is not None)
    known = replace(Authority() if authority is None else authority, identity=login_identity())
    async with _said_to_wait(addresses) if is_kafka else redis_board(addresses) as store:
        audit, channels = audit_log(addresses), BothChannels(_other_channel(addresses, is_kafka))
        yield Operate(
            store, new_pause_id, addresses.command("status"), known, audit, way, channels=channels,
            gate_at_hand=lambda: _gate_at_hand(addresses),
        )  # fmt: skip


async def _gate_at_hand(addresses: Addresses) -> Board:
    """The board of the gate at hand; empty where none answers."""
    with suppress(UploadGateError):
        if addresses.admin is not None:
            return await board_of_gate(addresses.admin)
    return Board()


async def board_of_gate(admin: str) -> Board:
    """The whole board of the gate with this admin port, without its break-glass file. Raises UploadGateError."""
    return Board((await page_of_gate(admin, whole=True)).pauses)


async def page_of_gate(admin: str, whole: bool) -> Board:
    """The board of the gate with this admin port, with its break-glass file; with `whole` also all pauses that have ended.
    Raises UploadGateError."""
    page = await asyncio.to_thread(get_json, f"{admin}/v1/board", GATE_DEADLINE_S, admin_token())
    return decode_board_page(json.dumps(page).encode(), whole)[0]


def _other_channel(addresses: Addresses, is_kafka: bool) -> OtherChannel | None:
    """The channel that a command does not write to; None where nothing says that it belongs to the same system."""
    if not addresses.both_channels:
        return None
    if is_kafka:
        return OtherChannel(f"Redis at {addresses.shown('redis')}", lambda: redis_board(addresses))
    return OtherChannel(f"Kafka at {addresses.shown('kafka')}", lambda: kafka_board(addresses))


@asynccontextmanager
async def kafka_board(addresses: Addresses, *, gives_up: bool = False) -> AsyncIterator[KafkaBoardStore]:
    """The board in the system's Kafka, between its connecting and its closing."""
    from gate.stores.kafka.boards import KafkaBoardStore

    topics = topics_of_command()
    names = topics.pauses.name, topics.acknowledgements.name
    async with KafkaBoardStore(addresses.kafka, names[0], acknowledgements=names[1], gives_up=gives_up) as kafka:
        yield kafka


@asynccontextmanager
async def _said_to_wait(addresses: Addresses) -> AsyncIterator[BoardStore]:
    """As `kafka_board`; says so if the first reading takes long."""
    async with kafka_board(addresses, gives_up=True) as kafka:
        reading = asyncio.get_running_loop().call_later(SAY_AFTER_S, _say_if_waiting, addresses, kafka)
        try:
            yield kafka
        finally:
            reading.cancel()


def _say_if_waiting(addresses: Addresses, kafka: KafkaBoardStore) -> None:
    if not kafka.caught_up:
        say(waiting_for(addresses.kafka))


@asynccontextmanager
async def redis_board(addresses: Addresses) -> AsyncIterator[BoardStore]:
    """The board in the system's Redis, between its connecting and its closing."""
    from gate.stores.redis.boards import RedisBoardStore

    redis = RedisBoardStore(addresses.redis, prefix=addresses.prefix, deadline_s=STORE_DEADLINE_S)
    try:
        yield redis
    finally:
        await redis.close()


def run_change(change: Coroutine[object, object, None], addresses: Addresses) -> None:
    """Run a command's change of the board. Ctrl-C ends it with the exit code of what was cancelled."""
    try:
        asyncio.run(change)
    except KeyboardInterrupt:
        say(f"cancelled; it may have been written: look with {addresses.command('status')}")
        raise typer.Exit(CANCELLED) from None


def person(given: str | None) -> str:
    """The name of the operator: `given`, else UPLOAD_GATE_OWNER, the caller of `sudo`, the login or the shell's user.

    Raises OperatorError.
    """
    owner = given or os.environ.get("UPLOAD_GATE_OWNER") or os.environ.get("SUDO_USER") or login_name()
    if not owner:
        try:
            owner = getpass.getuser()
        except (KeyError, OSError):
            owner = f"uid-{os.getuid()}"
    if len(owner) > MAX_NAME or not owner.isprintable():
        raise OperatorError("the owner's name is too long or cannot be shown", "give --owner NAME")
    return owner


def audit_log(addresses: Addresses) -> AuditFile:
    """The audit log of the state directory, a chain of its own."""
    directory = str(addresses.state.absolute())
    chain = f"{socket.gethostname()}-{hashlib.sha256(directory.encode()).hexdigest()[:8]}"
    told: set[Path] = set()

    def recorded(path: Path) -> None:
        if path not in told:
            told.add(path)
            say(f"recorded in {path}{_unsent_note(addresses)}")

    return AuditFile(addresses.state, chain, lambda: time.time_ns() // 1_000, say, recorded)


def _unsent_note(addresses: Addresses) -> str:
    """What to do if no gate is known to send the log of this directory to Kafka."""
    if (addresses.state / UP_FILE).exists() or os.environ.get("UPLOAD_GATE_STATE"):
        return ""
    return (
        ", a default directory; a gate that runs with another state directory does not send it to Kafka, which "
        "`upload-gate audit send` does"
    )


def record_failed(addresses: Addresses, act: str, by: str, error: UploadGateError, **more: str) -> None:
    """Write to the audit log that an attempt was refused or failed before there was a change to write."""
    refused = isinstance(error, OperatorError | ControlRefused | NotPermitted)
    outcome = AuditOutcome.REFUSED if refused else AuditOutcome.FAILED
    entry = AuditEntry(act, by, outcome, "", detail=str(error), identity=login_identity(), **more)  # type: ignore[arg-type]
    audit_log(addresses).record(entry)


async def report(
    act: str, changed: Pause, operate: Operate, addresses: Addresses, output: Output, direct: Direct | None = None
) -> None:
    """Wait until the gates obey `changed`, and print which do. Raises NotConverged unless all gates obey."""
    document, failed = await obedience(act, changed, operate, addresses, output, direct)
    if output is Output.JSON:
        emit(document)
    if failed is not None:
        raise failed


async def obedience(
    act: str, changed: Pause, operate: Operate, addresses: Addresses, output: Output, direct: Direct | None = None
) -> tuple[dict[str, object], UploadGateError | None]:
    """Wait until the gates obey `changed`, and say which do. Returns the document for `-o json`, and the error unless all
    gates obey."""
    what = f"{act} {changed.id}"
    try:
        durable = await operate.durable()
        waited = await operate.converged(changed, OBEY_DEADLINE_S)
        convergence, unheard = await query_unheard(waited, OBEY_DEADLINE_S, await operate.lapsed_gates())
    except asyncio.CancelledError as interrupted:  # Ctrl-C ends the wait, and undoes nothing
        raise NotConverged(
            f"{what} is written (rev {changed.rev}) and stays so; the wait for the gates was cancelled",
            f"see which obey it with {addresses.command('status')}",
        ) from interrupted
    for gate in convergence.not_on_disk:
        say(f"warning: gate {gate.said.gate} at {gate.said.url} obeys it but cannot write it to its disk")
    if durable is False:
        say("warning: no replica has it yet; if the server is lost now, the gates write it back")
    for name in convergence.shared_names:
        say(f"warning: several gates are live under the one name {name}; give each an UPLOAD_GATE_NAME of its own")
    failed: UploadGateError | None = not_obeyed(what, convergence, unheard, addresses) or await _overruled(
        act, changed, operate
    )
    if failed is None and output is Output.TEXT:
        store = "Kafka" if direct is Direct.KAFKA else "Redis"
        say(obeyed_sentence(what, convergence, store, await operate.now_us()))
    document = {
        **pause_document(changed, await operate.now_us()),
        **convergence_json(convergence, unheard),
        "durable": durable,
        **({"kafka": addresses.kafka} if direct is Direct.KAFKA else {"redis": redact(addresses.redis)}),
    }
    return document, failed


async def _overruled(act: str, changed: Pause, operate: Operate) -> ControlRefused | None:
    """The error for a change of a pause that somebody else released at the same moment; None where nobody did."""
    if act == "pause" or changed.released_at_us is not None:
        return None  # nobody else knows the id of a new pause
    with suppress(StoreUnavailable, StateUnreadable):
        found = await operate.released_meanwhile(changed)
        if found is not None:
            by = found.released_by or "an unnamed person"
            return ControlRefused(
                f"pause {changed.id} was released at the same moment, by {by}: a release is final, so this change has no "
                "effect",
                "set another pause of the same uploads with `pause`",
            )
    return None


def other_way(direct: Direct | None) -> str:
    """The flag of the way to the gates that does not need the server which does not answer."""
    return "--direct redis" if direct is Direct.KAFKA else "--direct kafka"


def repeat_or_other_way(direct: Direct | None) -> str:
    """The remedy for a change that can be made again at any time."""
    return f"Repeat it, or take another way with {other_way(direct)}"


def not_written(error: StoreUnavailable, addresses: Addresses, remedy: str) -> StoreUnavailable:
    """The error for a change that the store did not confirm. Its answer may have been lost after the write."""
    look = f"Look with {addresses.command('status')} whether the change was written."
    said = look if error.was_reached else "Nothing was written."
    if isinstance(error, AccessRefused):
        return AccessRefused(error.problem.rstrip("."), f"{error.remedy.rstrip('.')}. {said} {remedy}")
    return StoreUnavailable(error.problem.rstrip("."), f"{said} {remedy}")
