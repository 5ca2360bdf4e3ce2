"""The flags for a second person, an emergency and a machine, and the policy's rules about who may change pauses."""

from __future__ import annotations

from typing import Annotated

import typer

from gate.app.operate import Operate
from gate.app.permission import Authority
from gate.cli.addresses import Addresses
from gate.cli.output import Output, emit
from gate.cli.pause_text import proposal_text
from gate.core.duration import duration_text
from gate.core.fields.text import repaired
from gate.core.pause.entry import Pause, PauseChange
from gate.errors import AwaitsApproval, OperatorError
from gate.records.pause import MAX_TEXT, pause_document

ProposeFlag = Annotated[
    bool,
    typer.Option("--propose", help="If the policy requires a second person: propose the change, for them to approve."),
]


def why_urgent(context: typer.Context, flag: typer.CallbackParam, given: str) -> str:
    """The reason of an emergency. Raises OperatorError for one that says nothing, or more than a pause can hold."""
    why = repaired(given.strip())
    source = context.get_parameter_source(flag.name or "")
    if source is not None and source.name != "DEFAULT" and not why:
        raise OperatorError("--emergency gives no reason", "say why in a few words; it is recorded")
    if len(why) > MAX_TEXT:
        raise OperatorError(f"the reason of --emergency is longer than {MAX_TEXT} characters", "shorten it")
    return why


EmergencyFlag = Annotated[
    str,
    typer.Option(
        "--emergency", metavar="WHY", callback=why_urgent, help="Go ahead without a second person; WHY is recorded."
    ),
]
MachineFlag = Annotated[
    bool, typer.Option("--machine", help="Act as a machine: the pause lasts at most 60s, and `extend` renews it.")
]
MachineReleaseFlag = Annotated[
    bool, typer.Option("--machine", help="Act as a machine: release a machine's pause; one of a person is refused.")
]
MachineExtendFlag = Annotated[
    bool, typer.Option("--machine", help="Act as a machine: renew a machine's pause, for at most 60s.")
]

_CHANGES = {
    PauseChange.SET: "is not in force",
    PauseChange.RELEASE: "stays in force",
    PauseChange.EXTEND: "keeps its end",
}


def check_one_way(propose: bool, emergency: str) -> None:
    """Raise OperatorError for a change that is both to wait for a second person and to go ahead without one."""
    if propose and emergency:
        raise OperatorError("--propose does not go with --emergency", "leave one of them out")


def authority_of(addresses: Addresses, propose: bool, emergency: str) -> Authority:
    """The rules of the policy of the running system, and what the operator says about them. Raises OperatorError."""
    check_one_way(propose, emergency)
    from gate.cli.policy_names import policy_names

    names = policy_names(addresses)
    return Authority(
        names.second_person, names.machines_platform_wide, propose, emergency, alone_us=names.alone_us
    )  # fmt: skip


def awaits_more_time(pause: Pause, addresses: Addresses) -> list[str]:
    """What to do about a pause that is in force now, and lasts as long as was typed only once a second person approves."""
    proposal = pause.proposal
    if proposal is None or proposal.expires_at_us is None or pause.begins_at_us is None:
        return []
    first, all_ = (
        duration_text(end_us - pause.begins_at_us) for end_us in (pause.expires_at_us, proposal.expires_at_us)
    )
    return [
        f"warning: it ENDS {first} after its start unless a second person approves before; they type "
        f"{addresses.command(f'approve {pause.id}')}, and it lasts {all_}"
    ]


def replaced_note(operate: Operate, now_us: int) -> list[str]:
    """A warning if the last change put a proposal in the place of another one, which nobody can approve any more."""
    before = None if operate.before is None else operate.before.proposal
    if before is None or not operate.waits:
        return []
    return [f"warning: this replaces what {before.by} proposed, {proposal_text(before, now_us)}"]


def proposed(pause: Pause, addresses: Addresses, output: Output, now_us: int) -> AwaitsApproval:
    """The error that says that a change waits for a second person. With `-o json` it prints the pause, too."""
    if output is Output.JSON:
        emit(pause_document(pause, now_us))
    proposal = pause.proposal
    state = _CHANGES[PauseChange.SET if proposal is None else proposal.change]
    return AwaitsApproval(
        f"proposed: pause {pause.id} {state} until a second person approves",
        f"they type {addresses.command(f'approve {pause.id}')}",
    )
