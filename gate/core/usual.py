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


def usual_decisions(
    takes: Sequence[Decision | TakeRequest], answers: Sequence[TakeResult | Exception | None], board_rev: int,
    policy: Policy, remember: Callable[[str, Standing], None],
) -> tuple[list[Decision | None], list[str]]:  # fmt: skip
    """The decision on each upload that got its answer, None for one that is not usual; and the classes of the usual ones.

    `needs_store` must be true. `remember` is told the standings of the accounts of usual uploads.
    """
    decisions, classes = list[Decision | None](), list[str]()
    unknown, thresholds, hash_ = UNKNOWN, policy.thresholds, policy.hash
    for take, answer in zip(takes, answers, strict=True):
        if not isinstance(answer, TakeResult) or not answer.charged or answer.repeated or answer.shadow:
            decisions.append(None)
            continue
        account, class_, standing, risk = take.account, take.class_, answer.standing, None
        if standing is not unknown:
            risk = standing.risk
            if (
                standing.override is not None
                or standing.hot is not None
                or risk is None
                or risk >= thresholds[class_].lowest
                or standing.as_of_us != answer.now_us  # else the risk has decayed since
            ):
                decisions.append(None)
                continue
        remember(account, standing)
        classes.append(class_)
        decisions.append(
            Decision(
                take.upload_id,
                account,
                class_,
                _ALLOW,
                _DEFAULT,
                "allow",
                None,
                None,
                hash_,
                board_rev,
                risk,
                (),
                (),
                None,
                True,
                answer.room,
                answer.now_us,
            )
        )
    return decisions, classes
