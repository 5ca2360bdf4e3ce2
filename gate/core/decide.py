"""The one function that decides.

Precedence, highest first: break-glass file, deny list, the strictest matching pause, staff override, score
thresholds, buckets, allow. Nothing is read here and nothing is charged: everything known is an argument, and the
store has been told beforehand what will refuse (`TakeRequest`), so that tokens moved if and only if the upload goes ahead.

A pause with action `review` lets uploads in under review; being the weakest of the stages that restrict, it never
rescues an upload that an override, a score or a bucket refuses.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gate.core.decision import Decision, Stage, Verdict
from gate.core.limits.take import TakeResult
from gate.core.pause.board import Board, Pause, strictest
from gate.core.pause.scope import Action
from gate.core.policy import Policy
from gate.core.request import CheckRequest
from gate.core.standing import Standing

_PAUSED = {Action.STOP: Verdict.PAUSED, Action.CHALLENGE: Verdict.CHALLENGE, Action.REVIEW: Verdict.REVIEW}


class StageResult(msgspec.Struct, frozen=True, gc=False):
    """What one stage says, before it is written out as a decision."""

    verdict: Verdict
    stage: Stage
    reason: str
    retry_after_us: int | None = None
    pause: str | None = None


_ALLOWED = StageResult(Verdict.ALLOW, Stage.DEFAULT, "allow")
_DENIED = StageResult(Verdict.DENY, Stage.SCORE, "score.deny")
_CHALLENGED = StageResult(Verdict.CHALLENGE, Stage.SCORE, "score.challenge")
_REVIEWED = StageResult(Verdict.REVIEW, Stage.SCORE, "score.review")


def rule_first(request: CheckRequest, class_: str, board: Board, policy: Policy, now_us: int) -> StageResult | None:
    """The stages that need no store: break glass, deny list, pauses. A result that refuses is final.

    One that lets in under review stands only where no later stage refuses: it may not open what a stop has closed.
    """
    review: StageResult | None = None
    if board.break_glass and (pause := _strictest(board.break_glass, request, class_, now_us)) is not None:
        result = _paused(pause, Stage.BREAK_GLASS, now_us)
        if not result.verdict.lets_in:
            return result
        review = result
    if request.account.id in policy.deny_accounts:
        return StageResult(Verdict.DENY, Stage.DENY_LIST, "deny_list")
    if board.pauses and (pause := _strictest(board.pauses, request, class_, now_us)) is not None:
        result = _paused(pause, Stage.PAUSE, now_us)
        return review if review is not None and result.verdict.lets_in else result
    return review


def _strictest(
    pauses: Mapping[str, Pause] | tuple[Pause, ...], request: CheckRequest, class_: str, now_us: int
) -> Pause | None:
    return strictest(pauses, class_, request.surface, request.media.kind, request.country, now_us)


def rule_account(standing: Standing, class_: str, policy: Policy, now_us: int) -> StageResult | None:
    """Staff override, then the thresholds on a score that is not too old."""
    override = standing.override
    if override is not None and now_us < override.expires_at_us:
        verdict = Verdict.ALLOW if override.allow else Verdict.DENY
        return StageResult(verdict, Stage.OVERRIDE, f"override.{verdict}")
    if standing.risk is None or standing.at_us is None or now_us - standing.at_us > policy.max_score_age_us:
        return None
    risk, limits = standing.risk, policy.thresholds[class_]
    if limits.deny is not None and risk >= limits.deny:
        return _DENIED
    if limits.challenge is not None and risk >= limits.challenge:
        return _CHALLENGED
    if limits.review is not None and risk >= limits.review:
        return _REVIEWED
    return None


def decide(
    request: CheckRequest, class_: str, board: Board, take_result: TakeResult | None, policy: Policy, now_us: int,
    degraded: bool = False,
) -> Decision:  # fmt: skip
    """The decision on `request` for an account of `class_`.

    `take_result` is the store's answer; None where the store was not asked because a first stage refuses already.
    `now_us` is the gate's clock, by which pauses expire; score age and overrides go by the store's own.
    """
    first = rule_first(request, class_, board, policy, now_us)
    return conclude(request, class_, board.rev, first, take_result, policy, degraded)


def conclude(
    request: CheckRequest, class_: str, board_rev: int, first: StageResult | None, take_result: TakeResult | None, policy: Policy,
    degraded: bool,
) -> Decision:  # fmt: skip
    """`decide` from where `rule_first` has spoken: every check asks that before it asks the store."""
    result = first
    standing = None
    if take_result is not None:
        standing = take_result.standing
        if first is None or first.verdict.lets_in:
            result = _rule_take(take_result, class_, policy, first)
    if result is None:
        result = _ALLOWED
    return Decision(
        request.upload_id,
        request.account.id,
        class_,
        result.verdict,
        result.stage,
        result.reason,
        result.retry_after_us,
        result.pause,
        policy.hash,
        board_rev,
        None if standing is None else standing.risk,
        () if take_result is None else take_result.shadow,
        degraded,
    )


def _rule_take(take_result: TakeResult, class_: str, policy: Policy, first: StageResult | None) -> StageResult | None:
    standing = take_result.standing
    known = standing.risk is not None or standing.override is not None
    account = rule_account(standing, class_, policy, take_result.now_us) if known else None
    if account is not None and not account.verdict.lets_in:
        return account
    if take_result.refusal is not None:
        return StageResult(
            Verdict.THROTTLE, Stage.BUCKET, take_result.refusal.limit, take_result.refusal.retry_after_us
        )
    return first if first is not None else account


def _paused(pause: Pause, stage: Stage, now_us: int) -> StageResult:
    verdict = _PAUSED[pause.action]
    wait = None if verdict.lets_in else pause.expires_at_us - now_us
    return StageResult(verdict, stage, f"pause.{pause.reason}", wait, pause.id)
