"""Decides where a partition continues when it is opened, by what happened to its log and its changelog meanwhile.

    what happened                          it continues at        epoch    generation
    nothing                                the watermark          same     same
    first time                             the log's beginning    new      new
    the events topic was created anew      the log's beginning    new      new
    the log lost its end (same topic)      the log's end          next     new
    records expired before they were read  the log's beginning    same     same
    the changelog was lost                 the log's beginning    same     new, and all are scored again at its old place

A log that lost its end, after an unclean election or a restored disk, holds only records that were folded before, so
none of them is read again. Old brokers have no topic ids; with them a log that is shorter than its watermark counts as
a new topic. A new scorecard, a new layout of states, and a request for all scores also start a new generation, in which
all accounts of the partition are scored again. A generation is never below the wall clock in ms, so that it grows even
if the previous one is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from streams.worker.changelog import Watermark


class LogChange(Enum):
    """The change of a partition's log or changelog. The values are labels of a metric."""

    NONE = "none"
    FIRST = "first"
    RECREATED = "recreated"
    TRUNCATED = "truncated"
    EXPIRED = "expired"
    CHANGELOG_LOST = "changelog_lost"


NEW_GENERATION = (LogChange.FIRST, LogChange.RECREATED, LogChange.TRUNCATED, LogChange.CHANGELOG_LOST)


@dataclass(frozen=True, slots=True)
class Log:
    """A partition of the events topic now: its records are [begin, end). `committed` is the group's offset."""

    incarnation: str
    begin: int
    end: int
    has_id: bool = True
    committed: int | None = None


class Resumption(NamedTuple):
    """Where a partition continues. `lost` counts events that expired unread, or were folded and are no longer there."""

    change: LogChange
    epoch: str
    next: int
    lost: int = 0


class ScoreBasis(NamedTuple):
    """How scores are made from now on. `rescore_at` is the position from which all accounts are scored again."""

    generation: int
    scoring: str
    counts: tuple[int, ...]
    requests: int
    rescore_at: int | None


def resume(mark: Watermark | None, log: Log) -> Resumption:
    """The change of the log since `mark` was written, and where its partition continues."""
    if mark is None:
        if log.committed:
            return Resumption(LogChange.CHANGELOG_LOST, log.incarnation, log.begin, 0)
        return Resumption(LogChange.FIRST, log.incarnation, log.begin)
    base, _, number = mark.epoch.partition("+")
    following = f"{base}+{int(number or 0) + 1}"
    if base != log.incarnation:
        return Resumption(LogChange.RECREATED, log.incarnation, log.begin)
    if log.end < mark.offset:
        if not log.has_id:
            return Resumption(LogChange.RECREATED, following, log.begin)
        return Resumption(LogChange.TRUNCATED, following, log.end, mark.offset - log.end)
    if log.begin > mark.offset:
        return Resumption(LogChange.EXPIRED, mark.epoch, log.begin, log.begin - mark.offset)
    return Resumption(LogChange.NONE, mark.epoch, mark.offset)


def score_basis(
    mark: Watermark | None, resumed: Resumption, log: Log, scoring: str, partitions: int, requests: int, now_ms: int
) -> ScoreBasis:
    """How scores are made after `resumed`. `requests` is the end of the topic of requests for all scores."""
    counts = _with(() if mark is None else mark.partitions, partitions)
    if mark is None:
        rescore_at = log.committed if resumed.change is LogChange.CHANGELOG_LOST else None
        return ScoreBasis(now_ms, scoring, counts, requests, rescore_at)
    wanted = mark.scoring != scoring or mark.requests != requests
    rescore_at = resumed.next if wanted else mark.rescore_at
    if rescore_at is not None and resumed.change in NEW_GENERATION:
        rescore_at = resumed.next  # earlier positions are of another log
    generation = mark.generation
    if wanted or resumed.change in NEW_GENERATION:
        generation = next_generation(generation, now_ms)
    return ScoreBasis(generation, scoring, counts, requests, rescore_at)


def next_generation(generation: int, now_ms: int) -> int:
    """A generation above `generation`, and not below the wall clock."""
    return max(generation + 1, now_ms)


def _with(counts: Sequence[int], now: int) -> tuple[int, ...]:
    """The numbers of partitions that the topic has had, with `now`. Fewer than before means another topic."""
    return tuple(sorted({*(count for count in counts if count < now), now}))
