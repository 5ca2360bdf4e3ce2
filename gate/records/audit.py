"""The audit log as lines of JSON, each chained to the one before it by its hash, and the check of such a chain.

    {"version":1,"chain":"host","seq":7,"at":"…Z","act":"pause","who":"ann","outcome":"done","pause":"p-…","before":null,
     "after":PAUSE,"detail":"","approver":null,"emergency":"","machine":false,"via":"redis","direct":false,
     "identity":"1000@ops-1","prev":"64 hex digits","hash":"64 hex digits"}

A record of an override names its `account` and no pause. `identity` is the login that ran the command. A record of a pause
that was refused, or could not be set, says in `wanted` which one that was.

`hash` is SHA-256 over the line without it. `prev` is the hash of the line before, 64 zeros for the first. To
change or remove a line, one must change all later lines, which then differ from their copies on `gate.audit.v1`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from gate.core.fields.parse import UNDECODABLE
from gate.core.fields.text import repaired
from gate.core.override import Override
from gate.core.pause.entry import Pause
from gate.errors import StateUnreadable
from gate.ports.audit import AuditEntry
from gate.records.override import encode_override
from gate.records.pause import encode_pause, instant

VERSION: Final = 1
FIRST: Final = "0" * 64
MAX_LINE: Final = 1 << 20


class AuditRecord(msgspec.Struct, frozen=True):
    """One line of the log, as read."""

    chain: str
    seq: int
    at: datetime
    act: str
    who: str
    outcome: str
    pause: str
    prev: str
    hash: str
    version: int = VERSION
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    detail: str = ""
    approver: str | None = None
    emergency: str = ""
    machine: bool = False
    via: str = "redis"
    direct: bool = False
    account: str = ""
    identity: str = ""
    wanted: str = ""


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(AuditRecord).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode_audit(entry: AuditEntry, chain: str, seq: int, at_us: int, prev: str) -> bytes:
    """The line of an entry, without its end of line."""
    fields = {
        "version": VERSION,
        "chain": chain,
        "seq": seq,
        "at": instant(at_us),
        "act": entry.act,
        "who": entry.who,
        "outcome": entry.outcome.value,
        "pause": entry.pause,
        "before": _changed(entry.before),
        "after": _changed(entry.after),
        "detail": entry.detail,
        "approver": entry.approver,
        "emergency": entry.emergency,
        "machine": entry.machine,
        "via": entry.via,
        "direct": entry.direct,
        "prev": prev,
        **({"account": entry.account} if entry.account else {}),
        **({"identity": entry.identity} if entry.identity else {}),
        **({"wanted": entry.wanted} if entry.wanted else {}),
    }
    # a name that was typed may be no text, and no attempt goes unrecorded for it
    plain = {name: repaired(value) if isinstance(value, str) else value for name, value in fields.items()}
    return _encode({**plain, "hash": _hash(plain)})


def _changed(value: Pause | Override | None) -> msgspec.Raw | None:
    if value is None:
        return None
    return msgspec.Raw(encode_pause(value) if isinstance(value, Pause) else encode_override(value))


def decode_audit(line: bytes) -> AuditRecord:
    """The record of a line. Raises StateUnreadable, also if its hash is not that of its content."""
    try:
        if len(line) > MAX_LINE:
            raise ValueError(f"it has {len(line)} bytes, more than {MAX_LINE}")
        record, fields = _decode(line), dict(_decode_fields(line))
    except (*UNDECODABLE, ValueError) as error:
        raise StateUnreadable(f"a line of the audit log cannot be read: {error}") from error
    del fields["hash"]
    if _hash(fields) != record.hash:
        raise StateUnreadable(f"record {record.seq} of {record.chain} was altered: its hash is not that of its content")
    return record


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """The outcome of the check of a chain: one sentence for each line at fault, and the records that stood there."""

    problems: tuple[str, ...]
    damaged: frozenset[int]
    """Sequence numbers of the records whose own line cannot be believed."""


def check_chain(lines: Iterable[bytes]) -> ChainCheck:
    """Check each line by itself and by the one before it. One bad line is one problem, also where it breaks the next."""
    problems: list[str] = []
    damaged: set[int] = set()
    prev, seq, unread, number = FIRST, 0, 0, 0
    for number, line in enumerate(lines, 1):
        try:
            record = decode_audit(line)
        except StateUnreadable as error:
            problems.append(f"line {number}: {error}")
            unread += 1
            continue
        skipped = record.seq - seq - 1
        if 0 < skipped <= unread:  # it follows the lines that cannot be read, whose hashes cannot be compared
            damaged |= set(range(seq + 1, record.seq))
        elif skipped == 0 and record.prev != prev and seq:
            problems.append(
                f"line {number - 1}: record {seq} was altered and given a new hash: record {record.seq} follows another one"
            )
            damaged.add(seq)
        elif (record.prev, skipped) != (prev, 0):
            problems.append(
                f"line {number}: record {record.seq} does not follow record {seq}: a record was removed or inserted"
            )
        prev, seq, unread = record.hash, record.seq, 0
    damaged |= set(range(seq + 1, seq + 1 + unread))
    return ChainCheck(tuple(problems), frozenset(damaged))


def _hash(fields: dict[str, Any]) -> str:
    return hashlib.sha256(_encode(fields)).hexdigest()
