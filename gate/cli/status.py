"""`status`: shows the pauses in force, the gates that obey, and the policy. From Redis, or a gate if Redis is down."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Annotated

import typer

from gate.app.both_channels import HEARD_WITHIN_S, KnownBoard
from gate.cli.addresses import Addresses, AdminFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.board_access import YesFlag, audit_log, operating, person
from gate.cli.direct import Direct
from gate.cli.fit_height import BEHIND, CANNOT_READ, HOLDS, NOT_ON_DISK, UNHEARD, fitted
from gate.cli.http_json import admin_token, get_json
from gate.cli.identity import login_identity
from gate.cli.lacking import NAMED, lacking, lacking_note
from gate.cli.obedience import forgotten_at
from gate.cli.output import Output, OutputFlag, cancel, confirmed, emit, result, say, say_error, stdout_lost
from gate.cli.pause_text import clock_time, lines_of, pause_fields, terminal_width
from gate.core.pause.board import Board, merge
from gate.core.pause.scope import PauseMode
from gate.core.pause.wording import pause_counts, ramping, waiting
from gate.errors import ControlRefused, OperatorError, StateUnreadable, StoreUnavailable, UploadGateError, redact
from gate.ports.audit import AuditEntry, AuditOutcome
from gate.ports.boards import Acknowledgement, Gates
from gate.records.board_document import board_digest
from gate.records.board_page import decode_board_page
from gate.records.pause import pause_document

ANSWER_WITHIN_S = 1.0
WATCH_EVERY_S = 1.0
CONTROLS_FRESH_S = 3.0
"""A gate hears Kafka while its last proof of it is no older."""


@dataclass(frozen=True, slots=True)
class StatusView:
    """The state of the kill switch as far as it could be read. `source` is `redis`, `gate` or `kafka`; a gate knows no `gates`.

    `now_us` is the clock by which pauses begin and end. `notes` name the parts that could not be read.
    """

    source: str
    board: Board
    rev: int
    gates: tuple[Acknowledgement, ...]
    now_us: int
    notes: tuple[str, ...] = ()
    counted: Mapping[str, int] = field(default_factory=dict)
    """By pause in dry run: the uploads that it would have held, as the gate at hand counted."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="status")(status)


def status(
    forget: Annotated[
        str | None,
        typer.Option(metavar="GATE", help="Stop counting a gate that is gone for good; refused while it runs."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again each second, until Ctrl-C.")] = False,
    yes: YesFlag = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
    admin: AdminFlag = None,
) -> None:
    """Show each pause in force, the gates and whether they obey, and the policy.

    It works while the gates are down; while Redis is down it shows what a gate obeys. A gate that was killed counts for
    5 minutes, and until then each pause names it; --forget ends that at once.

    Example: upload-gate status -o json
    """
    addresses = resolve_addresses(state, redis=redis, admin=admin)
    if forget is not None:
        asyncio.run(forget_gate(addresses, forget, yes))
        return
    _show(addresses, output, clear=False)
    if watch:
        with suppress(KeyboardInterrupt):  # Ctrl-C is how a watch ends, and no cancelled change
            _watch(addresses, output)


def _watch(addresses: Addresses, output: Output) -> None:
    while stdout_lost() is None:
        time.sleep(WATCH_EVERY_S)
        try:
            _show(addresses, output, clear=True)
        except UploadGateError as error:
            say_error(error)


def _show(addresses: Addresses, output: Output, clear: bool) -> None:
    view = read_view(addresses)
    policy, policy_text, problem = _policy_hash(addresses)
    if clear and output is Output.TEXT and sys.stdout.isatty():
        sys.stdout.write("\x1b[H\x1b[2J")
    notes = [f"warning: {note}" for note in view.notes]
    if problem is not None:
        said = "; ".join(problem.split("\n"))
        notes.append(f"warning: the policy file has mistakes, and the last good one stays in force: {said}")
    say(*notes)
    if output is Output.JSON:
        emit({**_json(view, policy, addresses), "policy_problem": problem})
    else:
        lines, width = status_lines(view, policy_text, addresses, terminal_width()), terminal_width()
        if clear and sys.stdout.isatty():
            rows = sum(-(-len(note) // width) for note in notes)
            lines = fitted(lines, shutil.get_terminal_size().lines - rows - 1)
        result(*lines)


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
    from gate.app.converge import HEARD_WITHIN_US

    async with operating(addresses, direct=direct) as operate:
        known = await operate.known_board() if both else KnownBoard(await operate.board())
        gates = await operate.gates(HEARD_WITHIN_US)
        board, source = known.board, "redis" if direct is None else direct.value
        running = tuple(said for said in gates.acknowledgements if not said.left)
        notes = known.unread if direct is None else ()
        notes += tuple(f"an acknowledgement in {source.capitalize()} cannot be read: {why}" for why in gates.unreadable)
        notes += tuple(
            f"an entry of the board cannot be read and is not obeyed: {entry.why}" for entry in board.unreadable
        )
        notes += lacking_note(running, board)
        return StatusView(source, board, board.rev, running, gates.now_us, notes)


def _without_redis(addresses: Addresses, problem: UploadGateError, page: GatePage | UploadGateError) -> StatusView:
    """What the gate at hand obeys; without one, what Kafka holds. Raises StoreUnavailable where neither answers."""
    from gate.serve.clock import SystemClock

    failed = f"Redis cannot be read ({problem.problem.rstrip('.')})"
    if isinstance(page, GatePage):
        note = f"{failed}; this is what the gate at {redact(addresses.admin or '')} obeys"
        return StatusView("gate", page.board, page.rev, (), SystemClock().now_us(), (note, *page.problems))
    with suppress(StoreUnavailable, StateUnreadable, TimeoutError):
        if addresses.both_channels:
            found = asyncio.run(asyncio.wait_for(_stored(addresses, Direct.KAFKA, both=False), HEARD_WITHIN_S))
            note = f"{failed}, and no gate at hand; this is what Kafka holds"
            return replace(found, notes=(note, *found.notes))
    raise StoreUnavailable(
        f"neither Redis ({redact(addresses.redis)}) nor a gate ({redact(addresses.admin or 'none is named')}) "
        f"returns the board: {problem.problem.rstrip('.')}; {page.problem.rstrip('.')}",
        "start it with `upload-gate up`, or name it with --state, --redis or --admin",
    ) from page


@dataclass(frozen=True, slots=True)
class GatePage:
    """What the gate at hand shows: its board and revision, whether it hears Kafka, and sentences on what is amiss."""

    board: Board
    rev: int
    hears_kafka: bool
    problems: tuple[str, ...] = ()


def _gate_page(addresses: Addresses) -> GatePage:
    """The page of the gate at hand. Raises UploadGateError."""
    if addresses.admin is None:
        raise UploadGateError("nothing names a gate's admin port, as --admin would")
    page = get_json(f"{addresses.admin}/v1/board", ANSWER_WITHIN_S, admin_token())
    board, rev = decode_board_page(json.dumps(page).encode())
    fields = page if isinstance(page, dict) else {}
    problems = tuple(map(str, fields.get("break_glass_problems") or ()))
    age_s = fields.get("controls_age_s")
    if fields.get("clock_known") is False:
        problems += (
            "the gate at hand has not met the store's clock since its start: it keeps each pause for the time that was "
            "left when its snapshot was written",
        )
    return GatePage(board, rev, isinstance(age_s, int | float) and age_s < CONTROLS_FRESH_S, problems)


def _policy_hash(addresses: Addresses) -> tuple[str | None, str, str | None]:
    """The hash of the policy in force, or None and why it is unknown; and why a changed policy file is not in force."""
    try:
        if addresses.admin is None:
            raise UploadGateError("nothing names a gate's admin port, as --admin would")
        answer = get_json(f"{addresses.admin}/v1/policy", ANSWER_WITHIN_S, admin_token())
    except UploadGateError as error:
        return None, f"unknown: {error.problem}", None
    fields = answer if isinstance(answer, dict) else {}
    hash_, problem = fields.get("hash"), fields.get("problem")
    problem = problem if isinstance(problem, str) else None
    if not isinstance(hash_, str):
        return None, "unknown: the gate does not report its hash", problem
    return hash_, hash_, problem


def _json(view: StatusView, policy: str | None, addresses: Addresses) -> dict[str, object]:
    return {
        "source": view.source,
        "redis": redact(addresses.redis),
        "admin": None if addresses.admin is None else redact(addresses.admin),
        "rev": view.rev,
        "policy": policy,
        "pauses": [pause_document(pause, view.now_us) for pause in view.board.active(view.now_us)],
        "waiting": [pause_document(pause, view.now_us) for pause in waiting(view.board, view.now_us)],
        "ramping": [pause_document(pause, view.now_us) for pause in ramping(view.board, view.now_us)],
        "counted": dict(view.counted),
        "lifted": sorted(view.board.lifted),
        "break_glass": [pause_document(pause, view.now_us) for pause in view.board.break_glass],
        "gates": [
            {
                "gate": said.gate,
                "url": said.url,
                "rev": said.rev,
                "obeys": _obeys(said, view),
                "lacking_in_store": lacking(said, view.board),
                "on_disk": said.on_disk,
                "policy": said.policy or None,
                "age_seconds": _age_s(said, view),
                "earlier_processes": earlier,
            }
            for said, earlier in one_a_name(view)
        ],
    }


def status_lines(view: StatusView, policy: str, addresses: Addresses, width: int) -> list[str]:
    """The view as lines for people, none wider than `width`."""
    pauses = view.board.active(view.now_us)
    where = f"the gate at {redact(addresses.admin or '')}" if view.source == "gate" else addresses.shown(view.source)
    lines = lines_of([*pause_counts(view.board, view.now_us, view.rev), f"in {where}"], width)
    for pause in pauses:
        counted = [f"would have held {view.counted.get(pause.id, 0):,} uploads, by the gate at hand"]
        more = counted if pause.mode is PauseMode.DRY_RUN else []
        lifted = ["LIFTED on this host by its break-glass file"] if pause.id in view.board.lifted else []
        lines += _indented([*pause_fields(pause, view.now_us, ends=True), *more, *lifted], width)
    for pause in waiting(view.board, view.now_us):
        begins = "" if pause.starts_at_us is None else f"BEGINS {clock_time(pause.starts_at_us, view.now_us)}"
        lines += _indented([*pause_fields(pause, view.now_us), *([begins] if begins else [])], width)
    for pause in ramping(view.board, view.now_us):
        back = clock_time(pause.over_at_us, view.now_us)
        lines += _indented([pause.id, f"has ended: accounts come back until {back}"], width)
    for pause in view.board.break_glass:
        lines += _indented([*pause_fields(pause, view.now_us), "FROM THE HOST'S BREAK-GLASS FILE"], width)
    for said, earlier in one_a_name(view):
        fields = [f"gate {said.gate}", f"at {said.url}:", ", ".join(_gate_line(said, view))]
        if earlier:
            fields.append("(an earlier process of it stopped without saying so)")
        lines += lines_of(fields, width)
    if view.source != "gate" and not view.gates:
        lines.append("no gate was heard of in the last 5 minutes")
    return [*lines, *lines_of([f"policy {policy}"], width)]


def one_a_name(view: StatusView) -> list[tuple[Acknowledgement, int]]:
    """The gates, each with how many earlier processes of its name stopped without saying so.

    A name whose processes are all silent is shown by the last of them; several live ones are all shown.
    """
    from gate.app.converge import live_gates

    live = {said.process for said in live_gates(Gates(view.now_us, view.gates))}
    shown: list[tuple[Acknowledgement, int]] = []
    for _, group in groupby(sorted(view.gates, key=lambda said: said.gate), key=lambda said: said.gate):
        processes = sorted(group, key=lambda said: said.acknowledged_at_us)
        running = [said for said in processes if said.process in live] or processes[-1:]
        earlier = len(processes) - len(running)
        shown += [(said, earlier if number == 0 else 0) for number, said in enumerate(running)]
    return shown


async def forget_gate(addresses: Addresses, name: str, yes: bool) -> None:
    """Delete what Redis holds of a gate that is gone for good, after asking.

    Raises OperatorError if no gate has this name, ControlRefused if it still runs, StoreUnavailable.
    """
    from gate.app.converge import HEARD_WITHIN_US, is_live

    async with operating(addresses) as operate:
        gates = await operate.gates(HEARD_WITHIN_US)
        known = [said for said in gates.acknowledgements if not said.left]
        named = [said for said in known if said.gate == name]
        ruined = [entry for entry in gates.unreadable if entry.gate == name]
        if not named and not ruined:
            names = (
                ", ".join(sorted({said.gate for said in known} | {entry.gate for entry in gates.unreadable})) or "none"
            )
            raise OperatorError(f"no gate {name} was heard of in the last 5 minutes", f"known are: {names}")
        for said in named:
            if is_live(said, gates.now_us) or await asyncio.to_thread(_answers, said.url):
                raise ControlRefused(f"gate {name} at {said.url} still runs", "stop it first")
        if named:
            say(f"gate {name} at {named[-1].url} does not answer; pauses would no longer wait for it nor name it")
        else:
            say(f"the acknowledgement of gate {name} cannot be read ({ruined[-1].why}); nobody knows whether it runs")
        if not yes and not confirmed("Forget this gate?"):
            raise cancel()
        for process in (*(said.process for said in named), *(entry.process for entry in ruined)):
            await operate.forget(process)
        entry = AuditEntry(
            "forget gate", person(None), AuditOutcome.DONE, "", detail=f"gate {name}", identity=login_identity()
        )
        audit_log(addresses).record(entry)
    say(f"gate {name} is forgotten; if it still runs, its next acknowledgement brings it back")


def _answers(url: str) -> bool:
    try:
        get_json(f"{url}/readyz", ANSWER_WITHIN_S)
    except StoreUnavailable:
        return False
    except UploadGateError:
        pass  # something answers there
    return True


def _indented(fields: list[str], width: int) -> list[str]:
    return [f"  {line}" for line in lines_of(fields, width - 2)]


def _gate_line(said: Acknowledgement, view: StatusView) -> list[str]:
    from gate.app.converge import is_live

    words = [f"rev {said.rev}", f"heard {_age_s(said, view):.1f} s ago"]
    ahead = lacking(said, view.board)
    if ahead:
        words.append(f"{HOLDS} {len(ahead)} THAT REDIS LACKS")
    elif not _obeys(said, view):
        words.append(f"{BEHIND} rev {view.rev}")
    if not is_live(said, view.now_us):
        words.append(f"{UNHEARD}, counts until {forgotten_at(said)}")
    if not said.on_disk:
        words.append(NOT_ON_DISK)
    if said.unreadable:
        words.append(f"{CANNOT_READ} {said.unreadable} ENTRIES")
    if said.policy:
        words.append(f"policy {said.policy}")
    return words


def _obeys(said: Acknowledgement, view: StatusView) -> bool:
    """True if the gate holds the stored board. A gate of an older release reports only its revision."""
    return said.digest == board_digest(view.board) if said.digest else said.rev >= view.rev


def _age_s(said: Acknowledgement, view: StatusView) -> float:
    return round(max(view.now_us - said.acknowledged_at_us, 0) / 1_000_000, 3)
