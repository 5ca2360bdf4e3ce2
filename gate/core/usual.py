"""Decides the usual uploads, which nearly all are, in less time than `gate.core.decide`, and as it does.

A usual upload took tokens now, no pause and no deny list may hold it, and nothing is known of its account but a risk as of now
that is below all thresholds, or nothing at all. `decide` decides all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gate.core.decision import Decision, Stage, Verdict
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.policy import Policy
from gate.core.standing import UNKNOWN, Standing

_ALLOW: Final = Verdict.ALLOW
_DEFAULT: Final = Stage.DEFAULT


def usual_decision(take: Decision | TakeRequest, answer: TakeResult, board_rev: int, policy: Policy) -> Decision | None:
    """The decision on the upload that got this answer, None where it is not usual. `needs_store` must be true."""
    if not answer.charged or answer.repeated or answer.shadow:
        return None
    class_, standing, risk = take.class_, answer.standing, None
    if standing is not UNKNOWN:
        risk = standing.risk
        if (
            standing.override is not None
            or standing.hot is not None
            or risk is None
            or risk >= policy.thresholds[class_].lowest
            or standing.as_of_us != answer.now_us  # else the risk has decayed since
        ):
            return None
    return Decision(
        take.upload_id,
        take.account,
        class_,
        _ALLOW,
        _DEFAULT,
        "allow",
        None,
        None,
        policy.hash,
        board_rev,
        risk,
        (),
        (),
        None,
        True,
        answer.room,
        answer.now_us,
    )


def usual_decisions(
    takes: Sequence[Decision | TakeRequest], answers: Sequence[TakeResult | Exception | None], board_rev: int,
    policy: Policy, remember: Callable[[str, Standing], None],
) -> tuple[list[Decision | None], list[str]]:  # fmt: skip
    """`usual_decision` of each upload, None where the store gave no answer; and the classes of the usual ones.

    `remember` is told the standings of the accounts of usual uploads.
    """
    decisions: list[Decision | None] = []
    classes: list[str] = []
    for take, answer in zip(takes, answers, strict=True):
        if not isinstance(answer, TakeResult):
            decisions.append(None)
            continue
        decision = usual_decision(take, answer, board_rev, policy)
        decisions.append(decision)
        if decision is not None:
            remember(decision.account, answer.standing)
            classes.append(decision.class_)
    return decisions, classes
