"""The state of the kill switch for `status` and `explain`: from Redis, the gate at hand and Kafka, as far as each answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from gate.app.both_channels import HEARD_WITHIN_S, KnownBoard
from gate.cli.addresses import Addresses
from gate.cli.board_access import operating
from gate.cli.direct import Direct
from gate.cli.http_json import admin_token, get_json
from gate.cli.lost_pauses import NAMED, lacking, lacking_note
from gate.core.pause.board import Board, merge
from gate.core.pause.scope import PauseMode
from gate.errors import StateUnreadable, StoreUnavailable, UploadGateError, redact
from gate.ports.boards import Acknowledgement
from gate.records.board_document import board_digest
from gate.records.board_page import decode_board_page
from gate.records.pause import instant_us

ANSWER_WITHIN_S = 1.0
CONTROLS_FRESH_S = 3.0
"""A gate hears Kafka while its last proof of it is no older."""


@dataclass(frozen=True, slots=True)
class StatusView:
    """The state of the kill switch as far as it could be read. `source` is `redis`, `gate` or `kafka`; the `gates` of a gate's
    view are those that Kafka knows.

    `now_us` is the clock by which pauses begin and end. `notes` name the parts that could not be read. `expected` is the
    digest of the board that every gate should hold.
    """

    source: str
    board: Board
    rev: int
    gates: tuple[Acknowledgement, ...]
    now_us: int
    notes: tuple[str, ...] = ()
    counted: Mapping[str, int] = field(default_factory=dict)
    """By pause in dry run: the uploads that it would have held, as the gate at hand counted."""
    digest: str = ""
    unread_gates: tuple[str, ...] = ()
    """The gates whose acknowledgement cannot be read."""

    @property
    def expected(self) -> str:
        """The digest of the gate whose view it is, else of the board."""
        return self.digest or board_digest(self.board)


def read_view(addresses: Addresses, away: StoreUnavailable | None = None) -> StatusView:
    """The board from Redis, with what the gate at hand knows beyond it; from that gate or Kafka alone if Redis is down.

    `away` is why Redis does not answer, if that is known already. Raises StoreUnavailable where nothing answers.
    """
    page: GatePage | UploadGateError
    try:
        page = _gate_page(addresses)
    except UploadGateError as error:
        page = error
    if away is not None:
        return _without_redis(addresses, away, page)
    try:
        # a gate that hears Kafka knows what is there; without one, Kafka itself is read
        heard = isinstance(page, GatePage) and page.hears_kafka
        stored = asyncio.run(_stored(addresses, None, both=not heard))
    except (StoreUnavailable, StateUnreadable) as error:
        return _without_redis(addresses, error, page)
    if isinstance(page, UploadGateError):
        return stored
    shown = merge(stored.board, Board(page.board.pauses))
    unknown = [pause.id for pause in page.board.active(stored.now_us) if pause.id not in stored.board.pauses]
    notes = [*stored.notes, *page.problems]
    if unknown and not any(lacking(said, stored.board) for said in stored.gates):
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        notes.append(f"Redis does not hold what the gate at hand obeys: {', '.join(unknown[:NAMED])}{more}")
    shown = replace(shown, break_glass=page.board.break_glass, lifted=page.board.lifted)
    return replace(stored, board=shown, rev=shown.rev, notes=tuple(notes), counted=_counted(addresses, shown))


def _counted(addresses: Addresses, board: Board) -> dict[str, int]:
    """What the pauses in dry run would have held, as the gate at hand counted; empty where there is none."""
    if addresses.admin is None or all(pause.mode is PauseMode.ENFORCE for pause in board.pauses.values()):
        return {}
    try:
        stats = get_json(f"{addresses.admin}/v1/stats", ANSWER_WITHIN_S, admin_token())
    except UploadGateError:
        return {}
    counts = stats.get("dry_run") if isinstance(stats, dict) else None
    return {str(id_): count for id_, count in (counts or {}).items() if isinstance(count, int)}


async def _stored(addresses: Addresses, direct: Direct | None, both: bool) -> StatusView:
    """The board and the gates as the chosen channel holds them, and with `both` also what the other channel holds."""
    from gate.app.converge import HEARD_WITHIN_US, without_replaced

    async with operating(addresses, direct=direct) as operate:
        known = await operate.known_board() if both else KnownBoard(await operate.board())
        gates = await operate.gates(HEARD_WITHIN_US)
        board, source = known.board, "redis" if direct is None else direct.value
        running = tuple(said for said in without_replaced(gates.acknowledgements) if not said.left)
        notes = known.unread if direct is None else ()
        notes += tuple(f"an acknowledgement in {source.capitalize()} cannot be read: {why}" for why in gates.unreadable)
        notes += tuple(f"a pause cannot be read and is not obeyed: {entry.why}" for entry in board.unreadable)
        notes += lacking_note(running, board, source.capitalize()) + _other_salts(running)
        view = StatusView(source, board, board.rev, running, gates.now_us, notes)
        # the broker's clock dates the acknowledgements in Kafka, and pauses end by another one
        pause_now_us = gates.now_us if direct is None else await operate.now_us()
        unread = tuple(entry.gate for entry in gates.unreadable)
        return replace(view, now_us=pause_now_us, gates=_by_the_clock_of(pause_now_us, view), unread_gates=unread)


def _other_salts(running: Sequence[Acknowledgement]) -> tuple[str, ...]:
    """A sentence on gates with different salts; none where all have the same or do not say."""
    by_salt: dict[str, str] = {said.salt: said.gate for said in running if said.salt}
    if len(by_salt) < 2:
        return ()
    names = ", ".join(sorted(by_salt.values())[:NAMED])
    return (
        f"gates have different UPLOAD_GATE_SALTs, such as {names}: each counts networks and devices by itself, and refuses "
        "reports by a reservation of another. Give all gates the same salt",
    )


def _without_redis(addresses: Addresses, problem: UploadGateError, page: GatePage | UploadGateError) -> StatusView:
    """What the gate at hand obeys; without one, what Kafka holds. Raises StoreUnavailable where neither answers."""
    failed = f"Redis cannot be read ({problem.problem.rstrip('.')})"
    if isinstance(page, GatePage):
        note = f"{failed}; this is what the gate at {redact(addresses.admin or '')} obeys"
        known = _from_kafka(addresses) if page.hears_kafka else None
        now_us = page.now_us  # after both servers were waited for
        gates = () if known is None else _by_the_clock_of(now_us, known)
        return StatusView("gate", page.board, page.rev, gates, now_us, (note, *page.problems), digest=page.digest)
    found = _from_kafka(addresses)
    if found is not None:
        note = f"{failed}, and no gate at hand; this is what Kafka holds"
        return replace(found, notes=(note, *found.notes))
    raise StoreUnavailable(
        f"neither Redis ({redact(addresses.redis)}) nor a gate ({redact(addresses.admin or 'none is named')}) "
        f"returns the pauses: {problem.problem.rstrip('.')}; {page.problem.rstrip('.')}",
        f"start it with `upload-gate up --state {addresses.state}`, or name it with --state, --redis or --admin"
        if problem.problem.rstrip(".").endswith("connection refused")
        else "correct its address, which --state, --redis or UPLOAD_GATE_REDIS gives, or name a gate with --admin",
    ) from page


def _from_kafka(addresses: Addresses) -> StatusView | None:
    """What Kafka holds; None where it does not answer or nothing says that it belongs to the same system."""
    with suppress(StoreUnavailable, StateUnreadable, TimeoutError):
        if addresses.both_channels:
            return asyncio.run(asyncio.wait_for(_stored(addresses, Direct.KAFKA, both=False), HEARD_WITHIN_S))
    return None


def _by_the_clock_of(now_us: int, known: StatusView) -> tuple[Acknowledgement, ...]:
    """The gates that Kafka knows, with the times of their acknowledgements by another clock."""
    apart_us = now_us - known.now_us
    return tuple(replace(said, acknowledged_at_us=said.acknowledged_at_us + apart_us) for said in known.gates)


@dataclass(frozen=True, slots=True)
class GatePage:
    """The page of the gate at hand: its board, with revision and digest, the store's clock as it told it at `read_s` of our
    monotonic clock, whether it hears Kafka, and sentences on problems.
    """

    board: Board
    rev: int
    told_us: int
    read_s: float
    digest: str
    hears_kafka: bool
    problems: tuple[str, ...] = ()

    @property
    def now_us(self) -> int:
        """The store's clock now."""
        return self.told_us + int((time.monotonic() - self.read_s) * 1_000_000)


def _gate_page(addresses: Addresses) -> GatePage:
    """The page of the gate at hand. Raises UploadGateError."""
    if addresses.admin is None:
        raise UploadGateError("nothing names a gate's admin port, as --admin would")
    page = get_json(f"{addresses.admin}/v1/board", ANSWER_WITHIN_S, admin_token())
    read_s = time.monotonic()
    board, rev = decode_board_page(json.dumps(page).encode())
    fields = page if isinstance(page, dict) else {}
    problems = tuple(map(str, fields.get("break_glass_problems") or ()))
    age_s = fields.get("controls_age_s")
    if fields.get("clock_known") is False:
        problems += (
            "the gate at hand has not met the store's clock since its start: it keeps each pause for the time that was "
            "left when its snapshot was written",
        )
    if fields.get("pauses_known") is False:
        problems += (
            "the gate at hand has learned of the pauses from nobody since its start: those it shows are not all",
        )
    if fields.get("acknowledges") is False:
        problems += (
            "the gate at hand cannot acknowledge the pauses in Redis, so no change waits for it there; its log says why",
        )
    hears_kafka = isinstance(age_s, int | float) and age_s < CONTROLS_FRESH_S
    told_us, digest = _now_us(fields.get("now")), str(fields.get("digest") or "")
    return GatePage(board, rev, told_us, read_s, digest, hears_kafka, problems)


def _now_us(told: object) -> int:
    """The time that the gate's page tells, by which its pauses begin and end; our own clock's if it tells none."""
    with suppress(ValueError):
        us = instant_us(datetime.fromisoformat(told)) if isinstance(told, str) else None
        if us is not None:
            return us
    return time.time_ns() // 1_000
