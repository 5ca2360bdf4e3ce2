"""Turns records of the Kafka client into the pipeline's smaller ones.

The client builds a `ConsumerRecord` of eleven fields for each record, which takes three times as long as to read it from
the batch. A consumer that is `without_copies` returns the record of the batch itself, which has the fields that we read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any

from aiokafka.consumer.fetcher import FetchResult

from streams.pipeline.step import Record

_fields = attrgetter("offset", "key", "value", "headers", "timestamp")


def plain_records(records: Iterable[Any]) -> Sequence[Record]:
    """The same records as `Record`s, in their order."""
    return [*map(tuple.__new__, repeat(Record), map(_fields, records))]  # a third of what Record's constructor takes


def without_copies(consumer: Any) -> None:
    """Make `consumer`, which has started, return records as they are in their batches.

    They have `offset`, `key`, `value`, `timestamp` and `headers`. Which records it returns does not change.
    """
    consumer._fetcher._records = _Fetched(consumer._fetcher._records)


class _Fetched(OrderedDict[Any, Any]):
    """What the client has fetched of each partition."""

    def __setitem__(self, at: Any, result: Any) -> None:
        if type(result) is FetchResult:
            result._partition_records._consumer_record = _as_it_is
        super().__setitem__(at, result)


def _as_it_is(at: object, record: object) -> object:
    return record
