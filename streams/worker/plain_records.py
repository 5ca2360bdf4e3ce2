"""Makes a consumer yield `Record`s. The client's own records have eleven fields and cost as much as decoding an event.

The client offers no place for it. So what it keeps of a fetch gets another class when it is kept, before any record of it
is read. `tests/contract/test_plain_records.py` compares both over a real topic.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords

from streams.pipeline.step import Record


def yield_plain_records(consumer: Any) -> None:
    """Make a consumer that was started yield `Record`s from now on."""
    fetcher = consumer._fetcher
    kept = _Kept()
    kept.update(fetcher._records)
    fetcher._records = kept


class _Kept(OrderedDict[Any, Any]):
    """What was fetched and not read yet, by partition."""

    def __setitem__(self, at: Any, fetched: Any) -> None:
        if isinstance(fetched, FetchResult) and fetched._partition_records is not None:
            fetched._partition_records.__class__ = _PlainRecords
        super().__setitem__(at, fetched)


class _PlainRecords(PartitionRecords):
    def __iter__(self) -> Iterator[Record]:
        unread: Iterator[Record] = self._records_iterator  # its code has not begun
        return unread

    def _consumer_record(self, tp: Any, record: Any) -> Record:
        headers = record.headers
        return tuple.__new__(
            Record, (record.offset, record.key, record.value, tuple(headers) if headers else (), record.timestamp)
        )
