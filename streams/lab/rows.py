"""Labelled streams: reads `*.jsonl` and `*.jsonl.gz`, checks every row, and says what each becomes here.

Decides which rows are acceptable, their order, and the times of those that carry none. What is done with the events
is `replay`'s and `traffic`'s to say, what the labels prove `evaluate`'s.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from io import BufferedReader
from ipaddress import ip_address
from itertools import accumulate
from pathlib import Path

import msgspec

from gate.core.account import MAX_ID_BYTES, Account
from gate.core.event import Attempted
from gate.core.media import Media
from gate.core.request import CheckRequest
from gate.errors import OperatorError

MAX_ROW_BYTES = 1 << 20
MAX_TEXT = 8_000
MAX_LINKS = 50
"""What a check and an event carry of a row: so many characters of text, so many links, and of these as many in all."""
MAX_TIME_S = 32_503_680_000
"""The year 3000; what lies beyond is not in seconds."""
SYNTHETIC_START_S = 1_600_000_000
SYNTHETIC_GAP_S = 6 * 3600.0
"""Mean gap between an account's events where a stream has no times; single gaps vary, so that none is a metronome."""
COUNTED_GAP_S = 60.0
"""From row to row where the recorded time is none but counts them: their order is kept."""
WEEK_US = 7 * 86_400 * 1_000_000
BENIGN, ABUSIVE, UNLABELLED = 0, 1, -1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RowInvalid(OperatorError):
    """A row that cannot be used: names file, line and field."""

    def __init__(self, file: Path, line: int | None, problem: str) -> None:
        super().__init__(f"{file}: {problem}" if line is None else f"{file}:{line}: {problem}")
        self.file = file
        self.line = line


class Row(msgspec.Struct, frozen=True):
    """One line as it is written; times are seconds since 1970. Other fields are read over."""

    account_id: str
    t: int | float | None = None
    seq: int | None = None
    set: str = ""
    split: str = ""
    account_created_at: int | float | None = None
    device: str | None = None
    ip: str | None = None
    content_key: str | None = None
    text: str | None = None
    urls: list[str] | None = None
    label: int = UNLABELLED
    label_kind: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One row as the upload it stands for: when it was tried (µs), the check it asks for, and its label."""

    at_us: int
    request: CheckRequest
    label: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A whole file in stream order. `synthetic_times`: the rows had none and were given some."""

    uploads: tuple[Recorded, ...]
    synthetic_times: bool
    notes: tuple[str, ...] = ()


def at(at_us: int) -> datetime:
    """µs since 1970 as the datetime an event carries."""
    return _EPOCH + timedelta(microseconds=at_us)


def attempted(request: CheckRequest, at_us: int, decision: str | None = None) -> Attempted:
    """The event an upload service writes after it asked for `request` and was answered `decision`."""
    return Attempted(
        id=f"e-{request.upload_id}", at=at(at_us), account=request.account, upload_id=request.upload_id,
        media=request.media, surface=request.surface, ip=request.ip, device=request.device, country=request.country,
        text=request.text, links=request.links, decision=decision,
    )  # fmt: skip


def read(file: Path, limit: int | None = None) -> Stream:
    """The uploads of `file` ordered by time, at most the first `limit`; memory grows with the file.

    Raises RowInvalid for the first row that cannot be used, and for a file that cannot be read.
    """
    rows = list(read_rows(file))
    if not rows:
        raise RowInvalid(file, None, "holds no rows")
    bare = next((line for line, row in rows if row.t is None), None)
    timed = next((line for line, row in rows if row.t is not None), None)
    if bare is not None and timed is not None:
        raise RowInvalid(file, bare, f"field t: is null, but line {timed} has a time; either all rows have one or none")
    counted = len(rows) > 1 and all(row.t is not None and row.t == row.seq for _, row in rows)
    if bare is not None:
        times = _synthetic(rows)
    else:
        times = [_counted_us(row) if counted else round(float(row.t or 0) * 1e6) for _, row in rows]
    # the sort is stable: rows of one moment stay in the order of the file
    ordered = sorted(range(len(rows)), key=lambda i: (times[i], rows[i][1].seq or 0))[:limit]
    cut = sum(len(row.text or "") > MAX_TEXT or len(row.urls or ()) > len(_links(row)) for _, row in rows)
    strays = sum(_address(rows[i][1].ip) is None and bool(rows[i][1].ip) for i in ordered)
    notes = []
    if counted:
        notes.append("t is the row's number; rows are taken one a minute")
    if strays:
        notes.append(f"{strays} rows name an IP address that is none; they are taken without")
    if cut:
        notes.append(f"{cut} rows are cut to {MAX_TEXT:,} characters of text and {MAX_LINKS} links")
    return Stream(
        tuple(_recorded(rows[i][0], rows[i][1], times[i]) for i in ordered), bare is not None or counted, tuple(notes)
    )


def _counted_us(row: Row) -> int:
    return round((SYNTHETIC_START_S + float(row.t or 0) * COUNTED_GAP_S) * 1e6)


def not_after(stream: Stream, now_us: int) -> Stream:
    """The stream, moved back by whole weeks where it reaches beyond `now_us`: nobody believes an event from the future."""
    over_us = stream.uploads[-1].at_us - now_us
    if over_us <= 0:
        return stream
    weeks = -(-over_us // WEEK_US)
    moved = shifted(stream.uploads, max(0, stream.uploads[0].at_us - weeks * WEEK_US), 1.0)
    notes = (*stream.notes, f"the stream reaches into the future and was moved back by {weeks} weeks")
    return Stream(tuple(moved), stream.synthetic_times, notes)


def shifted(uploads: Sequence[Recorded], start_us: int, speed: float) -> Iterator[Recorded]:
    """The same uploads as if they began at `start_us` and went `speed` times faster; accounts keep their recorded age."""
    first_us = uploads[0].at_us if uploads else 0
    for upload in uploads:
        now_us = start_us + round((upload.at_us - first_us) / speed)
        request = msgspec.structs.replace(upload.request, account=_aged(upload, now_us))
        yield Recorded(now_us, request, upload.label)


def _aged(upload: Recorded, now_us: int) -> Account:
    account = upload.request.account
    if account.created_at is None:
        return account
    age = at(upload.at_us) - account.created_at
    return msgspec.structs.replace(account, created_at=max(at(now_us) - age, _EPOCH))


def _recorded(line: int, row: Row, at_us: int) -> Recorded:
    created = None if row.account_created_at is None else at(round(row.account_created_at * 1e6))
    request = CheckRequest(
        upload_id=f"row-{line}",
        account=Account(id=row.account_id, created_at=created),
        media=Media(kind="image", sha256=row.content_key or None),
        ip=_address(row.ip),
        device=row.device or None,
        text=row.text[:MAX_TEXT] if row.text else None,
        links=_links(row),
    )
    return Recorded(at_us, request, row.label)


def read_rows(file: Path) -> Iterator[tuple[int, Row]]:
    """Line number and row of each line that is not blank. Raises RowInvalid for the first that cannot be used."""
    decoder = msgspec.json.Decoder(Row)
    line = 0
    try:
        with _open(file) as source:
            while raw := source.readline(MAX_ROW_BYTES + 1):
                line += 1
                if len(raw) > MAX_ROW_BYTES:
                    raise RowInvalid(file, line, f"the row is longer than {MAX_ROW_BYTES:,} bytes")
                if raw.isspace():
                    continue
                yield line, _checked(file, line, decoder, raw)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RowInvalid(file, line + 1 if line else None, f"cannot be read: {reason}") from None
    except gzip.zlib.error as error:  # type: ignore[attr-defined]
        raise RowInvalid(file, line + 1, f"cannot be read: {error}") from None


def _open(file: Path) -> gzip.GzipFile | BufferedReader:
    with file.open("rb") as peek:
        packed = peek.read(2) == b"\x1f\x8b"
    return gzip.open(file, "rb") if packed else file.open("rb")


def _checked(file: Path, line: int, decoder: msgspec.json.Decoder[Row], raw: bytes) -> Row:
    try:
        row = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise RowInvalid(file, line, _named(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RowInvalid(file, line, f"is not JSON: {error}") from None
    if not row.account_id:
        raise RowInvalid(file, line, "field account_id: is empty")
    for name, value in (("account_id", row.account_id), ("device", row.device), ("content_key", row.content_key)):
        if value is not None and len(value.encode()) > MAX_ID_BYTES:
            raise RowInvalid(file, line, f"field {name}: is longer than {MAX_ID_BYTES} bytes")
    for name, moment in (("t", row.t), ("account_created_at", row.account_created_at)):
        if moment is not None and not 0 <= moment < MAX_TIME_S:
            raise RowInvalid(file, line, f"field {name}: {moment} is no time in seconds since 1970")
    if row.label not in (BENIGN, ABUSIVE, UNLABELLED):
        raise RowInvalid(file, line, f"field label: {row.label} is none of 0, 1 and -1")
    return row


def _named(complaint: str) -> str:
    """The decoder's complaint with the field in front: "Expected `str`, got `int` - at `$.ip`" → "field ip: …"."""
    what, _, where = complaint.partition(" - at `$")
    if where:
        return f"field {where.strip('`.')}: {what[:1].lower()}{what[1:]}"
    if "missing required field" in what:
        return f"field {what.rpartition(' `')[2].strip('`')}: is missing"
    return what[:1].lower() + what[1:]


def _links(row: Row) -> tuple[str, ...]:
    lengths = accumulate(map(len, row.urls or ()))
    return tuple(link for link, total in zip((row.urls or ())[:MAX_LINKS], lengths, strict=False) if total <= MAX_TEXT)


def _address(ip: str | None) -> str | None:
    try:
        return None if not ip or "%" in ip else str(ip_address(ip))
    except ValueError:
        return None


def _synthetic(rows: Sequence[tuple[int, Row]]) -> list[int]:
    """A time (µs) for each row: an account's events in the order of `seq`, at irregular gaps that tell nothing."""
    order = sorted(range(len(rows)), key=lambda i: rows[i][1].seq or 0)
    clocks: dict[str, tuple[random.Random, float]] = {}
    times = [0] * len(rows)
    for i in order:
        account = rows[i][1].account_id
        gaps, last_s = clocks.get(account) or (random.Random(_seed(account)), float(SYNTHETIC_START_S))
        last_s += gaps.expovariate(1 / SYNTHETIC_GAP_S)
        clocks[account] = gaps, last_s
        times[i] = round(last_s * 1e6)
    return times


def _seed(account: str) -> int:
    return int.from_bytes(blake2b(account.encode(), digest_size=8).digest(), "big")
