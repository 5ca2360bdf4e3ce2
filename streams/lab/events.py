"""Events of labelled streams, judged one by one as they come, before their own label.

A row's account is the source of its event, its content the target, its device the place. All rows are counted, those
with labels are judged. Half-lives go by the clock where rows have times, and by the number of events otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gate.core.duration import parse_duration_us
from gate.errors import OperatorError
from streams.core.counters import BY_COUNT, BY_TIME, COUNT_NAMES, LABEL_NAMES, CountedEvent, Counters, Kept
from streams.core.models.event_card import EventCard, Matrix
from streams.lab.row_notes import RowNotes
from streams.lab.rows import ABUSIVE, BENIGN, FIELDS, Row, are_counted, read_rows

FAMILIES: Final = ("amount", "source", "target", "place", "kind", "labels")


class Labels(StrEnum):
    """When labels reach the counters. Anything else is a delay."""

    NONE = "none"
    IMMEDIATE = "immediate"


class NoLabels(OperatorError):
    """No row of the files has a label of 0 or 1."""


@dataclass(frozen=True, slots=True)
class EventStream:
    """Events in order, with their times in the unit of `by_time` (seconds, else their number) and their labels.

    `notes` are what is to be said of the rows."""

    events: list[CountedEvent]
    times: list[float]
    labels: NDArray[np.int64]
    by_time: bool
    rows: dict[str, int]
    notes: Sequence[str] = ()

    @property
    def has_kinds(self) -> bool:
        """Whether labelled events have a kind or an amount, without which their counters say little."""
        return any(self.events[n].kind or self.events[n].amount for n in np.flatnonzero(self.labels >= 0))


@dataclass(frozen=True, slots=True)
class JudgedEvents:
    """The counters before each labelled event: `matrix` with a column for each of `names`, and the labels.

    `numbers` are the places of the events in the stream; `kept` is what the counters hold after it.
    """

    names: tuple[str, ...]
    matrix: Matrix
    labels: NDArray[np.int64]
    numbers: NDArray[np.int64]
    kept: Kept


def read_events(files: Sequence[Path], after: float = 0.0) -> EventStream:
    """The events of all files, in order of time if all rows have a time, else in the order of the files.

    Without times the first event has the number after `after`. Raises RowInvalid for a row that cannot be read.
    """
    rows: list[Row] = []
    counts: dict[str, int] = {}
    noted = RowNotes(FIELDS)
    by_time = True
    for file in files:
        found = [row for _, row in read_rows(file, notes=noted)]
        counts[file.name] = len(found)
        by_time = by_time and not are_counted(found) and all(row.t is not None for row in found)
        rows += sorted(found, key=lambda row: (row.t or 0, row.seq or 0)) if by_time else found
    if by_time:
        rows.sort(key=lambda row: row.t or 0)
    labels = np.array([row.label for row in rows], np.int64)
    if not rows or not (labels >= 0).any():
        raise NoLabels(f"no row has a label of 0 or 1{noted.hint()}", "give a labelled stream")
    times = [float(row.t or 0) if by_time else after + number for number, row in enumerate(rows, start=1)]
    return EventStream([_event(row) for row in rows], times, labels, by_time, counts, noted.notes())


def read_events_of_kinds(files: Sequence[Path], labels: str) -> EventStream | None:
    """The events of all files if labelled rows have a kind or an amount, else None. Raises OperatorError as
    `read_events` and, where there are such rows, for a delay that `labels` does not name."""
    try:
        stream = read_events(files)
    except NoLabels:
        return None
    if not stream.has_kinds:
        return None
    label_delay(labels, stream.by_time)
    return stream


def _event(row: Row) -> CountedEvent:
    amount = row.amount
    number = isinstance(amount, int | float) and not isinstance(amount, bool) and 0 <= amount < 1e15
    return CountedEvent(
        row.account_id,
        _text(row.content_key),
        _text(row.device or row.ip),
        _text(row.kind),
        float(amount) if number else 0.0,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def label_delay(given: str, by_time: bool) -> float | None:
    """How long after its event a label comes, in the unit of the stream's times; None for never.

    Raises OperatorError for what is none of `none`, `immediate`, a duration such as `7d`, or a number of events.
    """
    if given == Labels.NONE:
        return None
    if given == Labels.IMMEDIATE:
        return 0.0
    if given.isdigit() and not by_time:
        return float(given)
    try:
        delay_us = parse_duration_us(given)
    except ValueError:
        raise OperatorError(f"--labels {given} is not a delay", "give none, immediate, or a delay such as 7d") from None
    if not by_time:
        raise OperatorError("the rows have no times", "give --labels a number of events") from None
    return delay_us / 1e6


def judge_events(
    stream: EventStream,
    labels: str,
    kept: Kept | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> JudgedEvents:
    """Read the counters before every event, then count it; its label is learned when it comes."""
    delay = label_delay(labels, stream.by_time)
    counters = Counters(BY_TIME if stream.by_time else BY_COUNT, labelled=delay is not None)
    if kept is not None:
        counters.go_on_from(kept)
    names = COUNT_NAMES if delay is None else COUNT_NAMES + LABEL_NAMES
    numbers = np.flatnonzero(stream.labels >= 0)
    matrix = np.zeros((len(numbers), len(names)))
    waiting: deque[int] = deque()
    row = 0
    for number, (event, now) in enumerate(zip(stream.events, stream.times, strict=True)):
        while waiting and delay is not None and stream.times[waiting[0]] + delay <= now:
            learned = waiting.popleft()
            counters.learn(stream.events[learned], now, int(stream.labels[learned]))
        label = int(stream.labels[number])
        if label in (BENIGN, ABUSIVE):
            matrix[row] = counters.read(event, now)
            row += 1
            waiting.append(number)
        counters.add(event, now)
        if not number % 1_000:
            progress(number / len(stream.events))
    return JudgedEvents(names, matrix, stream.labels[numbers], numbers, counters.kept())


def family(name: str) -> str:
    """The family of a counter: that of its labels, or of the part it is about."""
    return "labels" if name in LABEL_NAMES else name.partition("_")[0]


def counter_names() -> frozenset[str]:
    """What can be left out of the cards of events: counters and families of them."""
    return frozenset((*COUNT_NAMES, *LABEL_NAMES, *FAMILIES))


def left_of(card: EventCard, left_out: Sequence[str]) -> EventCard:
    """The card without the terms that read a counter which is left out. Raises OperatorError as `without`."""
    kept = set(without(COUNT_NAMES + LABEL_NAMES, left_out))
    return replace(card, terms=tuple(term for term in card.terms if kept.issuperset(term.features)))


def without(names: Sequence[str], left_out: Iterable[str]) -> tuple[str, ...]:
    """The names that are left. Raises OperatorError for what is neither a counter nor a family."""
    gone = set(left_out)
    for one in sorted(gone - set(COUNT_NAMES) - set(LABEL_NAMES) - set(FAMILIES)):
        raise OperatorError(f"--without {one}: there is no such counter or family", f"families: {', '.join(FAMILIES)}")
    return tuple(name for name in names if name not in gone and family(name) not in gone)
