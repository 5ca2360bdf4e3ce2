"""Writes a file whole: who reads it finds the old content or the new one, never a part, also after a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
"""The mode of a file that only its owner can read."""


@contextmanager
def whole_file(path: Path, mode: int = PRIVATE) -> Iterator[BinaryIO]:
    """A draft beside `path`, open for writing. It takes the place of `path` at the end of the block, once the disk has it.

    If the block raises, `path` stays as it was. The draft is made anew, so that no file and no link that another user laid
    in the folder is written to. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    with suppress(FileNotFoundError):  # a process of this id died here
        draft.unlink()
    number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path`, which only the owner can then read. Raises OSError."""
    with whole_file(path) as file:
        file.write(text.encode())
