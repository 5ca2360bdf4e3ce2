"""`check`: asks a running gate for its decision on one upload. A refusal is an answer, not an error."""

from __future__ import annotations

import json

import typer

from gate.cli.addresses import DEFAULT_PORT, UP_FILE, Addresses, GateFlag, StateFlag, resolve_addresses
from gate.cli.check_notes import check_notes
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.cli.upload_flags import UploadFlags, with_upload_flags
from gate.errors import StoreUnavailable, UploadGateError, redact


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="check")(check)


@with_upload_flags("Upload id; one id takes tokens once. Default: a new one.")
def check(
    upload: UploadFlags, output: OutputFlag = Output.TEXT, state: StateFlag = None, gate: GateFlag = None
) -> None:
    """Ask the gate about one upload. The check counts: an upload that is let in takes the account's tokens.

    The exit code is 0 whatever the gate decides; a refusal is an answer.

    Example: upload-gate check --account a-17 --kind image --class new
    """
    import secrets

    addresses = resolve_addresses(state, gate=gate)
    body = upload.document(f"cli-{secrets.token_hex(6)}")
    answer = answer_of(addresses, "/v1/check", body)
    if output is Output.TEXT:
        result(decision_sentence(upload.account, answer))
    else:
        emit(answer)
    say(*check_notes(body, answer, addresses))


_STORES = {"store": "Redis"}
"""What the stores of `degraded` are called in sentences."""


def decision_sentence(account: str, answer: dict[str, object]) -> str:
    """A decision in one sentence."""
    verdict = {
        "allow": "is let in",
        "review": "is let in and goes to review",
        "throttle": "is refused for now, as too many came",
        "challenge": "is refused until a challenge is passed",
        "deny": "is refused",
        "paused": "is refused, uploads are paused",
    }.get(str(answer["decision"]), f"meets {answer['decision']}")
    pause = f" by pause {answer['pause']}" if answer.get("pause") else ""
    after = answer.get("retry_after")
    wait = f", try again in {float(after):.0f} s" if isinstance(after, int | float) else ""
    stage = f"stage {answer.get('stage')}, reason {answer.get('reason')}"
    ignored = answer.get("ignored")
    named = ", ".join(map(str, ignored)) if isinstance(ignored, list) else ""
    left_out = f"; ignored: {named}" if named else ""
    degraded = answer.get("degraded")
    stores = [_STORES.get(str(each), str(each)) for each in degraded] if isinstance(degraded, list) else []
    without = f"; the gate decided without {' and '.join(stores)}" if stores else ""
    told = "".join(f"; {answer[name]}" for name in ("message", "link") if answer.get(name))
    return f"{answer['decision']}: the upload of {account} {verdict}{pause} ({stage}{wait}){left_out}{without}{told}"


def answer_of(addresses: Addresses, path: str, upload: dict[str, object]) -> dict[str, object]:
    """The gate's answer at `path`, which holds a decision. Raises UploadGateError for any other answer."""
    from gate.cli.http_json import TIMED_OUT, gate_token, post_json

    say(f"asking the gate at {addresses.shown('gate')}")
    try:
        answer = post_json(f"{addresses.gate}{path}", json.dumps(upload).encode(), gate_token())
    except StoreUnavailable as error:
        known = "" if error.remedy == TIMED_OUT else _remedy(addresses)
        raise StoreUnavailable(error.problem.rstrip("."), known or error.remedy) from None
    if not isinstance(answer, dict) or "decision" not in answer:
        raise without_decision(addresses)
    return answer


def _remedy(addresses: Addresses) -> str:
    """What to do about a gate that does not answer; empty where the user named it."""
    if addresses.origin["gate"] == str(addresses.state / UP_FILE):
        return f"if that `upload-gate up` has ended, start it again: `upload-gate up --state {addresses.state}`"
    if addresses.origin["gate"] == DEFAULT_PORT:
        return "start a system with `upload-gate up`, or name a gate with --gate, or the --state of the system that runs it"
    return ""


def without_decision(addresses: Addresses) -> UploadGateError:
    """The error of an answer that no gate gives."""
    return UploadGateError(f"{redact(addresses.gate)} answered without a decision", "is it a gate's address?")
