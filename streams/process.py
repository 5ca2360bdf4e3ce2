"""A batch of records, the states of its partition and the crowd → effects, as a value. Nothing is acted on here.

What cannot be read becomes a dead letter; everything else is folded in the order of the records, and every account
that was touched gets a score, also at 0. The caller makes the effects real, all or none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from zlib import crc32

from gate.core.score import Stamp
from gate.ports import Scored
from gate.records.score import spell
from streams.core.account import State, fold, pack, unpack
from streams.core.crowd import CONTENT, DEVICE, HOST, IP, Crowd, CrowdCount
from streams.core.scorecard import Scorecard
from streams.core.signals import now_us as as_of_us
from streams.core.signals import read
from streams.core.wire import Unreadable, check_record, decode_counting, kind_of, time_us

__all__ = ["CrowdCount", "DeadLetter", "Effects", "Record", "process"]

MAX_KEPT_BYTES = 512 * 1024
"""Most of an unreadable event that its dead letter keeps; beyond it the origin is where to look."""

_NOTHING = (0, 0, 0, 0)


class Record(NamedTuple):
    """One record of the events topic; `timestamp_ms` is the broker's append time."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be used: where it stood, why, and its bytes as they were."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    event: bytes
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Effects:
    """All that follows from one batch, as it will be kept.

    `events` counts by type; `next_offset` is where the next batch starts.
    """

    states: dict[str, bytes]
    scores: list[Scored]
    dead: list[DeadLetter]
    crowd: list[CrowdCount]
    events: dict[str, int]
    unknown_fields: int
    next_offset: int


def process(
    batch: Sequence[Record],
    states: Mapping[str, bytes],
    crowd: Crowd,
    scorecard: Scorecard,
    salt: bytes,
    origin: tuple[str, int],
    epoch: str,
    now_us: int,
) -> Effects:
    """Fold a batch (not empty, in order of offsets) of the partition `origin`; never raises for what records hold,
    and msgspec.DecodeError for a state that nobody packed.

    `states` is only read; `crowd` is told who showed what, which a repeated batch may repeat. `now_us` is the wall
    clock, which only stamps when a score was made.
    """
    touched: dict[str, State] = {}
    dead: list[DeadLetter] = []
    events: dict[str, int] = {}
    unknown = 0
    noted: set[str] = set()
    salt = salt[:64]
    partition = origin[1]
    for offset, key, value, headers, timestamp_ms in batch:
        try:
            event, surplus, _ = decode_counting(value, headers)
            at_us = time_us(event)
            check_record(event, at_us, key, timestamp_ms)
        except Unreadable as error:
            kept = (value or b"")[:MAX_KEPT_BYTES]
            dead.append(DeadLetter(*origin, offset, error.reason, error.detail, kept, key))
            continue
        account = event.account.id
        state = touched.get(account)
        if state is None:
            state = touched[account] = unpack(states.get(account))
        uploads, shown = state.uploads, (state.ip, state.device, state.content, state.host)
        fold(state, event, at_us, offset, value or b"", salt)
        if state.uploads != uploads:
            _note(crowd, partition, state, shown if account in noted else _NOTHING, crc32(key or b""), at_us)
            noted.add(account)
        kind = kind_of(event)
        events[kind] = events.get(kind, 0) + 1
        unknown += surplus
    stamped = partial(Stamp, epoch)
    scores = [_score(account, state, crowd, scorecard, stamped, now_us) for account, state in touched.items()]
    packed = {account: pack(state) for account, state in touched.items()}
    return Effects(packed, scores, dead, crowd.take_changed(partition), events, unknown, batch[-1].offset + 1)


def _note(
    crowd: Crowd, partition: int, state: State, shown: tuple[int, int, int, int], account: int, at_us: int
) -> None:
    """Tell the crowd what the account shows that is not in `shown`: what it has told of the account in this batch."""
    ip, device, content, host = shown
    if state.ip != ip:
        crowd.note(partition, IP, state.ip, account, at_us)
    if state.device != device:
        crowd.note(partition, DEVICE, state.device, account, at_us)
    if state.content != content:
        crowd.note(partition, CONTENT, state.content, account, at_us)
    if state.host != host:
        crowd.note(partition, HOST, state.host, account, at_us)


def _score(
    account: str, state: State, crowd: Crowd, scorecard: Scorecard, stamped: Callable[[int], Stamp], now_us: int
) -> Scored:
    around = crowd.around(state.ip, state.device, state.content, state.host)
    return spell(scorecard.score(account, read(state, around), as_of_us(state), now_us, stamped(state.offset)))
