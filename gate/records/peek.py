"""Peeks → bytes: what the gate would decide about a check, and what is left of each limit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from gate.core.decision import Decision
from gate.core.limits.limit import Room
from gate.records.decision import Answer, answer, field_number, policy_field, quoted, retry_after_s


class Left(msgspec.Struct, frozen=True, gc=False):
    """The room in one limit, in its unit: how much at once, what is left, and in how many seconds all of it is.

    Of what is left, the gate that answers holds `leased`; other gates may hold leases besides, of which it does not know.
    """

    limit: str
    unit: str
    burst: int
    left: int
    full_in: float
    leased: int = 0


class PeekAnswer(msgspec.Struct, frozen=True):
    """What the gate would decide about a check, and what is left of each limit before it."""

    decision: Answer
    limits: list[Left]


def peek_answer(decision: Decision, rooms: Sequence[Room], ignored: Collection[str] = ()) -> PeekAnswer:
    """The answer to a peek. It holds no reservation, because nothing was taken."""
    now_us = decision.room_at_us
    lefts = []
    for room in rooms:
        limit = room.limit
        unit = "bytes" if limit.by_bytes else "in_flight" if limit.in_flight else "uploads"
        full_in = max(0, room.full_at_us - now_us) / 1e6 if now_us else 0.0
        lefts.append(Left(limit.name, unit, limit.rate.burst, room.left(now_us), full_in, room.held))
    return PeekAnswer(answer(decision, ignored), lefts)


def encode_peek(peeked: PeekAnswer) -> bytes:
    """The body that answers a peek."""
    return msgspec.json.encode(peeked)


def peek_lines(decision: Decision, rooms: Sequence[Room]) -> bytes:
    """The same lines for a peek, with every limit."""
    now_us, wait = decision.room_at_us, decision.retry_after_us
    retry = b"" if wait is None else b"retry-after: %d\r\n" % retry_after_s(wait)
    if not rooms or not now_us:
        return retry
    policies = b", ".join(policy_field(room.limit) for room in rooms)
    shown = ", ".join(
        f"{quoted(room.limit.name)};r={field_number(room.left(now_us))};t={max(0, -(-(room.full_at_us - now_us) // 1_000_000))}"
        for room in rooms
    )
    return b"ratelimit-policy: %b\r\nratelimit: %b\r\n%b" % (policies, shown.encode(), retry)
