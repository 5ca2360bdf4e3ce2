"""Opens a file of labelled data, packed with gzip or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

from gate.errors import FileInvalid

UNREADABLE: Final = (OSError, EOFError, zlib.error)
"""What reading from an opened file raises where the file cannot be read or is damaged."""


def why_unreadable(error: Exception) -> str:
    """Why a file could not be read, by one of the errors of UNREADABLE."""
    return getattr(error, "strerror", None) or str(error)


@contextmanager
def opened(file: Path) -> Iterator[gzip.GzipFile | BufferedReader]:
    """The file's bytes, unpacked. Raises OSError, and FileInvalid for a pipe: commands read a file more than once."""
    if file.is_fifo():
        raise FileInvalid(
            [f"{file}: is a pipe, but the command reads a file more than once; write its rows to a file first"]
        )
    with file.open("rb") as source, unpacked(source) as plain:
        yield plain


@contextmanager
def unpacked(source: BufferedReader) -> Iterator[gzip.GzipFile | BufferedReader]:
    """The same bytes, unpacked if they are packed."""
    if source.peek(2)[:2] != b"\x1f\x8b":
        yield source
        return
    with gzip.GzipFile(fileobj=source) as plain:
        yield plain
