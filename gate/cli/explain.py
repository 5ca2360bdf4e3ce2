"""`explain`: shows staff an account's score in Redis and the signals that led to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
import typer

from gate.cli.account_id import account_id
from gate.cli.addresses import Addresses, AdminFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.output import Output, OutputFlag, emit, instant, result, say
from gate.cli.override import as_json, override_of, sentence
from gate.cli.pause_text import clock_time, local_time, uploads_of
from gate.core.fields.labels import fold_label
from gate.core.override import Override
from gate.core.pause.entry import Pause
from gate.core.pause.ramp import position, share
from gate.core.pause.wording import effect_on, narrowing, ramping
from gate.core.score import Score, risk_at
from gate.errors import StoreUnavailable, UploadGateError, redact
from gate.policyfile.reason_texts import ReasonTexts, load_reason_texts

if TYPE_CHECKING:
    from gate.stores.redis.scores import RedisScoreStore

NAME_REDIS: Final = "Name the Redis of a system that runs with --redis or --state; scores are there alone"
STORE_DEADLINE_S = 2.0
MOST_READ = 5_000
"""Scores that are read to find the riskiest accounts."""
SHOWN = 10
MOST_RISK = 1.0
ONLY_WHERE_HOT: Final = (
    ", if its upload meets a hot fact: a device or network that many share, or an upload right after sign-up"
)

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="explain")(explain)


def explain(
    account: Annotated[
        str | None, typer.Argument(help="Account id; without one, the riskiest accounts.", show_default=False)
    ] = None,
    named: Annotated[
        str | None, typer.Option("--account", help="The account id, as the argument gives it.", show_default=False)
    ] = None,
    class_: Annotated[str | None, typer.Option("--class", "-c", help="The account's class, for the pauses.")] = None,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
    admin: AdminFlag = None,
    reasons: Annotated[
        Path | None, typer.Option(help="Wording of reasons (TOML); the shipped one otherwise.", show_default=False)
    ] = None,
) -> None:
    """Show an account's score, its signals, its override and the pauses that may hold it.

    Without an account, show the riskiest accounts.

    Example: upload-gate explain a-17
    """
    texts, account = load_reason_texts(reasons), named or account
    addresses = resolve_addresses(state, redis=redis, admin=admin)
    if account is None:
        say(f"reading scores from {addresses.shown('redis')}")
        scores = asyncio.run(_within(addresses, _riskiest))
        if output is Output.JSON:
            emit({"accounts": [{"account": score.account, **_json(score, texts, _now_us())} for score in scores]})
        else:
            result(*riskiest_lines(scores, texts, _now_us()))
        return
    say(f"reading the score from {addresses.shown('redis')}")
    account = account_id(account)
    score, problem = _score(addresses, account)
    override, redis_us = _override(addresses, account) if problem is None else (None, 0)
    risk = None if score is None else risk_now(score, _now_us())
    pauses = _pauses(addresses, account, class_, risk, problem)
    if output is Output.JSON:
        shown = None if score is None else _json(score, texts, _now_us())
        overridden = None if override is None else as_json(account, override)
        emit({"account": account, "score": shown, "override": overridden, "pauses": pauses})
    else:
        if problem is None:
            result(*([_without_score(account)] if score is None else score_lines(score, texts, _now_us())))
        result(*([] if override is None else [f"override: {sentence(account, override, redis_us)}"]))
        result(*(f"may be held by {pause}" for pause in pauses))
    if problem is not None:
        raise problem


def _override(addresses: Addresses, account: str) -> tuple[Override | None, int]:
    """The account's override, which takes precedence over its score, and the clock of Redis, by which it ends.

    None, with a warning, if it cannot be read."""
    try:
        return override_of(addresses, account)
    except UploadGateError as error:
        say(f"warning: whether the account has an override is unknown: {error}")
        return None, 0


def _without_score(account: str) -> str:
    return f"{account} has no score: no worker has read an event of this account lately; its uploads are decided without one"


def _score(addresses: Addresses, account: str) -> tuple[Score | None, StoreUnavailable | None]:
    """The score, or why it cannot be read. An error is returned, since the pauses are known without Redis."""

    async def one(store: RedisScoreStore) -> Score | None:
        return (await store.scores([account]))[0]

    try:
        return asyncio.run(_within(addresses, one)), None
    except StoreUnavailable as error:
        return None, error


def _pauses(
    addresses: Addresses, account: str, class_: str | None, risk: float | None, away: StoreUnavailable | None
) -> list[str]:
    """The pauses that may hold the account's uploads, those that let accounts back and those of the host's break-glass
    file included: a part of an upload that is not known may be in their scope. A pause by score may also hold an account
    without such a score whose upload meets a hot fact. `away` is why Redis does not answer, if it does not: gates go on by
    the score that they knew, so each pause by score may hold the account then.
    """
    from gate.cli.status_view import read_view

    try:
        view = read_view(addresses, away)
    except UploadGateError as error:
        say(f"warning: which pauses may hold it is unknown: {error}")
        return []
    say(*(f"warning: {note}" for note in view.notes))
    board, now_us = view.board, view.now_us
    risk = risk if away is None else MOST_RISK
    glass = [pause for pause in board.break_glass if pause.active(now_us) or pause.ramping(now_us)]
    shared = [pause for pause in (*board.active(now_us), *ramping(board, now_us)) if pause.id not in board.lifted]
    where = dict.fromkeys((pause.id for pause in glass), ", from the host's break-glass file")
    found: list[str] = []
    for pause in (*glass, *shared):
        line = f"{pause.id}: {_sentence(pause, now_us)}{where.get(pause.id, '')}"
        if may_hold(pause, account, class_, risk, now_us):
            found.append(line)
        elif may_hold(pause, account, class_, MOST_RISK, now_us):
            found.append(f"{line}{ONLY_WHERE_HOT}")
    return found


def _sentence(pause: Pause, now_us: int) -> str:
    effect = effect_on(uploads_of(pause.scope), pause.action, pause.factor, pause.mode)
    ended = f"which has ended and lets accounts back until {clock_time(pause.over_at_us, now_us)}"
    ends = [ended] if pause.ramping(now_us) else []
    return ", ".join([effect, *narrowing(pause.percent, pause.exempt), pause.reason, f"by {pause.owner}", *ends])


def may_hold(pause: Pause, account: str, class_: str | None, risk: float | None, now_us: int = 0) -> bool:
    """True if the pause may hold an upload of the account; only the account is known, the upload is not."""
    scope, exempt = pause.scope, pause.exempt
    if account in exempt.accounts or (class_ is not None and fold_label(class_) in exempt.classes):
        return False
    return (
        (not scope.accounts or account in scope.accounts)
        and (class_ is None or not scope.classes or fold_label(class_) in scope.classes)
        and (scope.risk_from is None or (risk is not None and risk >= scope.risk_from))
        and position(pause.drawn_by, account) < pause.percent / 100 * share(now_us, pause.ended_at_us, pause.ramp_us)
    )


async def _riskiest(store: RedisScoreStore) -> list[Score]:
    accounts = await store.some_accounts(MOST_READ)
    scores = [score for score in await store.scores(accounts) if score is not None]
    now_us = _now_us()
    return sorted(scores, key=lambda score: -risk_now(score, now_us))[:SHOWN]


async def _within(addresses: Addresses, read: Callable[[RedisScoreStore], Awaitable[T]]) -> T:
    from gate.stores.redis.scores import RedisScoreStore

    store = RedisScoreStore(addresses.redis, prefix=addresses.prefix)
    try:
        async with asyncio.timeout(STORE_DEADLINE_S):
            return await read(store)
    except StoreUnavailable as error:
        raise StoreUnavailable(error.problem, error.remedy or NAME_REDIS) from error
    except TimeoutError as error:
        raise StoreUnavailable(
            f"Redis at {redact(addresses.redis)} gave no score within {STORE_DEADLINE_S:g} s",
            "it accepts connections but does not answer: check whether its process is stopped or busy",
        ) from error
    finally:
        await store.close()


def _now_us() -> int:
    from gate.serve.clock import SystemClock

    return SystemClock().now_us()


def risk_now(score: Score, now_us: int) -> float:
    """The risk as a check judges it at `now_us`: the stored one decays with the age of the last event."""
    return risk_at(score.risk, score.at_us, score.half_life_us, score.base, now_us)


def riskiest_lines(scores: Sequence[Score], texts: ReasonTexts, now_us: int) -> list[str]:
    """A line for each score, with what the signal says that weighed most."""
    if not scores:
        return ["no account has a score"]
    lines = []
    for score in scores:
        heaviest = max(score.reasons, key=lambda reason: reason.weight, default=None)
        why = "" if heaviest is None else f"  {texts.of_signal(heaviest)}"
        lines.append(f"risk {risk_now(score, now_us):.2f}  {score.account}{why}")
    return lines


def score_lines(score: Score, texts: ReasonTexts, now_us: int) -> list[str]:
    """A score as lines for people: the log odds and the name of each signal, the strongest first, and what it says."""
    risk, stored = f"{risk_now(score, now_us):.2f}", f"{score.risk:.2f}"
    decayed = "" if risk == stored else f", decayed from {stored} since its last event"
    lines = [f"{score.account}: risk {risk}{decayed} (bot {score.bot:.2f}, scam {score.scam:.2f})"]
    for reason in sorted(score.reasons, key=lambda reason: -reason.weight):
        lines.append(f"  {reason.weight:+.2f}  {reason.signal:<26} {texts.of_signal(reason)}")
    if not score.reasons:
        lines.append("  no signal weighs for or against it: this is the risk of every such account")
    if score.shadow is not None:
        made_by = f"scorecard {score.shadow.scorecard}" + (
            f", models {score.shadow.models}" if score.shadow.models else ""
        )
        lines.append(f"in shadow: risk {score.shadow.risk:.2f} ({made_by}); nothing decides by it")
    made_by = f"scorecard {score.scorecard}" + (f", models {score.models}" if score.models else "")
    lines.append(f"events up to {local_time(score.at_us)}, scored {local_time(score.scored_at_us)}, {made_by}")
    return lines


def _json(score: Score, texts: ReasonTexts, now_us: int) -> dict[str, object]:
    return {
        "bot": score.bot,
        "scam": score.scam,
        "risk": score.risk,
        "risk_now": round(risk_now(score, now_us), 6),
        "reasons": [
            {"signal": r.signal, "value": r.value, "weight": r.weight}
            | ({} if r.second is None else {"second": r.second})
            | {"text": texts.of_signal(r)}
            for r in score.reasons
        ],
        "at": instant(score.at_us),
        "scored_at": instant(score.scored_at_us),
        "stamp": {field: getattr(score.stamp, field) for field in score.stamp.__struct_fields__},
        "scorecard": score.scorecard,
        "models": score.models or None,
        "shadow": None if score.shadow is None else msgspec.to_builtins(score.shadow),
    }
