"""Decisions → bytes: the one spelling of a decision outside the process.

There is one document with two views. `Answer` is what a caller of `/v1/check` gets and may show to an uploader. The
record on `gate.decisions.v1` is the same document with what only staff may read: the account, its risk, what was
checked. A record carries `"version": 1`; readers ignore fields they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

import msgspec

from gate.core.decision import Decision
from gate.core.request import CheckRequest

VERSION: Final = 1
MAX_JITTER_US: Final = 60_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A decision as its caller sees it. `retry_after` is seconds from now; null means that waiting does not help.

    `degraded` is always present. It lists what could not be asked, and is empty when everything was: `["store"]` means
    that the decision knows no more of the account than the gate itself remembers.
    """

    upload_id: str
    decision: str
    stage: str
    reason: str
    retry_after: float | None
    reservation: str | None
    pause: str | None
    policy: str
    board_rev: int
    appeal: str | None
    degraded: tuple[str, ...]


class PartialAnswer(Answer, frozen=True, gc=False):
    """The answer to a check of which some fields broke their rule, in whole or in part; `ignored` names them."""

    ignored: tuple[str, ...]


class RecordedMedia(msgspec.Struct, frozen=True, gc=False):
    """What a record keeps of the media."""

    kind: str | None
    bytes: int | None


class DecisionRecord(Answer, frozen=True, gc=False, rename={"class_": "class"}):
    """A decision as `gate.decisions.v1` keeps it. `risk` is null where the account's score was not known.

    `at` is the gate's clock, and `retry_after` is the store's own figure, without the jitter of the answer. `hot` names the
    hot fact that decided, and is absent where none did; `ignored` is absent where every field of the check was kept.
    """

    at: datetime
    account: str
    class_: str
    risk: float | None
    shadow: tuple[str, ...]
    media: RecordedMedia
    surface: str | None
    country: str | None
    hot: str | msgspec.UnsetType = msgspec.UNSET
    ignored: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    version: int = VERSION


class LoggedDecision(msgspec.Struct, frozen=True, gc=False):
    """What a record needs of a check and its decision, small enough to wait in a queue by the thousand."""

    at_us: int
    decision: Decision
    kind: str | None
    bytes: int | None
    surface: str | None
    country: str | None
    ignored: tuple[str, ...] = ()


class _Answers(msgspec.Struct, frozen=True):
    decisions: list[Answer]


_encode = msgspec.json.Encoder().encode


def encode_decision(decision: Decision, jitter: Callable[[], float], ignored: Collection[str] = ()) -> bytes:
    """The body that answers one check, of which the fields `ignored` were not kept as they were sent."""
    return _encode(answer(decision, jitter, ignored))


def encode_decisions(
    decisions: Sequence[Decision], jitter: Callable[[], float], ignored: Sequence[Collection[str]]
) -> bytes:
    """The body that answers a batch, in its order; `ignored` has an entry for each check, see `encode_decision`."""
    pairs = zip(decisions, ignored, strict=True)
    return _encode(_Answers([answer(decision, jitter, fields) for decision, fields in pairs]))


def answer(decision: Decision, jitter: Callable[[], float], ignored: Collection[str] = ()) -> Answer:
    """The public view. A number of `jitter`, in [0, 1), puts off the return by up to a tenth, so that callers spread."""
    wait = decision.retry_after_us
    fields = (
        decision.upload_id,
        decision.verdict,
        decision.stage,
        decision.reason,
        None if wait is None else -(-(wait + int(jitter() * min(wait // 10, MAX_JITTER_US))) // 1000) / 1000,
        None,
        decision.pause,
        decision.policy,
        decision.board_rev,
        appeal_token(decision),
        decision.degraded,
    )
    return PartialAnswer(*fields, tuple(ignored)) if ignored else Answer(*fields)


def logged(request: CheckRequest, decision: Decision, now_us: int, ignored: Collection[str] = ()) -> LoggedDecision:
    """What the record of `decision` will need; text, links and addresses stay behind."""
    media = request.media
    return LoggedDecision(now_us, decision, media.kind, media.bytes, request.surface, request.country, tuple(ignored))


def encode_record(entry: LoggedDecision) -> bytes:
    """The value of one record on `gate.decisions.v1`."""
    decision = entry.decision
    return _encode(
        DecisionRecord(
            decision.upload_id,
            decision.verdict,
            decision.stage,
            decision.reason,
            None if decision.retry_after_us is None else decision.retry_after_us / 1e6,
            None,
            decision.pause,
            decision.policy,
            decision.board_rev,
            appeal_token(decision),
            decision.degraded,
            at=_EPOCH + timedelta(microseconds=entry.at_us),
            account=decision.account,
            class_=decision.class_,
            risk=decision.risk,
            shadow=decision.shadow,
            media=RecordedMedia(entry.kind, entry.bytes),
            surface=entry.surface,
            country=entry.country,
            hot=msgspec.UNSET if decision.hot is None else decision.hot,
            ignored=entry.ignored or msgspec.UNSET,
        )
    )


def appeal_token(decision: Decision) -> str | None:
    """16 hex digits by which an uploader names a refusal to staff; None where the upload is let in."""
    if decision.verdict.lets_in:
        return None
    return blake2b(decision.upload_id.encode(), digest_size=8, person=decision.policy.encode()[:16]).hexdigest()
