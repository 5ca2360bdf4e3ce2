"""`peek`: asks a running gate what it would decide about one upload, and what is left of each limit. It takes no tokens."""

from __future__ import annotations

import typer

from gate.cli.addresses import GateFlag, StateFlag, resolve_addresses
from gate.cli.check import answer_of, decision_sentence, without_decision
from gate.cli.check_notes import check_notes
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.cli.policy import amount_text
from gate.cli.upload_flags import UploadFlags, with_upload_flags
from gate.core.duration import duration_text
from gate.core.policy import Unit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="peek")(peek)


@with_upload_flags("Upload id; one that was checked before gets its earlier answer. Default: `peek`.")
def peek(upload: UploadFlags, output: OutputFlag = Output.TEXT, state: StateFlag = None, gate: GateFlag = None) -> None:
    """Ask the gate what it would decide about one upload, and what is left of each limit. It takes no tokens.

    Example: upload-gate peek --account a-17 --class new
    """
    addresses = resolve_addresses(state, gate=gate)
    body = upload.document("peek")
    answer = answer_of(addresses, "/v1/peek", body)
    decision, limits = answer["decision"], answer.get("limits", ())
    if not isinstance(decision, dict) or not isinstance(limits, list | tuple):
        raise without_decision(addresses)
    if output is Output.JSON:
        emit(answer)
    else:
        result(f"the gate would decide {decision_sentence(upload.account, decision)}", *map(limit_line, limits))
    say(*check_notes(body, decision, addresses))


def limit_line(limit: dict[str, object]) -> str:
    """What is left of one limit, in one line."""
    full_in = limit.get("full_in")
    us = int(float(full_in) * 1_000_000) if isinstance(full_in, int | float) else 0
    full = "full" if not us else f"full in {duration_text(max(us, 1_000_000))}"
    unit = next((each for each in Unit if each == limit.get("unit")), None)
    left, burst, leased = (_amount(limit.get(name), unit) for name in ("left", "burst", "leased"))
    if unit is not Unit.BYTES:
        burst = f"{burst} {str(limit.get('unit')).replace('_', ' ')}"
    held = f", {leased} of them held by this gate" if limit.get("leased") else ""
    return f"  {limit.get('limit')}: {left} of {burst} left, {full}{held}"


def _amount(value: object, unit: Unit | None) -> str:
    """An amount as `policy show` writes it, a count without its unit."""
    if not isinstance(value, int):
        return str(value)
    return amount_text(value, unit) if unit is Unit.BYTES else f"{value:,}"
