"""Decides what one person or a machine may write, and who may approve what another has proposed.

A person is known by two things: the name that they give, and the identity of the login that runs the command (`uid@host`).
A name is free to choose, so neither the name nor the identity of the one who proposes may approve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gate.core.duration import duration_text
from gate.core.fields.labels import fold_label
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.four_eyes import MEANINGS, WITHOUT_A_POLICY, TwoPersonRule, alone_until_us, broken_rules
from gate.core.pause.lease import lease_problem
from gate.errors import ControlRefused, NotPermitted


@dataclass(frozen=True, slots=True)
class Authority:
    """What the person who acts may do alone: the rules of the policy, and whether they propose or act in an emergency.

    `propose` writes a change that needs two as a proposal, also within the time in which one could make it alone;
    `emergency` is the reason for which one goes ahead alone. `identity` is the login that runs the command, such as
    `1000@ops-1`; empty where it is unknown. `alone_us` is how long after a pause begins the person who set it acts alone.
    """

    rules: frozenset[TwoPersonRule] = WITHOUT_A_POLICY
    machines_platform_wide: bool = False
    propose: bool = False
    emergency: str = ""
    identity: str = ""
    alone_us: int = 0


def permitted(
    authority: Authority, change: PauseChange, wanted: Pause, before: Pause | None, by: str, machine: bool, now_us: int
) -> Pause:
    """`wanted` as it may be written: in force, as an emergency, or as a proposal. Raises NotPermitted, ControlRefused."""
    if machine:
        problem = lease_problem(wanted, before, now_us, authority.machines_platform_wide)
        if problem is not None:
            raise NotPermitted(problem, "a person may do it")
        return wanted
    judged = before if before is not None and change is PauseChange.RELEASE else wanted
    broken = broken_rules(change, judged, authority.rules, now_us)
    if not broken:
        return wanted
    if authority.emergency:
        return replace(wanted, emergency=authority.emergency)
    alone_until = alone_until_us(change, judged, now_us, authority.alone_us)
    if _acts_alone(authority, change, wanted, before, by, now_us, alone_until, broken):
        return wanted
    proposal = Proposal(change, by, now_us, identity=authority.identity)
    if before is None and authority.alone_us and not authority.propose and TwoPersonRule.LONG not in broken:
        rest = replace(proposal, change=PauseChange.EXTEND, expires_at_us=wanted.expires_at_us)
        return replace(wanted, expires_at_us=alone_until, proposal=rest)
    why = " and ".join(MEANINGS[rule] for rule in broken)
    if before is not None and change is PauseChange.SET:
        raise ControlRefused(
            f"a pause that {why} needs a second person, also if it only counted or a machine set it",
            f"set another of the same uploads with {_another(authority)}, or repeat it with --emergency WHY",
        )
    if not authority.propose:
        raise ControlRefused(
            f"a pause that {why} needs a second person{_alone_text(authority, change, broken)}",
            f"{_approval_of(change, before, by, authority)}, or repeat it with --emergency WHY",
        )
    if before is None:
        return replace(wanted, proposal=proposal)
    if change is PauseChange.RELEASE:
        return replace(before, rev=wanted.rev, proposal=replace(proposal, ramp_us=wanted.ramp_us))
    return replace(before, rev=wanted.rev, proposal=replace(proposal, expires_at_us=wanted.expires_at_us))


def _acts_alone(
    authority: Authority, change: PauseChange, wanted: Pause, before: Pause | None, by: str, now_us: int,
    alone_until: int, broken: tuple[TwoPersonRule, ...],
) -> bool:  # fmt: skip
    """True for a change that the person who set the pause may make alone, since it has only just begun."""
    if not authority.alone_us or authority.propose:
        return False
    if change is PauseChange.RELEASE:
        return before is not None and now_us <= alone_until and _is_own(before, by, authority.identity)
    return TwoPersonRule.LONG not in broken and wanted.expires_at_us <= alone_until


def _is_own(pause: Pause, by: str, identity: str) -> bool:
    """True for a pause that this login set; where a login is unknown, for one of the same owner."""
    if pause.identity and identity:
        return pause.identity == identity
    return _person(pause.owner) == _person(by)


def _another(authority: Authority) -> str:
    """How to set another pause in place of one that may not be enforced or taken over."""
    if not authority.alone_us:
        return "`pause --propose`"
    return f"`pause`, which is in force at once, for {duration_text(authority.alone_us)} before anybody approves it"


def _approval_of(change: PauseChange, before: Pause | None, by: str, authority: Authority) -> str:
    """How a second person brings the change into force: by approving it, or we approve what they have proposed."""
    waits = None if before is None else before.proposal
    mine = waits is not None and (waits.by == by or (waits.identity and waits.identity == authority.identity))
    if before is not None and waits is not None and waits.change is change and not mine:
        return f"`approve {before.id}` what {waits.by} has proposed"
    return "repeat it with --propose and let them `approve` it"


def _alone_text(authority: Authority, change: PauseChange, broken: tuple[TwoPersonRule, ...]) -> str:
    if not authority.alone_us or broken == (TwoPersonRule.LONG,):
        return ""  # the sentence about this rule already says how long one person may pause
    alone = duration_text(authority.alone_us)
    if change is PauseChange.RELEASE:
        return f"; alone, only the one who set it may release it, within {alone} of its start"
    return f"; one person may let it last {alone}"


def check_approver(pause: Pause, proposal: Proposal, by: str, authority: Authority) -> None:
    """Raise NotPermitted for the person who proposed the change, under whatever name they come, and for the pause's owner
    unless another login proposed it.

    The emergency right passes over it; its reason is written into the audit log.
    """
    if authority.emergency:
        return
    by_another = bool(authority.identity and proposal.identity) and authority.identity != proposal.identity
    if _person(by) == _person(proposal.by) or (_person(by) == _person(pause.owner) and not by_another):
        raise NotPermitted(
            f"{by} proposed this or owns the pause, and cannot approve it", "a second person has to approve"
        )
    if authority.identity and authority.identity == proposal.identity:
        raise NotPermitted(
            f"this login ({authority.identity}) proposed the change as {proposal.by}, and cannot approve it as {by}",
            "a second person approves it from a login of their own; in an emergency repeat it with --emergency WHY",
        )


def _person(name: str) -> str:
    """A name in the form in which it is compared, so that another spelling is no second person."""
    return fold_label(name)
