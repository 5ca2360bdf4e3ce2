"""Decisions → bytes: the one spelling of a decision outside the process.

There is one document with two views. `Answer` is what a caller of `/v1/check` gets and may show to an uploader. The
record on `gate.decisions.v1` is the same document with fields that only staff may read: the account, its risk, the
check. A record carries `"version": 1`; readers ignore fields they do not know.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

import msgspec

from gate.core.decision import Decision, Stage, Verdict
from gate.core.limits.limit import Limit, Room
from gate.core.request import CheckRequest

VERSION: Final = 1
MAX_JITTER_US: Final = 60_000_000
_MOST_IN_FIELDS: Final = 10**15 - 1
_DEFAULT: Final = Stage.DEFAULT
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
    """An answer with more to say. `ignored` names the fields of the check that broke their rule, in whole or in part;
    `message` and `link` are what a pause tells the uploader. Each is absent where there is nothing to say.
    """

    ignored: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET
    link: str | msgspec.UnsetType = msgspec.UNSET


class RecordedMedia(msgspec.Struct, frozen=True, gc=False):
    """The media of an upload, as a record has it."""

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
    """The values of a check and its decision that a record needs, small enough that thousands wait in a queue."""

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


class ReservationSigner:
    """Makes and reads the `reservation` of an answer, signed under a key that all gates share: account, upload, and when it
    began, because an upload that was given back and checked again has another reservation.

    The key follows from the salt of the pseudonyms (`UPLOAD_GATE_SALT`), so there is no second secret to hand out. A
    reservation permits a report of that upload alone.
    """

    def __init__(self, salt: bytes) -> None:
        # the key comes first and has a fixed length, so that key and upload fit into one block of the hash
        self._hasher = blake2b(digest_size=12, person=b"reservation")
        self._hasher.update(blake2b(salt, digest_size=32, person=b"reservation").digest())
        self.copied = self._hasher.copy
        """Returns a hasher that has hashed the key."""

    def sign(self, account: str, upload_id: str, began_us: int) -> str:
        """The reservation of an upload that began at `began_us` by the store's clock."""
        named = f"{len(account)}.{began_us}.{account}{upload_id}"
        hasher = self.copied()
        hasher.update(named.encode())
        return f"{hasher.hexdigest()}.{named}"

    def read(self, reservation: str) -> tuple[str, str, int] | None:
        """Account, upload and beginning; None if this is no reservation that `sign` made."""
        _, _, named = reservation.partition(".")
        length, _, rest = named.partition(".")
        began, _, both = rest.partition(".")
        if not (_is_number(length, 3) and _is_number(began, 16)):
            return None
        account, upload_id = both[: int(length)], both[int(length) :]
        try:
            expected = self.sign(account, upload_id, int(began))
        except UnicodeEncodeError:
            return None
        return (account, upload_id, int(began)) if compare_digest(expected.encode(), reservation.encode()) else None


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits


def put_off(decision: Decision, share: float) -> Decision:
    """The decision with its return put off, so that callers spread: by a tenth at most, of which `share` in [0, 1) is taken.

    All that one answer says of the time must be made of what is returned.
    """
    wait = decision.retry_after_us
    if wait is None:
        return decision
    return msgspec.structs.replace(decision, retry_after_us=wait + int(share * min(wait // 10, MAX_JITTER_US)))


def encode_decision(
    decision: Decision, ignored: Collection[str] = (), signer: ReservationSigner | None = None
) -> bytes:
    """The body that answers one check, of which the fields `ignored` were not kept as they were sent."""
    if signer is not None and decision.stage is _DEFAULT and decision.reserved and not ignored:
        body = _body_of_allowed(decision, signer)
        if body is not None:
            return body
    return _encode(answer(decision, ignored, signer))


def _body_of_allowed(decision: Decision, signer: ReservationSigner) -> bytes | None:
    """The body of `encode_decision` for an upload that is let in by default, in half the time: two fields tell such answers
    apart. None where an id has characters that JSON spells in another way.
    """
    account, upload_id = decision.account, decision.upload_id
    start, middle, end = _around(decision.policy, decision.board_rev)
    named = f"{len(account)}.{decision.room_at_us}.{account}{upload_id}"
    hasher = signer.copied()  # as `ReservationSigner.sign` does
    hasher.update(named.encode())
    if len(_encode(named)) != len(named) + 2:
        return None
    return f"{start}{upload_id}{middle}{hasher.hexdigest()}.{named}{end}".encode()


def encode_decisions(
    decisions: Sequence[Decision], ignored: Sequence[Collection[str]], signer: ReservationSigner | None = None,
) -> bytes:  # fmt: skip
    """The body that answers a batch, in its order; `ignored` has an entry for each check, see `encode_decision`."""
    if signer is not None:
        body = _body_of_some_allowed(decisions, ignored, signer)
        if body is not None:
            return body
    pairs = zip(decisions, ignored, strict=True)
    return _encode(_Answers([answer(decision, fields, signer) for decision, fields in pairs]))


def _body_of_some_allowed(
    decisions: Sequence[Decision], ignored: Sequence[Collection[str]], signer: ReservationSigner,
) -> bytes | None:  # fmt: skip
    """The body of `encode_decisions`, in half the time where most uploads are let in by default: two fields tell their answers
    apart. None where an id has characters that JSON spells in another way.
    """
    policy, board_rev, began_us, length, begin = decisions[0].policy, decisions[0].board_rev, -1, -1, ""
    start, middle, end = _around(policy, board_rev)
    copied = signer.copied
    answers: list[str] = []
    names: list[str] = []
    for decision, fields in zip(decisions, ignored, strict=True):
        if (
            decision.stage is _DEFAULT
            and decision.reserved
            and decision.policy is policy
            and decision.board_rev == board_rev
            and not fields
        ):
            account, upload_id = decision.account, decision.upload_id
            if decision.room_at_us != began_us or len(account) != length:
                began_us, length = decision.room_at_us, len(account)
                begin = f"{length}.{began_us}."
            named = f"{begin}{account}{upload_id}"
            hasher = copied()  # as `ReservationSigner.sign` does
            hasher.update(named.encode())
            names.append(named)
            answers.append(f"{start}{upload_id}{middle}{hasher.hexdigest()}.{named}{end}")
        else:
            answers.append(_encode(answer(decision, fields, signer)).decode())
    shown = "".join(names)
    if len(_encode(shown)) != len(shown) + 2:
        return None
    return f'{{"decisions":[{",".join(answers)}]}}'.encode()


@lru_cache(maxsize=16)
def _around(policy: str, board_rev: int) -> tuple[str, str, str]:
    """What stands before the upload of an answer that lets in by default, between upload and reservation, and after it."""
    allowed = Answer("<>", Verdict.ALLOW, Stage.DEFAULT, "allow", None, "<>", None, policy, board_rev, None, ())
    start, middle, end = _encode(allowed).decode().split("<>", 2)
    return start, middle, end


def answer(decision: Decision, ignored: Collection[str] = (), signer: ReservationSigner | None = None) -> Answer:
    """The public view. With a `signer` an upload that is let in carries the reservation by which it is reported."""
    wait, upload_id = decision.retry_after_us, decision.upload_id
    lets_in = decision.reserved or decision.verdict.lets_in  # only what is let in is reserved, and nearly all is
    plain = Answer(
        upload_id,
        decision.verdict,
        decision.stage,
        decision.reason,
        None if wait is None else -(-wait // 1000) / 1000,
        signer.sign(decision.account, upload_id, decision.room_at_us)
        if decision.reserved and signer is not None
        else None,
        decision.pause,
        decision.policy,
        decision.board_rev,
        None if lets_in else appeal_token(decision),
        decision.degraded,
    )
    if not ignored and not decision.message:
        return plain
    first = (plain.upload_id, plain.decision, plain.stage, plain.reason, plain.retry_after, plain.reservation)
    return PartialAnswer(
        *first,
        plain.pause,
        plain.policy,
        plain.board_rev,
        plain.appeal,
        plain.degraded,
        ignored=tuple(ignored) or msgspec.UNSET,
        message=decision.message or msgspec.UNSET,
        link=decision.link or msgspec.UNSET,
    )


def rate_limit_lines(decision: Decision) -> bytes:
    """`RateLimit-Policy`, `RateLimit` and `Retry-After` of one decision as lines of a head; empty where no limit has a say.

    The fields are those of draft-ietf-httpapi-ratelimit-headers-10: of an upload that was let in they tell of the limit with
    the least room, of one that was refused of the limit that refused.
    """
    room, wait = decision.room, decision.retry_after_us
    if room is not None and wait is None:
        now_us = decision.room_at_us
        return _room_lines(room.limit, room.full_at_us - now_us, room.open, room.held_us)
    limit = decision.refused_by
    if wait is None:  # of a limit that never has room for the upload its policy says why
        return b"" if limit is None else b"ratelimit-policy: %b\r\n" % policy_field(limit)
    seconds = retry_after_s(wait)
    if decision.stage is not Stage.BUCKET:
        return b"retry-after: %d\r\n" % seconds
    begin = b"ratelimit: %b" % quoted(decision.reason).encode() if limit is None else _policy_line(limit)
    return b"%b;r=0;t=%d\r\nretry-after: %d\r\n" % (begin, field_number(seconds), seconds)


@lru_cache(maxsize=4_096)
def _room_lines(limit: Limit, full_in_us: int, in_flight: int, held_us: int) -> bytes:
    """The lines of an upload that was let in. Most uploads take from buckets that were full, so few lines make up most."""
    seconds = max(0, -(-full_in_us // 1_000_000))
    left = Room(limit, full_in_us, in_flight, held_us).left(0)
    return b"%b;r=%d;t=%d\r\n" % (_policy_line(limit), field_number(left), field_number(seconds))


@lru_cache(maxsize=1_024)
def _policy_line(limit: Limit) -> bytes:
    """`RateLimit-Policy` of a limit, and the start of its `RateLimit`."""
    return b"ratelimit-policy: %b\r\nratelimit: %b" % (policy_field(limit), quoted(limit.name).encode())


@lru_cache(maxsize=1_024)
def policy_field(limit: Limit) -> bytes:
    """The item of `RateLimit-Policy` for a limit: its quota, and the time in which the quota fills."""
    rate = limit.rate
    unit = ';qu="content-bytes"' if limit.by_bytes else ';qu="concurrent-requests"' if limit.in_flight else ""
    fills_us = limit.tolerance_us or rate.per_us
    window = "" if limit.in_flight else f";w={field_number(max(1, -(-fills_us // 1_000_000)))}"
    return f"{quoted(limit.name)};q={field_number(rate.burst)}{unit}{window}".encode()


def field_number(number: int) -> int:
    """A number that a header field may hold: RFC 9651 gives integers fifteen digits."""
    return min(number, _MOST_IN_FIELDS)


@lru_cache(maxsize=1_024)
def quoted(name: str) -> str:
    """The name of a limit as a string of a header field (RFC 9651), which holds visible ASCII and spaces."""
    shown = "".join(each if " " <= each <= "~" else "?" for each in name)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def retry_after_s(wait_us: int) -> int:
    """Whole seconds after which a retry passes, at least 1."""
    return max(1, -(-wait_us // 1_000_000))


def logged(request: CheckRequest, decision: Decision, now_us: int, ignored: Collection[str] = ()) -> LoggedDecision:
    """The values that the record of `decision` will need, without text, links and addresses."""
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
