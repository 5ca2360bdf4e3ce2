"""Reads labelled streams, `*.jsonl` and `*.jsonl.gz`, checks every row, and converts it to an upload.

Decides which rows are acceptable, their order, and the times of rows without one. `replay` and `traffic` use the
uploads, `evaluate` the labels.
"""

from __future__ import annotations

import random
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import msgspec

from gate.core.account import Account
from gate.core.event import Attempted
from gate.core.fields import Dropped, FieldRefused, MessageType, read_fields
from gate.core.fields.parse import NotJson, parse
from gate.core.fields.required import problem_with
from gate.core.fields.rules import MAX_LINKS, MAX_TEXT_CHARS
from gate.core.media import Media
from gate.core.request import CheckRequest
from gate.errors import FileInvalid
from gate.records.complaints import plain_complaint
from streams.lab.gzip_files import UNREADABLE, opened, why_unreadable
from streams.lab.row_notes import RowNotes

MAX_ROW_BYTES = 1 << 20
MOST_NAMED = 5
"""Rows that cannot be used and are named at once."""
MAX_TIME_S = 32_503_680_000
"""The year 3000. A larger number is not a time in seconds."""
SYNTHETIC_START_S = 1_600_000_000
SYNTHETIC_GAP_S = 6 * 3600.0
"""Mean gap between an account's events in a stream without times. Gaps vary, so that no account looks automated."""
COUNTED_GAP_S = 60.0
"""The gap between rows whose recorded time is only a row number. Their order is kept."""
WEEK_US = 7 * 86_400 * 1_000_000
BENIGN, ABUSIVE, UNLABELLED = 0, 1, -1
NO_ROWS = "holds no rows; config/README.md shows a row"

_HOLDS = {
    "field label: ": "0 for honest, 1 for abusive, -1 for unknown",
    "field t: ": "seconds since 1970",
    "field account_created_at: ": "seconds since 1970",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RowInvalid(FileInvalid):
    """A row that cannot be used: names file, line and field. `others` are such rows behind it, a line of the message each."""

    def __init__(self, file: Path, line: int | None, problem: str, others: Sequence[str] = ()) -> None:
        super().__init__([f"{file}: {problem}" if line is None else f"{file}:{line}: {problem}", *others])
        self.file = file
        self.line = line


class Row(msgspec.Struct, frozen=True):
    """One line as it is written. Times are seconds since 1970. Unknown fields are ignored.

    The table of field rules reads the fields of type `Any`, as in a check and an event, but for `kind` and `amount`:
    only the counters of events read those, and take a value that is neither text nor a number as absent.
    """

    account_id: str
    t: int | float | None = None
    seq: int | None = None
    set: str = ""
    split: str = ""
    account_created_at: int | float | None = None
    device: Any = None
    ip: Any = None
    content_key: Any = None
    text: Any = None
    urls: Any = None
    label: int = UNLABELLED
    label_kind: str = ""
    kind: Any = None
    amount: Any = None


FIELDS = frozenset(Row.__struct_fields__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One row as an upload: its time (µs), its check, and its label."""

    at_us: int
    request: CheckRequest
    label: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A whole file in stream order. `synthetic_times`: the rows had no times and got artificial ones."""

    uploads: tuple[Recorded, ...]
    synthetic_times: bool
    notes: tuple[str, ...] = ()


def at(at_us: int) -> datetime:
    """µs since 1970 as the datetime an event carries."""
    return _EPOCH + timedelta(microseconds=at_us)


def attempted(request: CheckRequest, at_us: int, decision: str | None = None) -> Attempted:
    """The event that an upload service writes after the check `request` had the answer `decision`."""
    return Attempted(
        id=f"e-{request.upload_id}", at=at(at_us), account=request.account, upload_id=request.upload_id,
        media=request.media, surface=request.surface, ip=request.ip, device=request.device, country=request.country,
        text=request.text, links=request.links, decision=decision,
    )  # fmt: skip


def read(file: Path, limit: int | None = None, skip_unknown: bool = False) -> Stream:
    """The uploads of `file` ordered by time, at most the first `limit`; memory grows with the file.

    Raises RowInvalid for the first row that cannot be used, and for a file that cannot be read. With `skip_unknown`,
    rows of an account that cannot be known are left out instead.
    """
    noted = RowNotes(FIELDS)
    given = list(read_rows(file, any_account=skip_unknown, notes=noted))
    rows = [one for one in given if not skip_unknown or is_account(one[1].account_id)]
    if not rows:
        raise RowInvalid(file, None, NO_ROWS)
    bare = sum(row.t is None for _, row in rows)
    counted = are_counted([row for _, row in rows])
    if bare == len(rows):
        times = _synthetic(rows)
    elif bare:
        times = _between_neighbours([row for _, row in rows])
    else:
        times = [_counted_us(row) if counted else round(float(row.t or 0) * 1e6) for _, row in rows]
    # the sort is stable: rows of one moment stay in the order of the file
    ordered = sorted(range(len(rows)), key=lambda i: (times[i], rows[i][1].seq or 0))[:limit]
    notes = noted.notes()
    if len(rows) < len(given):
        notes.append(f"{len(given) - len(rows)} rows are of an account that cannot be known; they are left out")
    if counted:
        notes.append("t is the row's number; rows are taken one a minute")
    if 0 < bare < len(rows):
        notes.append(f"{bare} rows have no time; they are taken between those of their neighbours in the file")
    dropped: Counter[tuple[str, Dropped]] = Counter()
    uploads = tuple(_recorded(rows[i][0], rows[i][1], times[i], dropped) for i in ordered)
    for (name, reason), count in sorted(dropped.items()):
        notes.append(f"{count} rows: field {name} {_BECAME.get(reason, 'is dropped')} ({reason})")
    return Stream(uploads, bare == len(rows) or counted, tuple(notes))


_BECAME = {
    Dropped.CUT: f"is cut, to {MAX_TEXT_CHARS:,} characters of text and {MAX_LINKS} links",
    Dropped.HASHED: "is too long; a hash stands for it",
    Dropped.REPAIRED: "held half a character, which is replaced",
    Dropped.SOME_ITEMS: "holds what is no string; the rest is taken",
}


def are_counted(rows: Sequence[Row]) -> bool:
    """Whether the recorded time of every row is only its number."""
    return len(rows) > 1 and all(row.t is not None and row.t == row.seq for row in rows)


def _between_neighbours(rows: Sequence[Row]) -> list[int]:
    """A time (µs) for each row. Rows without one are spread evenly between their neighbours in the file."""
    times = [None if row.t is None else round(float(row.t) * 1e6) for row in rows]
    timed = [i for i, moment in enumerate(times) if moment is not None]
    filled = [times[timed[0]] or 0] * timed[0]
    for one, other in pairwise(timed):
        first, last = times[one] or 0, times[other] or 0
        filled += [first + (last - first) * step // (other - one) for step in range(other - one)]
    return filled + [times[timed[-1]] or 0] * (len(rows) - timed[-1])


def _counted_us(row: Row) -> int:
    return round((SYNTHETIC_START_S + float(row.t or 0) * COUNTED_GAP_S) * 1e6)


def not_after(stream: Stream, now_us: int) -> Stream:
    """The stream, moved back by whole weeks if it ends after `now_us`, because events from the future are refused."""
    over_us = stream.uploads[-1].at_us - now_us
    if over_us <= 0:
        return stream
    weeks = -(-over_us // WEEK_US)
    moved = shifted(stream.uploads, max(0, stream.uploads[0].at_us - weeks * WEEK_US), 1.0)
    notes = (*stream.notes, f"the stream reaches into the future and was moved back by {weeks} weeks")
    return Stream(tuple(moved), stream.synthetic_times, notes)


def shifted(uploads: Sequence[Recorded], start_us: int, speed: float) -> Iterator[Recorded]:
    """The same uploads, beginning at `start_us` and `speed` times faster. Accounts keep their recorded age."""
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


def _recorded(line: int, row: Row, at_us: int, dropped: Counter[tuple[str, Dropped]]) -> Recorded:
    created = None if row.account_created_at is None else at(round(row.account_created_at * 1e6))
    given = {
        "account": {"id": row.account_id}, "media": {"sha256": row.content_key}, "ip": row.ip, "device": row.device,
        "text": row.text, "links": row.urls,
    }  # fmt: skip
    kept, lost = read_fields(given, MessageType.ROW)
    links = _within_budget(kept.get("links", ()))
    if len(links) < len(kept.get("links", ())):
        lost["links"] = Dropped.CUT
    for name, reason in lost.items():
        if reason.malformed or name == "ip":
            dropped[_COLUMNS.get(name, name), reason] += 1
    request = CheckRequest(
        upload_id=f"row-{line}",
        account=Account(id=kept["account"]["id"], created_at=created),
        media=Media(kind="image", sha256=kept.get("media", {}).get("sha256")),
        ip=kept.get("ip"),
        device=kept.get("device"),
        text=kept.get("text"),
        links=links,
    )
    return Recorded(at_us, request, row.label)


def caption(row: Row) -> str | None:
    """The row's text, read as that of an event; a value that is not text counts as none."""
    kept, _ = read_fields({"account": {"id": "any"}, "text": row.text}, MessageType.ROW)
    text: str | None = kept.get("text")
    return text


_COLUMNS = {"media.sha256": "content_key", "links": "urls"}


def is_account(account_id: str) -> bool:
    """Whether this can be an account's id: it is not too long, and no word for unknown."""
    try:
        read_fields({"account": {"id": account_id}}, MessageType.ROW)
    except FieldRefused:
        return False
    return True


def read_rows(file: Path, any_account: bool = False, notes: RowNotes | None = None) -> Iterator[tuple[int, Row]]:
    """Line number and row of each line that is not blank. Raises RowInvalid at the first that cannot be used; it names the
    next ones, too. It is also raised for a file without any row.

    With `any_account` a row's account may be a word for unknown. `notes` counts what is noted of the rows.
    """
    line, blank, refused = 0, 0, _Refused(file)
    try:
        with opened(file) as source:
            while raw := source.readline(MAX_ROW_BYTES + 1):
                line += 1
                if line == 1:
                    raw = raw.removeprefix(BOM_UTF8)  # some programs begin a file with it
                    if b"account_id" in raw and raw.lstrip()[:1] not in (b"{", b"["):
                        refused.add(
                            line, "names columns, as CSV does; write each row as a JSON object on a line of its own"
                        )
                        break
                if len(raw) > MAX_ROW_BYTES:
                    refused.add(line, f"the row is longer than {MAX_ROW_BYTES:,} bytes")
                    break
                if raw.isspace():
                    blank += 1
                    continue
                try:
                    row = _checked(raw, any_account, notes)
                except _Unusable as unusable:
                    refused.add(line, str(unusable))
                    continue
                if not refused.count:
                    yield line, row
    except UNREADABLE as error:
        raise RowInvalid(file, line + 1 if line else None, f"cannot be read: {why_unreadable(error)}") from None
    refused.tell()
    if line == blank:
        raise RowInvalid(file, None, NO_ROWS)


class _Unusable(Exception):
    """Says why a row cannot be used."""


class _Refused:
    """The rows of a file that cannot be used; the first ones are named."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._named: list[tuple[int, str]] = []
        self.count = 0

    def add(self, line: int, problem: str) -> None:
        self.count += 1
        if len(self._named) < MOST_NAMED:
            self._named.append((line, problem))

    def tell(self) -> None:
        """Raises RowInvalid if there is any."""
        if not self.count:
            return
        (line, problem), *others = self._named
        more = [f"{self._file}:{number}: {why}" for number, why in others]
        if self.count > len(self._named):
            more.append(f"and {self.count - len(self._named):,} more of the rows of {self._file} that cannot be used")
        raise RowInvalid(self._file, line, problem, more)


def _checked(raw: bytes, any_account: bool = False, notes: RowNotes | None = None) -> Row:
    try:
        given = parse(raw)
        if notes is not None and isinstance(given, dict):
            notes.add(given, raw)
        row = msgspec.convert(given, Row)
    except UnicodeEncodeError:
        raise _Unusable(f"field {_with_half_a_character(given)}: holds half a character") from None
    except msgspec.ValidationError as error:
        raise _Unusable(_with_meaning(_named(str(error)))) from None
    except NotJson as error:
        raise _Unusable(f"is not JSON: {error}; each line is one row as a JSON object") from None
    try:
        if not any_account:
            read_fields({"account": {"id": row.account_id}}, MessageType.ROW)
    except FieldRefused as refused:
        raise _Unusable(f"field account_id: {problem_with(refused)}") from None
    for name, moment in (("t", row.t), ("account_created_at", row.account_created_at)):
        if moment is not None and not 0 <= moment < MAX_TIME_S:
            raise _Unusable(f"field {name}: {moment} is not a time in seconds since 1970")
    if row.label not in (BENIGN, ABUSIVE, UNLABELLED):
        raise _Unusable(f"field label: {row.label} is none of 0 (honest), 1 (abusive) and -1 (unknown)")
    return row


def _with_meaning(problem: str) -> str:
    """The complaint with what its field holds, where the name alone does not say it."""
    return next((f"{problem}: {holds}" for start, holds in _HOLDS.items() if problem.startswith(start)), problem)


def _with_half_a_character(given: Any) -> str:
    """The name of the first field whose text cannot be encoded."""
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    broken = (name for name, value in texts.items() if value != value.encode(errors="replace").decode())
    return next(broken, "label")


def _named(complaint: str) -> str:
    """The decoder's complaint with the field in front: "Expected `str`, got `int` - at `$.ip`" → "field ip: …"."""
    what, _, where = complaint.partition(" - at `$")
    if where:
        return f"field {where.strip('`.')}: {plain_complaint(what)}"
    if "missing required field" in what:
        return f"field {what.rpartition(' `')[2].strip('`')}: is missing"
    return plain_complaint(what)


def _within_budget(links: tuple[str, ...]) -> tuple[str, ...]:
    lengths = accumulate(map(len, links))
    return tuple(link for link, total in zip(links, lengths, strict=False) if total <= MAX_TEXT_CHARS)


def _synthetic(rows: Sequence[tuple[int, Row]]) -> list[int]:
    """A time (µs) for each row: an account's events in the order of `seq`, at irregular gaps without a meaning."""
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
    return int.from_bytes(blake2b(account.encode(errors="surrogatepass"), digest_size=8).digest(), "big")
