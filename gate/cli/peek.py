"""`peek`: asks a running gate what it would decide about one upload, and what is left of each limit. It takes no tokens."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gate.cli.addresses import GateFlag, StateFlag, resolve_addresses
from gate.cli.check import decision_sentence, given
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.core.duration import duration_text
from gate.errors import UploadGateError, redact


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="peek")(peek)


def peek(
    account: Annotated[str, typer.Option(help="Account id.")],
    kind: Annotated[str, typer.Option(help="Media kind.")] = "image",
    class_: Annotated[
        str | None, typer.Option("--class", "-c", help="Account class; else the policy derives it.")
    ] = None,
    bytes_: Annotated[int | None, typer.Option("--bytes", min=0, help="Declared size.")] = None,
    surface: Annotated[str | None, typer.Option(help="Surface uploaded to.")] = None,
    ip: Annotated[str | None, typer.Option(help="The uploader's IP address.")] = None,
    device: Annotated[str | None, typer.Option(help="Device id.")] = None,
    country: Annotated[str | None, typer.Option(help="Country, such as DE.")] = None,
    upload_id: Annotated[
        str, typer.Option(help="Upload id; one that was checked before gets its earlier answer.")
    ] = "peek",
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    gate: GateFlag = None,
) -> None:
    """Ask the gate what it would decide about one upload, and what is left of each limit. It takes no tokens.

    Example: upload-gate peek --account a-17 --class new
    """
    from gate.cli.http_json import gate_token, post_json

    addresses = resolve_addresses(state, gate=gate)
    body: dict[str, object] = {
        "upload_id": upload_id,
        "account": given({"id": account, "class": class_}),
        "media": given({"kind": kind, "bytes": bytes_}),
        **given({"surface": surface, "ip": ip, "device": device, "country": country}),
    }
    say(f"asking the gate at {addresses.shown('gate')}")
    answer = post_json(f"{addresses.gate}/v1/peek", json.dumps(body).encode(), token=gate_token())
    decision = answer.get("decision") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(decision, dict):
        raise UploadGateError(f"{redact(addresses.gate)} answered without a decision", "is it a gate's address?")
    if output is Output.JSON:
        emit(answer)
    else:
        result(f"would {decision_sentence(account, decision)}", *map(limit_line, answer.get("limits", ())))


def limit_line(limit: dict[str, object]) -> str:
    """What is left of one limit, in one line."""
    full_in = limit.get("full_in")
    us = int(float(full_in) * 1_000_000) if isinstance(full_in, int | float) else 0
    full = "full" if not us else f"full in {duration_text(max(us, 1_000_000))}"
    return f"  {limit.get('limit')}: {limit.get('left')} of {limit.get('burst')} {limit.get('unit')} left, {full}"
