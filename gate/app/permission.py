"""Decides what one person or a machine may write, and who may approve what another has proposed.

A person is known by two things: the name that they give, and the identity of the login that runs the command (`uid@host`).
A name is free to choose, so neither the name nor the identity of the one who proposes may approve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gate.core.fields.labels import fold_label
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.four_eyes import BY_DEFAULT, MEANINGS, TwoPersonRule, broken_rules
from gate.core.pause.lease import lease_problem
from gate.errors import ControlRefused, NotPermitted


@dataclass(frozen=True, slots=True)
class Authority:
    """How far the person who acts may go: the policy's rules for two, and what they do about them.

    `propose` writes a change that needs two as a proposal; `emergency` is the reason for which one goes ahead alone.
    `identity` is the login that runs the command, such as `1000@ops-1`; empty where it is unknown.
    """

    rules: frozenset[TwoPersonRule] = BY_DEFAULT
    machines_platform_wide: bool = False
    propose: bool = False
    emergency: str = ""
    identity: str = ""


def permitted(
    authority: Authority, change: PauseChange, wanted: Pause, before: Pause | None, by: str, machine: bool, now_us: int
) -> Pause:
    """`wanted` as it may be written: in force, as an emergency, or as a proposal. Raises NotPermitted, ControlRefused."""
    if machine:
        problem = lease_problem(wanted, before, now_us, authority.machines_platform_wide)
        if problem is not None:
            raise NotPermitted(problem, "a person may do it")
        return wanted
    broken = broken_rules(change, wanted, authority.rules)
    if not broken:
        return wanted
    if authority.emergency:
        return replace(wanted, emergency=authority.emergency)
    why = " and ".join(MEANINGS[rule] for rule in broken)
    if before is not None and change is PauseChange.SET:
        raise ControlRefused(
            f"a pause that {why} needs a second person, also if it only counted or a machine set it", "set another of "
            "the same uploads with `pause --propose`, or repeat it with --emergency WHY",
        )  # fmt: skip
    if not authority.propose:
        raise ControlRefused(
            f"a pause that {why} needs a second person", "repeat it with --propose and let them `approve` it, or with "
            "--emergency WHY",
        )  # fmt: skip
    proposal = Proposal(change, by, now_us, identity=authority.identity)
    if before is None:
        return replace(wanted, proposal=proposal)
    if change is PauseChange.RELEASE:
        return replace(before, rev=wanted.rev, proposal=replace(proposal, ramp_us=wanted.ramp_us))
    return replace(before, rev=wanted.rev, proposal=replace(proposal, expires_at_us=wanted.expires_at_us))


def check_approver(pause: Pause, proposal: Proposal, by: str, authority: Authority) -> None:
    """Raise NotPermitted for the person who proposed the change or owns the pause, under whatever name they come.

    The emergency right passes over it; its reason is written into the audit log.
    """
    if authority.emergency:
        return
    if _person(by) in (_person(proposal.by), _person(pause.owner)):
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
