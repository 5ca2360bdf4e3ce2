"""The truth table of the precedence ladder: for each pair of rungs, the higher one decides."""

from typing import Any

import pytest

from gate.core.account import Account
from gate.core.decide import BOARD_STAGES, STAGES, STORE_STAGES, LivePauses, Shed, decide, live_pauses
from gate.core.decision import Decision, Stage, Verdict
from gate.core.duration import HOUR_US
from gate.core.hot_facts import MetFact
from gate.core.limits.gcra import Refusal
from gate.core.limits.take import TakeResult
from gate.core.media import Media
from gate.core.override import Override
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.policy import Policy, Thresholds
from gate.core.request import CheckRequest
from gate.core.standing import Standing

NOW_US = 1_800_000_000_000_000
DAY_US = 86_400_000_000
REQUEST = CheckRequest("u-1", Account("a-1"), Media("image"), surface="post", country="DE")


def a_policy(deny: tuple[str, ...] = ()) -> Policy:
    return Policy(
        "hash", ("regular", "new"), "regular", "new", DAY_US, None,
        {"regular": Thresholds(0.5, 0.7, 0.9), "new": Thresholds(None, None, 0.6)},
        (), frozenset(deny), ("raid",), DAY_US, DAY_US, 50_000,
    )  # fmt: skip


def a_pause(action: Action = Action.STOP, scope: Scope = Scope(), lasts_us: int = DAY_US, id_: str = "p-1") -> Pause:
    return Pause(id_, 7, scope, action, "raid", "text", "ann", NOW_US - 1, NOW_US + lasts_us)


def decided(
    *,
    glass: tuple[Pause, ...] = (),
    deny: bool = False,
    pauses: tuple[Pause, ...] = (),
    override: bool | None = None,
    risk: float | None = None,
    refused: bool = False,
    shed: bool = False,
    reused: bool = False,
) -> Decision:
    staff = None if override is None else Override(override, "known", "ann", NOW_US + 1)
    refusal = Refusal("account.uploads.minute", 12_000_000) if refused else None
    standing = Standing(risk, None if risk is None else NOW_US, staff)
    taken = TakeResult(standing, not refused and not reused, False, refusal, (), NOW_US, conflict=reused)
    answer = Shed(standing, 2_000_000, NOW_US) if shed else taken
    board = live_pauses(Board({pause.id: pause for pause in pauses}, glass), NOW_US)
    return decide(REQUEST, "regular", board, a_policy(("a-1",) if deny else ()), NOW_US, answer)


REFUSING: dict[Stage, dict[str, object]] = {
    Stage.BREAK_GLASS: {"glass": (a_pause(id_="g"),)},
    Stage.DENY_LIST: {"deny": True},
    Stage.PAUSE: {"pauses": (a_pause(),)},
    Stage.OVERRIDE: {"override": False},
    Stage.SCORE: {"risk": 0.95},
    Stage.OVERLOAD: {"shed": True},
    Stage.RESERVATION: {"reused": True},
    Stage.BUCKET: {"refused": True},
}
LETTING_IN: dict[Stage, dict[str, object]] = {
    Stage.BREAK_GLASS: {"glass": (a_pause(Action.REVIEW, id_="g"),)},
    Stage.PAUSE: {"pauses": (a_pause(Action.REVIEW),)},
    Stage.OVERRIDE: {"override": True},
    Stage.SCORE: {"risk": 0.5},
}
PAIRS = [(high, low) for n, high in enumerate(REFUSING) for low in list(REFUSING)[n + 1 :]]


def test_the_table_has_every_stage_in_its_order() -> None:
    assert (*REFUSING, Stage.DEFAULT) == STAGES == tuple(Stage)
    assert set(BOARD_STAGES) | set(STORE_STAGES) | {Stage.DEFAULT} == set(Stage)


@pytest.mark.parametrize("stage", REFUSING)
def test_each_stage_refuses_by_itself(stage: Stage) -> None:
    decision = decided(**REFUSING[stage])  # type: ignore[arg-type]

    assert decision.stage is stage
    assert not decision.verdict.lets_in


@pytest.mark.parametrize(("high", "low"), PAIRS)
def test_of_two_stages_that_refuse_the_higher_decides(high: Stage, low: Stage) -> None:
    decision = decided(**{**REFUSING[low], **REFUSING[high]})  # type: ignore[arg-type]

    assert decision.stage is high
    assert not decision.verdict.lets_in


@pytest.mark.parametrize(("high", "low"), [pair for pair in PAIRS if pair[0] in LETTING_IN])
def test_a_higher_stage_that_lets_in_leaves_the_refusal_to_the_lower_one(high: Stage, low: Stage) -> None:
    decision = decided(**{**REFUSING[low], **LETTING_IN[high]})  # type: ignore[arg-type]

    lifted = (high, low) == (Stage.OVERRIDE, Stage.SCORE)  # what an override is for
    assert decision.verdict.lets_in is lifted
    assert decision.stage is (high if lifted else low)


@pytest.mark.parametrize(("high", "low"), [pair for pair in PAIRS if pair[1] in LETTING_IN])
def test_a_lower_stage_that_lets_in_changes_nothing_above_it(high: Stage, low: Stage) -> None:
    refused = decided(**{**LETTING_IN[low], **REFUSING[high]})  # type: ignore[arg-type]

    assert refused.stage is high
    if high in LETTING_IN:
        let_in = decided(**{**LETTING_IN[low], **LETTING_IN[high]})  # type: ignore[arg-type]
        assert (let_in.stage, let_in.verdict.lets_in) == (high, True)


@pytest.mark.parametrize("stage", REFUSING)
def test_the_store_is_asked_unless_a_stage_before_it_refuses(stage: Stage) -> None:
    given: dict[str, Any] = REFUSING[stage]
    board = live_pauses(Board({p.id: p for p in given.get("pauses", ())}, given.get("glass", ())), NOW_US)
    policy = a_policy(("a-1",) if "deny" in given else ())

    decision = decide(REQUEST, "regular", board, policy, NOW_US)

    if stage in BOARD_STAGES:
        assert decision is not None
        assert (decision.stage, decision.verdict.lets_in) == (stage, False)
    else:
        assert decision is None


def test_what_is_shed_is_throttled_with_a_time_to_come_back() -> None:
    decision = decided(shed=True)

    assert (decision.verdict, decision.reason, decision.retry_after_us) == (Verdict.THROTTLE, "overload", 2_000_000)


def test_the_ladder_from_top_to_bottom() -> None:
    everything = {
        "glass": (a_pause(Action.CHALLENGE, id_="g"),),
        "deny": True,
        "pauses": (a_pause(),),
        "override": False,
        "risk": 0.95,
        "refused": True,
    }
    steps = list(everything)
    seen: list[tuple[Stage, Verdict]] = []

    for removed in range(len(steps) + 1):
        decision = decided(**{name: everything[name] for name in steps[removed:]})  # type: ignore[arg-type]
        seen.append((decision.stage, decision.verdict))

    assert seen == [
        (Stage.BREAK_GLASS, Verdict.CHALLENGE),
        (Stage.DENY_LIST, Verdict.DENY),
        (Stage.PAUSE, Verdict.PAUSED),
        (Stage.OVERRIDE, Verdict.DENY),
        (Stage.SCORE, Verdict.DENY),
        (Stage.BUCKET, Verdict.THROTTLE),
        (Stage.DEFAULT, Verdict.ALLOW),
    ]


@pytest.mark.parametrize(
    ("risk", "verdict"),
    [
        (0.0, Verdict.ALLOW),
        (0.49, Verdict.ALLOW),
        (0.5, Verdict.REVIEW),
        (0.7, Verdict.CHALLENGE),
        (0.9, Verdict.DENY),
        (1.0, Verdict.DENY),
    ],
)
def test_a_score_decides_from_its_threshold_on(risk: float, verdict: Verdict) -> None:
    decision = decided(risk=risk)

    assert decision.verdict is verdict
    assert decision.stage is (Stage.DEFAULT if verdict is Verdict.ALLOW else Stage.SCORE)


def test_an_override_lets_in_what_the_score_would_deny() -> None:
    decision = decided(override=True, risk=1.0)

    assert (decision.verdict, decision.stage, decision.reason) == (Verdict.ALLOW, Stage.OVERRIDE, "override.allow")


def test_no_override_lifts_a_pause() -> None:
    assert decided(override=True, pauses=(a_pause(),)).verdict is Verdict.PAUSED


def test_the_strictest_of_the_matching_pauses_counts_and_one_that_does_not_match_is_nothing() -> None:
    mild, strict = a_pause(Action.REVIEW, id_="mild"), a_pause(Action.CHALLENGE, id_="strict")
    other = a_pause(Action.STOP, Scope(classes=frozenset({"new"})), id_="other")

    assert decided(pauses=(mild, strict, other)).pause == "strict"
    assert decided(pauses=(other,)).verdict is Verdict.ALLOW


def test_a_review_pause_rescues_nothing_that_others_refuse() -> None:
    review = (a_pause(Action.REVIEW),)

    assert decided(pauses=review).verdict is Verdict.REVIEW
    assert decided(pauses=review, risk=0.95).verdict is Verdict.DENY
    assert decided(pauses=review, override=False).verdict is Verdict.DENY
    assert decided(pauses=review, refused=True).verdict is Verdict.THROTTLE


def test_a_bucket_refuses_what_a_score_would_only_review() -> None:
    decision = decided(risk=0.5, refused=True)

    assert (decision.verdict, decision.reason, decision.retry_after_us) == (
        Verdict.THROTTLE, "account.uploads.minute", 12_000_000,
    )  # fmt: skip


def test_an_old_score_and_an_ended_override_do_not_count() -> None:
    old = TakeResult(Standing(1.0, NOW_US - DAY_US - 1), True, False, None, (), NOW_US)
    ended = TakeResult(Standing(None, None, Override(False, "r", "o", NOW_US)), True, False, None, (), NOW_US)

    assert decide(REQUEST, "regular", LivePauses(), a_policy(), NOW_US, old).verdict is Verdict.ALLOW
    assert decide(REQUEST, "regular", LivePauses(), a_policy(), NOW_US, ended).verdict is Verdict.ALLOW


def met_by(standing: Standing) -> Decision:
    answer = TakeResult(standing, True, False, None, (), NOW_US)
    return decide(REQUEST, "regular", LivePauses(), a_policy(), NOW_US, answer)


def test_a_score_decays_from_when_it_was_known() -> None:
    """The gate last knew of the account two half-lives ago; since then the store is away."""
    known = Standing(0.95, NOW_US - 3 * HOUR_US, None, HOUR_US, 0.01, NOW_US - 2 * HOUR_US)

    decision = met_by(known)

    assert decision.verdict is Verdict.ALLOW
    assert decision.risk is not None
    assert decision.risk < 0.1


def test_a_score_that_was_made_far_behind_leads_to_a_review_at_most() -> None:
    decision = met_by(Standing(0.99, NOW_US, acts=False))

    assert (decision.verdict, decision.reason) == (Verdict.REVIEW, "score.lagging")
    assert met_by(Standing(0.1, NOW_US, acts=False)).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("known", "is_for_scored", "hot", "reason"),
    [
        (None, False, 0.95, "score.deny"),
        (None, False, 0.5, "score.review"),
        (None, False, 0.1, "allow"),
        (0.1, False, 0.95, "allow"),
        (0.1, True, 0.95, "score.deny"),
    ],
)
def test_a_hot_fact_decides_for_whom_it_speaks_of_and_is_named(
    known: float | None, is_for_scored: bool, hot: float, reason: str
) -> None:
    fact = MetFact(hot, "device:ab", is_for_scored)

    decision = met_by(Standing(known, None if known is None else NOW_US, hot=fact))

    assert decision.reason == reason
    assert decision.hot == (None if reason == "allow" else "device:ab")


def test_the_stricter_of_score_and_hot_fact_decides() -> None:
    own_is_worse = met_by(Standing(0.95, NOW_US, hot=MetFact(0.5, "device:ab", True)))
    both_alike = met_by(Standing(0.95, NOW_US, hot=MetFact(0.96, "device:ab", True)))
    own_does_not_act = met_by(Standing(0.95, NOW_US, acts=False, hot=MetFact(0.95, "device:ab", True)))

    assert (own_is_worse.reason, own_is_worse.hot) == ("score.deny", None)
    assert (both_alike.reason, both_alike.hot) == ("score.deny", None)
    assert (own_does_not_act.reason, own_does_not_act.hot) == ("score.deny", "device:ab")


def test_staff_who_let_an_account_in_let_it_pass_a_hot_fact() -> None:
    staff = Override(True, "known", "ann", NOW_US + 1)

    assert met_by(Standing(override=staff, hot=MetFact(0.99, "device:ab", True))).reason == "override.allow"


def test_a_pause_says_its_reason_its_id_and_how_long_it_lasts() -> None:
    decision = decided(pauses=(a_pause(lasts_us=90_000_000),))

    assert (decision.reason, decision.pause, decision.retry_after_us) == ("pause.raid", "p-1", 90_000_000)
    assert (decision.board_rev, decision.policy) == (7, "hash")


@pytest.mark.parametrize("store_asked", [True, False])
def test_a_review_in_the_break_glass_file_does_not_open_what_a_stop_or_the_deny_list_closes(store_asked: bool) -> None:
    glass = (a_pause(Action.REVIEW, id_="g"),)
    answer = TakeResult(Standing(), True, False, None, (), NOW_US) if store_asked else None

    both = live_pauses(Board({"p-1": a_pause()}, glass), NOW_US)
    only_glass = live_pauses(Board({}, glass), NOW_US)

    stopped = decide(REQUEST, "regular", both, a_policy(), NOW_US, answer)
    denied = decide(REQUEST, "regular", only_glass, a_policy(("a-1",)), NOW_US, answer)
    alone = decide(REQUEST, "regular", only_glass, a_policy(), NOW_US, answer)

    assert stopped is not None
    assert denied is not None
    assert (stopped.stage, stopped.verdict, stopped.pause) == (Stage.PAUSE, Verdict.PAUSED, "p-1")
    assert (denied.stage, denied.verdict) == (Stage.DENY_LIST, Verdict.DENY)
    if answer is None:
        assert alone is None  # a review is not final: the store has to be asked
    else:
        assert (alone.stage, alone.verdict, alone.pause) == (Stage.BREAK_GLASS, Verdict.REVIEW, "g")


@pytest.mark.parametrize("where", ["glass", "pauses"])
def test_a_pause_that_names_a_class_the_policy_does_not_have_stops_an_upload_that_says_it(where: str) -> None:
    named = a_pause(scope=Scope(classes=frozenset({"zzz"})), id_="z")
    review = a_pause(Action.REVIEW, id_="r")
    board = Board({"r": review, "z": named}) if where == "pauses" else Board({"r": review}, (named,))
    pauses = live_pauses(board, NOW_US)

    stopped, let_in = (
        decide(
            CheckRequest("u-1", Account("a-1", class_), Media("image")), "regular", pauses, a_policy(), NOW_US,
            TakeResult(Standing(), True, False, None, (), NOW_US),
        )
        for class_ in ("zzz", None)
    )  # fmt: skip

    assert (stopped.verdict, stopped.pause, stopped.class_) == (Verdict.PAUSED, "z", "regular")
    assert let_in.verdict is Verdict.REVIEW


def test_a_pause_of_a_class_the_policy_does_not_have_stops_uploads_before_the_store_is_asked() -> None:
    pauses = live_pauses(Board({"z": a_pause(scope=Scope(classes=frozenset({"zzz"})), id_="z")}), NOW_US)
    request = CheckRequest("u-1", Account("a-1", "zzz"), Media("image"))

    decision = decide(request, "regular", pauses, a_policy(), NOW_US)

    assert decision is not None
    assert decision.pause == "z"
