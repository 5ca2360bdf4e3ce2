"""`--direct`: reaches the gates through Redis, Kafka or the host's break-glass file when the ordinary way fails."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from gate.app.operate import Details
from gate.cli.addresses import Addresses
from gate.cli.http_json import admin_token, get_json
from gate.cli.identity import login_identity
from gate.cli.output import Output, emit, result, say, say_error
from gate.core.pause.entry import Pause
from gate.core.pause.ramp import default_ramp_us
from gate.core.pause.scope import Action, Scope
from gate.errors import NotConverged, OperatorError, StateUnreadable, UploadGateError, file_problem
from gate.ports.audit import AuditEntry, AuditLog, AuditOutcome
from gate.records.break_glass_document import with_pause, with_release
from gate.records.pause import MAX_ID
from gate.stores.disk.break_glass import rewrite

OBEYED_WITHIN_S = 4.0
_POLL_S = 0.1


class Direct(StrEnum):
    """The way that a change takes, if the operator chooses it."""

    REDIS = "redis"
    KAFKA = "kafka"
    FILE = "file"


DirectFlag = Annotated[
    Direct | None,
    typer.Option(
        "--direct",
        help="Write through Redis, Kafka, or the break-glass file of this host, if the ordinary way fails.",
    ),
]


def pause_by_file(
    addresses: Addresses,
    wanted: tuple[Scope, Action, str, str, str, int],
    details: Details,
    audit: AuditLog,
    output: Output,
    emergency: str = "",
) -> None:
    """Write a pause into the host's file and wait until its gate obeys. Raises OperatorError, NotConverged."""
    if details.machine:
        raise OperatorError("--machine cannot be used with --direct file", "leave one of them out")
    scope, action, reason, text, owner, for_us = wanted
    now_us = time.time_ns() // 1_000
    starts_us = None if details.starts_in_us is None else now_us + details.starts_in_us
    pause = Pause(
        f"file-{secrets.token_hex(4)}", 1, scope, action, reason, text, owner, starts_us,
        (now_us if starts_us is None else starts_us) + for_us, set_at_us=now_us, factor=details.factor,
        percent=details.percent, exempt=details.exempt, mode=details.mode, in_flight=details.in_flight,
        ramp_us=default_ramp_us(for_us) if details.ramp_us is None else details.ramp_us, incident=details.incident,
        emergency=emergency, public=details.public, public_link=details.public_link, identity=login_identity(),
    )  # fmt: skip
    entry = AuditEntry(
        "pause", owner, AuditOutcome.DONE, pause.id, None, pause, "", None, emergency, False, "file", True,
        identity=login_identity(),
    )  # fmt: skip
    _write(addresses, lambda data, at_us: with_pause(data, at_us, pause), entry, audit)
    if output is Output.TEXT:
        result(pause.id)
    failed = _obedience(addresses, pause.id, lambda page: pause.id in (*_ids(page), *_ids(page, "scheduled")))
    if output is Output.JSON:
        emit(_document(addresses, pause.id, failed))
    if failed is not None:
        raise failed


def release_by_file(
    addresses: Addresses, ids: Iterable[str], by: str, audit: AuditLog, output: Output, emergency: str = ""
) -> None:
    """Lift each of the pauses on this host by its file, and then wait until its gate obeys. Raises OperatorError, NotConverged.

    An id that the gate does not know is an error; where no gate answers, it is written all the same. An error with one
    pause does not keep the others from being lifted.
    """
    known, wanted = _known(addresses), tuple(ids)
    written: list[str] = []
    problems: list[UploadGateError] = []
    for id_ in wanted:
        entry = AuditEntry(
            "release", by, AuditOutcome.DONE, id_, via="file", direct=True, identity=login_identity(), emergency=emergency
        )  # fmt: skip
        try:
            _check_known(addresses, id_, known, entry, audit)
            _write(addresses, partial(_lifted_in, id_), entry, audit)
        except OperatorError as error:
            problems.append(error)
        else:
            written.append(id_)
            if output is Output.TEXT:
                result(id_)
    documents: list[dict[str, object]] = []
    for id_ in written:
        failed = _obedience(addresses, id_, partial(_is_lifted, id_), "release of ")
        documents.append(_document(addresses, id_, failed))
        problems += [] if failed is None else [failed]
    if output is Output.JSON and len(wanted) != 1:
        emit({"releases": documents, "problems": [str(problem) for problem in problems]})
    elif output is Output.JSON and documents:
        emit(documents[0])
    if problems:
        for problem in problems[1:]:
            say_error(problem)
        raise problems[0]


def _lifted_in(id_: str, data: bytes | None, at_us: int) -> bytes:
    return with_release(data, at_us, id_)


def _is_lifted(id_: str, page: object) -> bool:
    return id_ in _lifted(page) or id_ not in _ids(page)


def _check_known(addresses: Addresses, id_: str, known: list[str] | None, entry: AuditEntry, audit: AuditLog) -> None:
    """Raise OperatorError for text that is not an id, and for a pause that neither this host's gate nor its file has."""
    is_id = 0 < len(id_) <= MAX_ID and id_.isprintable()
    if is_id and (known is None or id_ in known or _is_in_file(addresses, id_)):
        return
    shown = f"it knows {', '.join(known[:10])}" if known else "it knows of no pause at all" if is_id else "see `status`"
    unknown = OperatorError(f"the gate of this host knows no pause {id_[:MAX_ID]}; nothing was changed", shown)
    audit.record(replace(entry, outcome=AuditOutcome.REFUSED, detail=str(unknown)))
    raise unknown


def _known(addresses: Addresses) -> list[str] | None:
    """The ids of all pauses that the gate of this host knows; None where it does not answer."""
    try:
        page = None if addresses.admin is None else _page(addresses)
    except UploadGateError:
        return None
    return None if page is None else [str(id_) for of in ("pauses", "scheduled", "ended") for id_ in _ids(page, of)]


def _is_in_file(addresses: Addresses, id_: str) -> bool:
    try:
        return id_.encode() in addresses.break_glass.read_bytes()
    except OSError:
        return False


def _page(addresses: Addresses) -> object:
    return get_json(f"{addresses.admin}/v1/board", 1.0, admin_token())


def _write(
    addresses: Addresses, change: Callable[[bytes | None, int], bytes], entry: AuditEntry, audit: AuditLog
) -> None:
    path = addresses.break_glass
    try:
        rewrite(path, change)
    except (OSError, StateUnreadable) as error:
        problem = file_problem(error) if isinstance(error, OSError) else str(error)
        failed = OperatorError(f"the break-glass file {path} cannot be written: {problem}", "correct it by hand")
        audit.record(replace(entry, outcome=AuditOutcome.FAILED, detail=str(failed)))
        raise failed from error
    audit.record(entry)
    say(f"written to the break-glass file {path}; it holds on this host alone")


def _obedience(
    addresses: Addresses, id_: str, obeys: Callable[[object], bool], change: str = ""
) -> NotConverged | None:
    """Wait until the gate of this host shows that it obeys, and say so. Returns the error where it does not."""
    until_s = time.monotonic() + OBEYED_WITHIN_S
    problem = "its admin port is unknown; name it with --admin"
    while addresses.admin is not None:
        try:
            page = _page(addresses)
            problem = "it does not obey the file"
            if obeys(page):
                say(f"{change}{id_} is obeyed by the gate of this host, at {addresses.admin}")
                return None
        except UploadGateError as error:
            problem = error.problem
        if time.monotonic() > until_s:
            return NotConverged(
                f"{id_} is written, but the gate of this host is not known to obey it: {problem}",
                "a gate reads the file within a second, and at its start; write it on every other gate's host too",
            )
        time.sleep(_POLL_S)
    return NotConverged(f"{id_} is written, but no gate of this host can be asked: {problem}")


def _document(addresses: Addresses, id_: str, failed: NotConverged | None) -> dict[str, object]:
    """What `-o json` prints of a change that is written."""
    return {"id": id_, "via": "file", "file": str(addresses.break_glass), "obeyed": failed is None}


def _ids(page: object, of: str = "pauses") -> list[object]:
    pauses = page.get(of) if isinstance(page, dict) else None
    return [pause.get("id") for pause in pauses or [] if isinstance(pause, dict)]


def _lifted(page: object) -> list[object]:
    lifted = page.get("lifted") if isinstance(page, dict) else None
    return lifted if isinstance(lifted, list) else []
