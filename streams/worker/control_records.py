"""The records of `worker.controls.v1`: commands of operators, and the answers of workers for a partition. Both are
small JSON objects with a version. Workers skip a record that they cannot read, because anybody may write there.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from gate.core.fields.parse import UNDECODABLE

VERSION = 1
MAX_RECORD_BYTES = 4_096


class ResumeOutcome(StrEnum):
    """The result for a partition that was to read on."""

    LIVE = "live"
    NOT_HALTED = "not_halted"
    HALTED_AGAIN = "halted_again"
    MOVED = "moved"
    SLOW = "slow"
    NO_WORKER = "no_worker"


class ResumeCommand(msgspec.Struct, frozen=True, tag_field="kind", tag="resume"):
    """Read on where a partition is halted; `partition` None means all. `drains` moves what is unreadable to the dead
    letters until most events are readable again."""

    id: str
    v: int = VERSION
    partition: int | None = None
    drains: bool = False

    @property
    def key(self) -> bytes:
        """The record's key: a newer command for the same partitions replaces an older one."""
        return b"resume" if self.partition is None else b"resume:%d" % self.partition


class ResumeAnswer(msgspec.Struct, frozen=True, tag_field="kind", tag="resume_answer"):
    """The answer of the owner of `partition` to the command `id`; `offset` is where the partition is then."""

    id: str
    partition: int
    outcome: ResumeOutcome
    v: int = VERSION
    offset: int | None = None

    @property
    def key(self) -> bytes:
        """The record's key: one answer a partition is kept."""
        return b"answer:%d" % self.partition


ControlRecord = ResumeCommand | ResumeAnswer

_decoder: msgspec.json.Decoder[ControlRecord] = msgspec.json.Decoder(ResumeCommand | ResumeAnswer)
_encode = msgspec.json.Encoder().encode


def encode_control(record: ControlRecord) -> bytes:
    """The record's value."""
    return _encode(record)


def decode_control(value: bytes | None) -> ControlRecord | None:
    """The record in `value`; None if it is not one, or is of a newer version."""
    if not value or len(value) > MAX_RECORD_BYTES:
        return None
    try:
        record = _decoder.decode(value)
    except UNDECODABLE:
        return None
    return record if record.v == VERSION else None
