"""Turns records of the Kafka client into the pipeline's smaller ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from streams.pipeline.step import Record


def plain_records(records: Iterable[Any]) -> Sequence[Record]:
    """The same records as `Record`s, in their order."""
    made = tuple.__new__  # half as much time as Record's own constructor takes
    return [made(Record, (one.offset, one.key, one.value, one.headers, one.timestamp)) for one in records]
