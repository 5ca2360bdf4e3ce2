"""The board's snapshot on disk, from which a gate starts when it cannot reach the store.

    {"version": 1, "sha256": HEX, "board": DOCUMENT, "clock": {"store_us": …, "ahead_us": …, "boot": …, "elapsed_us": …}}

The file is written whole, and its directory is then synced. The checksum covers the document's bytes and detects a torn or
altered file. A snapshot of an earlier release is the document alone. `clock` says what the gate knew of the store's clock
when it wrote, so that a start without the store ends no pause early by a host's clock that is wrong.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from gate.core.pause.board import Board
from gate.errors import StateUnreadable
from gate.ports.clock import ClockMark
from gate.records.board_document import decode_board, encode_board
from gate.records.pause import MAX_BYTES, MAX_TIME_US, NOT_UNDERSTOOD
from gate.stores.disk.whole_file import whole_file

VERSION: Final = 1
_WRAPPING: Final = 1_024


class _Snapshot(msgspec.Struct, frozen=True):
    version: int
    sha256: str
    board: msgspec.Raw
    clock: msgspec.Raw = msgspec.Raw(b"null")


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Snapshot).decode
_decode_clock = msgspec.json.Decoder(ClockMark | None).decode


class BoardSnapshot:
    """The file `path`. One process writes it, one call at a time. All calls block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock: ClockMark | None = None
        """The mark of the snapshot that was read last; None if it has none that can be used."""

    def read(self) -> Board | None:
        """The board that was written last, None if there is no file. Raises OSError, StateUnreadable."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + _WRAPPING + 1)
        except FileNotFoundError:
            return None
        if len(data) > MAX_BYTES + _WRAPPING:
            raise StateUnreadable(f"it is longer than {MAX_BYTES + _WRAPPING} bytes")
        document, clock = _parts(data)
        board = decode_board(document)
        self.clock = clock
        return board

    def write(self, board: Board, clock: ClockMark | None = None) -> None:
        """Replace the snapshot by `board` and the mark `clock`. When it returns, the board is safe on the disk.

        Raises OSError, and StateUnreadable for a board that could not be read back; the old snapshot then stays.
        """
        document = encode_board(board)
        data = _encode(
            _Snapshot(VERSION, hashlib.sha256(document).hexdigest(), msgspec.Raw(document), msgspec.Raw(_encode(clock)))
        )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as file:
            file.write(data)
        _sync_directory(self.path.parent)

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Hold the snapshot for this process while it runs; False if another process holds it already."""
        with suppress(OSError):  # the first snapshot reports a disk that cannot be written
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = self.path.with_name(f"{self.path.name}.lock").open("w")
        except OSError:
            yield True
            return
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
            else:
                yield True

    def set_aside(self) -> Path:
        """Rename a snapshot that cannot be read, so that people can inspect it. Raises OSError."""
        aside = self.path.with_name(f"{self.path.name}.unreadable")
        self.path.replace(aside)
        return aside


def _parts(data: bytes) -> tuple[bytes, ClockMark | None]:
    """The board's document and the mark of the clock. Raises StateUnreadable for a wrong checksum."""
    try:
        read = _decode(data)
    except NOT_UNDERSTOOD:
        return data, None  # a bare document, or garbage that is no document either
    document, clock = bytes(read.board), None
    if hashlib.sha256(document).hexdigest() != read.sha256:
        raise StateUnreadable("its checksum is wrong: the file is torn or was altered")
    with suppress(*NOT_UNDERSTOOD):  # pauses matter more than the mark
        clock = _decode_clock(read.clock)
    apart = () if clock is None else (clock.ahead_us, clock.elsewhere_ahead_us or 0)
    is_usable = clock is not None and 0 <= clock.store_us < MAX_TIME_US and all(abs(us) < MAX_TIME_US for us in apart)
    return document, clock if is_usable else None


def _sync_directory(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
