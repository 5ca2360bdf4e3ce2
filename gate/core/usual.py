"""Decides the usual uploads, which nearly all are, in less time than `gate.core.decide`, and as it does.

A usual upload took tokens now, no pause and no deny list may hold it, and nothing is known of its account but a risk as of now
that is below all thresholds, or nothing at all. `decide` decides all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gate.core.decision import Decision, Stage, Verdict
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.policy import Policy
from gate.core.standing import UNKNOWN, LastKnown

_ALLOW: Final = Verdict.ALLOW
_DEFAULT: Final = Stage.DEFAULT
_UNUSUAL: Final = -1.0
"""Stands for the risk of an upload that is not usual."""
_NO_ANSWER: Final = TakeResult(UNKNOWN, False, False, None, (), 0)
"""Stands for the answer before the first."""


def usual_decision(take: Decision | TakeRequest, answer: TakeResult, board_rev: int, policy: Policy) -> Decision | None:
    """The decision on the upload that got this answer, None where it is not usual. `needs_store` must be true."""
    risk = _usual_risk(take.class_, answer, policy)
    return None if risk is _UNUSUAL else _allowed(take, answer, risk, board_rev, policy.hash)


def usual_decisions(
    takes: Sequence[Decision | TakeRequest], answers: Sequence[TakeResult | Exception | None], board_rev: int,
    policy: Policy, last_known: LastKnown,
) -> tuple[list[Decision | None], list[str]]:  # fmt: skip
    """`usual_decision` of each upload, None where the store gave no answer; and the classes of the usual ones.

    `last_known` is told the standings of the accounts of usual uploads. Uploads that share an answer and a class, as most of
    a batch do, are judged once.
    """
    decisions: list[Decision | None] = []
    classes: list[str] = []
    remember, policy_hash = last_known.remember, policy.hash
    remembers = len(last_known) > 0  # else nothing can be forgotten
    judged, of_class, risk = _NO_ANSWER, "", None
    for take, answer in zip(takes, answers, strict=True):
        class_ = take.class_
        if answer is not judged or class_ != of_class:
            if not isinstance(answer, TakeResult):
                decisions.append(None)
                continue
            judged, of_class, risk = answer, class_, _usual_risk(class_, answer, policy)
            remembers = remembers or answer.standing is not UNKNOWN
        if risk is _UNUSUAL:
            decisions.append(None)
            continue
        decisions.append(_allowed(take, judged, risk, board_rev, policy_hash))
        classes.append(class_)
        if remembers:
            remember(take.account, judged.standing)
    return decisions, classes


def _allowed(
    take: Decision | TakeRequest, answer: TakeResult, risk: float | None, board_rev: int, policy_hash: str
) -> Decision:  # fmt: skip
    return Decision(
        take.upload_id, take.account, take.class_, _ALLOW, _DEFAULT, "allow", None, None, policy_hash, board_rev, risk,
        (), (), None, True, answer.room, answer.now_us,
    )  # fmt: skip


def _usual_risk(class_: str, answer: TakeResult, policy: Policy) -> float | None:
    """The risk of an account with a usual upload, None where nothing is known of it; `_UNUSUAL` where the upload is not usual."""
    if not answer.charged or answer.repeated or answer.shadow:
        return _UNUSUAL
    standing = answer.standing
    if standing is UNKNOWN:
        return None
    risk = standing.risk
    if (
        standing.override is not None
        or standing.hot is not None
        or risk is None
        or risk >= policy.thresholds[class_].lowest
        or standing.as_of_us != answer.now_us  # else the risk has decayed since
    ):
        return _UNUSUAL
    return risk
