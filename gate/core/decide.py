"""The one function that decides an upload: the gate, the tests and a replay all call `decide`.

A check passes the stages of `STAGES` in order, the stage of highest precedence first. The first stage that refuses
decides. If none refuses, the first stage that lets in (a review, an override) decides; if none says anything, the
upload is allowed. So a stage that only reviews can never open what a later stage closes.

The stages before `STORE_STAGES` know enough without the account store. When none of them refuses, `decide` returns
None until it is given what the store answered, or, where the store could not answer, what the gate itself knows. The
store takes tokens before `decide` sees its answer. It is therefore told beforehand which accounts the override and
score stages will refuse (`ClassLimits.refuse_at`, from the table of `Thresholds` that `_score` reads), and takes
nothing for them. Tokens move if and only if the upload is let in. A pause by risk belongs to the stage of pauses, and is
decided with the store's answer; the store is told of it in the same way (`refusing_risk`).

Nothing is read here, and nothing is changed: everything known is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, overload

import msgspec

from gate.core.decision import Decision, Stage, Verdict
from gate.core.limits.take import ClassLimits, TakeResult
from gate.core.pause.board import Board
from gate.core.pause.index import EMPTY, Hit, PauseIndex, index_of, strictest
from gate.core.pause.scope import Action, PauseMode
from gate.core.policy import Policy
from gate.core.request import CheckRequest
from gate.core.standing import UNKNOWN, Standing


class LivePauses(msgspec.Struct, frozen=True):
    """The board as checks read it: its revision, worked out once, and the pauses that can still hold an upload.

    `by_risk` has those that look at the score, which is known only when the store has answered; `dry_run` those that
    act on nothing and are only counted.
    """

    rev: int = 0
    break_glass: PauseIndex = EMPTY
    shared: PauseIndex = EMPTY
    by_risk: PauseIndex = EMPTY
    dry_run: PauseIndex = EMPTY
    are_none: bool = True
    """Whether no pause can hold any upload; it follows from the others."""

    def __post_init__(self) -> None:
        are_none = not (self.break_glass.entries or self.shared.entries or self.by_risk.entries)
        msgspec.structs.force_setattr(self, "are_none", are_none)


def live_pauses(board: Board, now_us: int) -> LivePauses:
    """What checks read of `board`."""
    known = [pause for key, pause in board.pauses.items() if key not in board.lifted]
    shared = [pause for pause in known if pause.mode is PauseMode.ENFORCE]
    glass = [pause for pause in board.break_glass if pause.mode is PauseMode.ENFORCE]
    return LivePauses(
        board.rev,
        index_of((pause for pause in glass if pause.scope.risk_from is None), now_us),
        index_of((pause for pause in shared if pause.scope.risk_from is None), now_us),
        index_of((pause for pause in (*shared, *glass) if pause.scope.risk_from is not None), now_us),
        index_of((pause for pause in (*known, *board.break_glass) if pause.mode is PauseMode.DRY_RUN), now_us),
    )


class Shed(msgspec.Struct, frozen=True, gc=False):
    """The store was not asked because too much waited for it. `standing` is what the gate last knew of the account."""

    standing: Standing
    retry_after_us: int
    now_us: int
    shadow: tuple[str, ...] = ()
    room: None = None


StoreAnswer = TakeResult | Shed
"""The result of the store call: an answer (the store's, or the gate's own in its place), or a check that was shed."""


class StageResult(msgspec.Struct, frozen=True, gc=False):
    """What one stage says about an upload. `refuses` follows from the verdict and is kept beside it for speed.

    `hot` names the hot fact that the result follows from.
    """

    verdict: Verdict
    refuses: bool
    stage: Stage
    reason: str
    retry_after_us: int | None = None
    pause: str | None = None
    hot: str | None = None
    message: str = ""
    link: str = ""


def _result(
    verdict: Verdict, stage: Stage, reason: str, retry_after_us: int | None = None, pause: str | None = None
) -> StageResult:
    return StageResult(verdict, not verdict.lets_in, stage, reason, retry_after_us, pause)


_ALLOW: Final = Verdict.ALLOW
_DEFAULT: Final = Stage.DEFAULT
_BUCKET: Final = Stage.BUCKET
_ALLOWED: Final = _result(_ALLOW, _DEFAULT, "allow")
_DENY_LISTED: Final = _result(Verdict.DENY, Stage.DENY_LIST, "deny_list")
REUSED: Final = "upload.reused"
"""The reason of a check whose upload id was checked before with other content."""
_REUSED: Final = _result(Verdict.DENY, Stage.RESERVATION, REUSED)
_OVERRIDES: Final = {
    allow: _result(verdict, Stage.OVERRIDE, f"override.{verdict}")
    for allow, verdict in ((True, Verdict.ALLOW), (False, Verdict.DENY))
}
_SCORES: Final = {
    verdict: _result(verdict, Stage.SCORE, f"score.{verdict}")
    for verdict in (Verdict.DENY, Verdict.CHALLENGE, Verdict.REVIEW)
}
_LAGGING: Final = _result(Verdict.REVIEW, Stage.SCORE, "score.lagging")
_STRICTNESS: Final = {verdict: n for n, verdict in enumerate((Verdict.REVIEW, Verdict.CHALLENGE, Verdict.DENY))}
_PAUSES: Final = {
    Action.STOP: Verdict.PAUSED,
    Action.ALLOW_ONLY: Verdict.PAUSED,
    Action.THROTTLE: Verdict.THROTTLE,
    Action.CHALLENGE: Verdict.CHALLENGE,
    Action.REVIEW: Verdict.REVIEW,
}


def _break_glass(
    request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int
) -> StageResult | None:
    return _held(strictest(pauses.break_glass, request, class_, now_us), Stage.BREAK_GLASS)


def _deny_list(
    request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int
) -> StageResult | None:
    return _DENY_LISTED if request.account.id in policy.deny_accounts else None


def _pause(request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int) -> StageResult | None:
    return _held(strictest(pauses.shared, request, class_, now_us), Stage.PAUSE)


def _pause_by_risk(
    request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int, answer: StoreAnswer
) -> StageResult | None:
    """A pause of accounts from some risk on. The risk counts as it does for the stage of scores."""
    risk = answer.standing.acting_risk(answer.now_us, policy.max_score_age_us)
    return _held(strictest(pauses.by_risk, request, class_, now_us, risk), Stage.PAUSE)


def _override(answer: StoreAnswer, class_: str, policy: Policy) -> StageResult | None:
    override = answer.standing.override_in_force(answer.now_us)
    return None if override is None else _OVERRIDES[override.allow]


def _score(answer: StoreAnswer, class_: str, policy: Policy) -> StageResult | None:
    """A score counts until it is too old, and not at all while an override is in force; a hot fact only if it is stricter.

    A score that was made while the stream was far behind leads to a review at most.
    """
    standing, thresholds = answer.standing, policy.thresholds[class_]
    if standing.override_in_force(answer.now_us) is not None:
        return None
    risk = standing.counted_risk(answer.now_us, policy.max_score_age_us)
    verdict = None if risk is None else thresholds.verdict_at(risk)
    result = None if verdict is None else _SCORES[verdict] if standing.acts else _LAGGING
    hot = standing.hot
    if hot is None or not (risk is None or hot.is_for_scored):
        return result
    verdict = thresholds.verdict_at(hot.risk)
    if verdict is None or (result is not None and _STRICTNESS[result.verdict] >= _STRICTNESS[verdict]):
        return result
    return msgspec.structs.replace(_SCORES[verdict], hot=hot.name)


def _overload(answer: StoreAnswer, class_: str, policy: Policy) -> StageResult | None:
    if not isinstance(answer, Shed):
        return None
    return _result(Verdict.THROTTLE, Stage.OVERLOAD, "overload", answer.retry_after_us)


def _reservation(answer: StoreAnswer, class_: str, policy: Policy) -> StageResult | None:
    """The same upload id with other content is refused, because what it was checked for before was another upload."""
    return _REUSED if isinstance(answer, TakeResult) and answer.conflict else None


def _bucket(answer: StoreAnswer, class_: str, policy: Policy) -> StageResult | None:
    if isinstance(answer, Shed) or answer.refusal is None:
        return None
    return _result(Verdict.THROTTLE, Stage.BUCKET, answer.refusal.limit, answer.refusal.retry_after_us)


BOARD_STAGES: Final[Mapping[Stage, Callable[[CheckRequest, str, LivePauses, Policy, int], StageResult | None]]] = {
    Stage.BREAK_GLASS: _break_glass,
    Stage.DENY_LIST: _deny_list,
    Stage.PAUSE: _pause,
}
"""The stages that know enough without the store."""

STORE_STAGES: Final[Mapping[Stage, Callable[[StoreAnswer, str, Policy], StageResult | None]]] = {
    Stage.OVERRIDE: _override,
    Stage.SCORE: _score,
    Stage.OVERLOAD: _overload,
    Stage.RESERVATION: _reservation,
    Stage.BUCKET: _bucket,
}
"""The stages that read what came of the store call."""

STAGES: Final = (*BOARD_STAGES, *STORE_STAGES, Stage.DEFAULT)
"""The order of precedence, highest first."""

_BOARD_STAGES: Final = tuple(BOARD_STAGES.values())
_STORE_STAGES: Final = tuple(STORE_STAGES.values())


@overload
def decide(
    request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int, answer: None = None
) -> Decision | None: ...


@overload
def decide(
    request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int, answer: StoreAnswer,
    degraded: tuple[str, ...] = (), limits: ClassLimits | None = None,
) -> Decision: ...  # fmt: skip


def decide(
    request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int, answer: StoreAnswer | None = None,
    degraded: tuple[str, ...] = (), limits: ClassLimits | None = None,
) -> Decision | None:  # fmt: skip
    """The decision on `request` for an account of `class_`; None where the store must be asked first.

    `answer` is the result of the store call, None before it. `degraded` lists the stores that could not be asked. `limits`
    are those that the store was asked to take from: the decision holds the one that refused.
    `now_us` is the gate's clock, by which pauses expire; score age and overrides go by the clock of `answer`.
    """
    # the tests spare nearly every check the walk through stages that have nothing to say
    strongest, any_pauses = _ALLOWED, not pauses.are_none
    if (any_pauses and may_hold(pauses, request, class_)) or request.account.id in policy.deny_accounts:
        strongest = _walk(_BOARD_STAGES, strongest, request, class_, pauses, policy, now_us)
    if answer is None:
        if not strongest.refuses:
            return None
        answer = _NOT_NEEDED
    standing = answer.standing
    risk = standing.risk
    if not strongest.refuses:
        if any_pauses and pauses.by_risk.entries and pauses.by_risk.candidates(request, class_):
            strongest = _walk((_pause_by_risk,), strongest, request, class_, pauses, policy, now_us, answer)
        if not strongest.refuses and (
            answer.__class__ is not TakeResult
            or answer.refusal is not None
            or answer.conflict
            or (
                standing is not UNKNOWN
                and (
                    standing.override is not None
                    or standing.hot is not None
                    or (risk is not None and risk >= policy.thresholds[class_].lowest)
                )
            )
        ):
            strongest = _walk(_STORE_STAGES, strongest, answer, class_, policy)
    if risk is not None and standing.as_of_us != answer.now_us:  # nearly always the two times are equal
        risk = standing.risk_now(answer.now_us)
    if strongest is _ALLOWED:
        return Decision(
            request.upload_id, request.account.id, class_, _ALLOW, _DEFAULT, "allow", None, None, policy.hash, pauses.rev,
            risk, answer.shadow, degraded, None, not degraded, answer.room, answer.now_us,
        )  # fmt: skip
    return Decision(
        request.upload_id, request.account.id, class_, strongest.verdict, strongest.stage, strongest.reason,
        strongest.retry_after_us, strongest.pause, policy.hash, pauses.rev, risk, answer.shadow, degraded, strongest.hot,
        not degraded and not strongest.refuses, answer.room, answer.now_us, strongest.message, strongest.link,
        None if limits is None or strongest.stage is not _BUCKET else limits.by_name.get(strongest.reason),
    )  # fmt: skip


def needs_store(pauses: LivePauses, policy: Policy) -> bool:
    """True if no upload can be decided before the store has answered, as is usual. `decide` then need not be called."""
    return pauses.are_none and not policy.deny_accounts


_NOT_NEEDED: Final = TakeResult(UNKNOWN, False, False, None, (), 0)
"""In place of an answer where the board decides."""


def unheld(pauses: LivePauses) -> LivePauses:
    """The pauses as they are for an upload of which `may_hold` is false: what `decide` says of it is the same by these."""
    return LivePauses(pauses.rev, by_risk=pauses.by_risk, dry_run=pauses.dry_run)


def may_hold(pauses: LivePauses, request: CheckRequest, class_: str) -> bool:
    """Whether a pause that needs no score may hold the upload."""
    shared, glass = pauses.shared, pauses.break_glass
    if shared.entries and shared.candidates(request, class_):
        return True
    return bool(glass.entries and glass.candidates(request, class_))


def _walk(stages: Iterable[Callable[..., StageResult | None]], strongest: StageResult, *facts: object) -> StageResult:
    """The first result that refuses. If none does: `strongest`, or the first result where that is still the default."""
    for stage in stages:
        result = stage(*facts)
        if result is not None and (result.refuses or strongest is _ALLOWED):
            strongest = result
            if strongest.refuses:
                break
    return strongest


def _held(hit: Hit | None, stage: Stage) -> StageResult | None:
    if hit is None:
        return None
    pause = hit.pause
    verdict = _PAUSES[pause.action]
    wait_us = None if verdict.lets_in else hit.wait_us
    return StageResult(
        verdict, not verdict.lets_in, stage, f"pause.{pause.reason}", wait_us, pause.id,
        message=pause.public, link=pause.public_link,
    )  # fmt: skip
