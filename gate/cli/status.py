"""`status`: shows the pauses in force, the gates that obey, and the policy. From Redis, or a gate if Redis is down."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from contextlib import suppress
from itertools import groupby
from typing import Annotated

import typer

from gate.cli.addresses import Addresses, AdminFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.board_access import YesFlag, audit_log, operating, person
from gate.cli.fit_height import (
    BEHIND,
    CANNOT_READ,
    CLOCK,
    HOLDS,
    KNOWS_NO_PAUSES,
    LIFTS,
    NOT_ON_DISK,
    SALT,
    UNHEARD,
    fitted,
)
from gate.cli.http_json import admin_token, get_json
from gate.cli.identity import login_identity
from gate.cli.lost_pauses import NAMED, lacking
from gate.cli.obedience import forgotten_at
from gate.cli.output import Output, OutputFlag, cancel, confirmed, counted, emit, result, say, say_error, stdout_lost
from gate.cli.pause_text import clock_time, lines_of, pause_fields, terminal_width
from gate.cli.status_view import ANSWER_WITHIN_S, StatusView, read_view
from gate.core.duration import left_text
from gate.core.pause.entry import Pause
from gate.core.pause.scope import PauseMode
from gate.core.pause.wording import pause_counts, ramping, waiting
from gate.errors import ControlRefused, NotConverged, OperatorError, StoreUnavailable, UploadGateError, redact
from gate.ports.audit import AuditEntry, AuditOutcome
from gate.ports.boards import CLOCKS_AGREE_US, MAY_TAKE_US, Acknowledgement, Gates
from gate.records.pause import pause_document

WATCH_EVERY_S = 1.0


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

    The exit code is 3 unless each gate is heard and obeys, as for `pause`; 1 if nothing returns the pauses.

    Example: upload-gate status -o json
    """
    addresses = resolve_addresses(state, redis=redis, admin=admin)
    if forget is not None:
        asyncio.run(forget_gate(addresses, forget, yes))
        return
    if not watch:
        failed = not_all_obey(_show(addresses, output, clear=False))
        if failed is not None:
            raise failed
        return
    with suppress(KeyboardInterrupt):  # Ctrl-C is how a watch ends, and no cancelled change
        _watch(addresses, output)


def _watch(addresses: Addresses, output: Output) -> None:
    """Show it each second, also while nothing answers: a watch waits for the end of an outage."""
    clear = False
    while stdout_lost() is None:
        try:
            _show(addresses, output, clear)
        except StoreUnavailable as error:
            say_error(error)
        except UploadGateError as error:
            if not clear:
                raise  # it would be the same each time
            say_error(error)
        clear = True
        time.sleep(WATCH_EVERY_S)


def _show(addresses: Addresses, output: Output, clear: bool) -> StatusView:
    """Print the view, and return it."""
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
    return view


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
        "warnings": list(view.notes),
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
                "obeys": _obeys(said, view) and not _lifted(said, view) and not _not_held_by_clock(said, view),
                "lifted": _lifted(said, view),
                "not_held_by_clock": _not_held_by_clock(said, view),
                "clock_ahead_seconds": _clock_ahead_us(said) / 1_000_000,
                "lacking_in_store": _lacking(said, view),
                "on_disk": said.on_disk,
                "pauses_known": said.pauses_known,
                "salt_differs": said.salt_differs,
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
        held = counted(view.counted.get(pause.id, 0), "upload")
        more = [f"would have held {held}, as the gate at hand counted"] if pause.mode is PauseMode.DRY_RUN else []
        lifted = ["LIFTED on this host by its break-glass file"] if pause.id in view.board.lifted else []
        lines += _indented([*pause_fields(pause, view.now_us, ends=True), *more, *lifted], width)
    for pause in waiting(view.board, view.now_us):
        lines += _indented([*pause_fields(pause, view.now_us), *_begins(pause, view.now_us)], width)
    for pause in ramping(view.board, view.now_us):
        back = clock_time(pause.over_at_us, view.now_us)
        lines += _indented([pause.id, f"has ended: accounts come back until {back}"], width)
    for pause in view.board.break_glass:
        fields = pause_fields(pause, view.now_us, ends=True)
        lines += _indented([*fields, *_begins(pause, view.now_us), "FROM THE HOST'S BREAK-GLASS FILE"], width)
    for said, earlier in one_a_name(view):
        fields = [f"gate {said.gate}", f"at {said.url}:", ", ".join(_gate_line(said, view))]
        if earlier:
            fields.append("(an earlier process of it stopped without saying so)")
        lines += lines_of(fields, width)
    if view.source == "gate" and not view.gates:
        lines += lines_of(
            ["which other gates there are, and whether they obey, is unknown without Redis and Kafka"], width
        )
    elif not view.gates:
        lines.append("no gate was heard of in the last 5 minutes")
    return [*lines, *lines_of([f"policy {policy}"], width)]


def one_a_name(view: StatusView) -> list[tuple[Acknowledgement, int]]:
    """The gates, each with how many earlier processes of its name stopped without saying so.

    A name whose processes are all silent is shown by the last of them; several live ones are all shown.
    """
    live = {said.process for said in Gates(view.now_us, view.gates).live()}
    shown: list[tuple[Acknowledgement, int]] = []
    for _, group in groupby(sorted(view.gates, key=lambda said: said.gate), key=lambda said: said.gate):
        processes = sorted(group, key=lambda said: said.acknowledged_at_us)
        running = [said for said in processes if said.process in live] or processes[-1:]
        earlier = len(processes) - len(running)
        shown += [(said, earlier if number == 0 else 0) for number, said in enumerate(running)]
    return shown


def not_all_obey(view: StatusView) -> NotConverged | None:
    """The error that names each gate which is not known to obey; None where all do, and there is one."""
    amiss = [said.gate for said, _ in one_a_name(view) if not _is_known_to_obey(said, view)]
    named = sorted({*amiss, *view.unread_gates})
    if named:
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        remedy = "look at each of them, or remove one that is gone for good with `status --forget GATE`"
        return NotConverged(f"not every gate is known to obey: {', '.join(named[:NAMED])}{more}", remedy)
    if view.gates:
        return None
    if view.source == "gate":
        return NotConverged("whether the other gates obey is unknown without Redis and Kafka", "look at Redis first")
    return NotConverged("no gate is heard", "start one, or look at why those that run reach neither Redis nor Kafka")


def _is_known_to_obey(said: Acknowledgement, view: StatusView) -> bool:
    """Whether the gate is heard, and holds and obeys what is stored; whether its disk has it is no part of that."""
    return (
        said.is_live(view.now_us)
        and _obeys(said, view)
        and said.pauses_known
        and not (said.unreadable or _lacking(said, view) or _lifted(said, view) or _not_held_by_clock(said, view))
    )


async def forget_gate(addresses: Addresses, name: str, yes: bool) -> None:
    """Delete what Redis holds of a gate that is gone for good, after asking.

    Raises OperatorError if no gate has this name, ControlRefused if it still runs, StoreUnavailable.
    """
    from gate.app.converge import HEARD_WITHIN_US

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
            if said.is_live(gates.now_us) or await asyncio.to_thread(_answers, said):
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


def _answers(said: Acknowledgement) -> bool:
    """Whether the gate answers at its address. Another gate that answers there in its own name does not count."""
    try:
        page = get_json(f"{said.url}/readyz", ANSWER_WITHIN_S)
    except StoreUnavailable:
        return False
    except UploadGateError:
        return True  # something answers there
    name = page.get("gate") if isinstance(page, dict) else None
    return name is None or name == said.gate


def _begins(pause: Pause, now_us: int) -> list[str]:
    """When a pause begins that has not begun yet."""
    starts_us = pause.starts_at_us
    return [] if starts_us is None or not pause.begins_later(now_us) else [f"BEGINS {clock_time(starts_us, now_us)}"]


def _indented(fields: list[str], width: int) -> list[str]:
    return [f"  {line}" for line in lines_of(fields, width - 2)]


def _gate_line(said: Acknowledgement, view: StatusView) -> list[str]:

    words = [f"rev {said.rev}", f"heard {_age_s(said, view):.1f} s ago"]
    ahead = _lacking(said, view)
    if ahead:
        words.append(f"{HOLDS} {len(ahead)} THAT {view.source.upper()} LACKS")
    elif not _obeys(said, view):
        words.append(f"{BEHIND} rev {view.rev}")
    lifted = _lifted(said, view)
    if lifted:
        words.append(f"{LIFTS} {' '.join(lifted[:NAMED])} BY ITS HOST'S FILE")
    ahead_us, not_held = _clock_ahead_us(said), _not_held_by_clock(said, view)
    if ahead_us:
        words.append(f"{CLOCK} {left_text(abs(ahead_us))} {'AHEAD' if ahead_us > 0 else 'BEHIND'}")
    if not_held:
        words.append(f"DOES NOT HOLD {' '.join(not_held[:NAMED])} BY ITS CLOCK")
    if not said.is_live(view.now_us):
        words.append(f"{UNHEARD}, counts until {forgotten_at(said)}")
    if not said.on_disk:
        words.append(NOT_ON_DISK)
    if said.unreadable:
        words.append(f"{CANNOT_READ} {said.unreadable} ENTRIES")
    if not said.pauses_known:
        words.append(KNOWS_NO_PAUSES)
    if said.salt_differs:
        words.append(f"{SALT} FROM THE WORKERS'")
    if said.policy:
        words.append(f"policy {said.policy}")
    return words


def _obeys(said: Acknowledgement, view: StatusView) -> bool:
    """True if the gate holds the stored board. A gate of an older release reports only its revision."""
    return said.digest == view.expected if said.digest else said.rev >= view.rev


def _lifted(said: Acknowledgement, view: StatusView) -> list[str]:
    """The pauses in force that the gate does not obey, as its host's break-glass file lifts them."""
    return [pause.id for pause in view.board.active(view.now_us) if pause.id in said.lifted]


def _clock_ahead_us(said: Acknowledgement) -> int:
    """How far the clock by which the gate begins and ends pauses is ahead of the one that does so for all; 0 where they agree."""
    ahead_us = said.store_us - said.acknowledged_at_us if said.store_us else 0
    return 0 if -MAY_TAKE_US <= ahead_us <= CLOCKS_AGREE_US else ahead_us


def _not_held_by_clock(said: Acknowledgement, view: StatusView) -> list[str]:
    """The pauses in force that have ended by the gate's clock, or have not begun by it."""
    ahead_us = _clock_ahead_us(said)
    active = view.board.active(view.now_us) if ahead_us else []
    return [pause.id for pause in active if not pause.active(view.now_us + ahead_us)]


def _lacking(said: Acknowledgement, view: StatusView) -> list[str]:
    """What a gate holds and the channel lacks; a gate's own view has no channel to compare with."""
    return [] if view.source == "gate" else lacking(said, view.board)


def _age_s(said: Acknowledgement, view: StatusView) -> float:
    return round(max(view.now_us - said.acknowledged_at_us, 0) / 1_000_000, 3)
