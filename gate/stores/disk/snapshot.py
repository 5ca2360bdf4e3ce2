"""The board's snapshot on disk: what a gate starts from when it can reach nobody.

    {"version": 1, "sha256": HEX, "board": DOCUMENT}

A snapshot is written to a file beside it, synced, and moved into place, and then the directory is synced: after a
crash there is the old one or the new one. The checksum is over the document's bytes, so that a torn or altered file
is noticed. A snapshot of an earlier release is the bare document.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gate.core.pause.board import Board
from gate.errors import StateUnreadable
from gate.records.pause import MAX_BYTES, decode_board, encode_board

VERSION: Final = 1
_WRAPPING: Final = 1_024


class _Snapshot(msgspec.Struct, frozen=True):
    version: int
    sha256: str
    board: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Snapshot).decode


class BoardSnapshot:
    """The file `path`. One process writes it, one call at a time; both calls block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Board | None:
        """The board that was kept last, None where there is none. Raises OSError, StateUnreadable."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + _WRAPPING + 1)
        except FileNotFoundError:
            return None
        if len(data) > MAX_BYTES + _WRAPPING:
            raise StateUnreadable(f"it is longer than {MAX_BYTES + _WRAPPING} bytes")
        return decode_board(_document(data))

    def write(self, board: Board) -> None:
        """Keep `board` in place of what was kept. When it returns the board is safe on the disk.

        Raises OSError, and StateUnreadable for a board that nobody could read; what was kept then stays.
        """
        document = encode_board(board)
        data = _encode(_Snapshot(VERSION, hashlib.sha256(document).hexdigest(), msgspec.Raw(document)))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f"{self.path.name}.", suffix=".tmp", dir=self.path.parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        _sync_directory(self.path.parent)

    def set_aside(self) -> Path:
        """Move a snapshot that cannot be read out of the way, for people to look at. Raises OSError."""
        aside = self.path.with_name(f"{self.path.name}.unreadable")
        self.path.replace(aside)
        return aside


def _document(data: bytes) -> bytes:
    try:
        read = _decode(data)
    except (msgspec.DecodeError, RecursionError):
        return data  # a bare document, or garbage that is no document either
    document = bytes(read.board)
    if hashlib.sha256(document).hexdigest() != read.sha256:
        raise StateUnreadable("its checksum is wrong: the file is torn or was altered")
    return document


def _sync_directory(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
