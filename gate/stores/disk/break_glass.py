"""The break-glass file: pauses that people write on a host by hand. The host's gate obeys them above all else."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gate.records.break_glass_document import BreakGlass, decode_break_glass
from gate.records.pause import MAX_BYTES
from gate.stores.disk.ownership import make_folder, open_shared, replace_shared

Stamp = tuple[int, int, int, int, int]
_NOT_READ: Final[Stamp] = (0, 0, 0, 0, 0)
"""In place of the stamp of a file that is there and was not read."""


class BreakGlassFile:
    """The file `path`, read whenever it has changed. Calls block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: Stamp | None = None
        self._was_absent = False

    def changed(self) -> BreakGlass | None:
        """The content of the file, empty if it was removed; None if it has not changed since the last call.

        A file counts as removed if it is absent at two calls in a row: an editor that renames it leaves a moment without it.
        A file that cannot be opened or that is being written is read again at the next call. Raises OSError, and
        StateUnreadable for content that cannot be read, once for each content.
        """
        was_absent, self._was_absent = self._was_absent, False
        try:
            number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            self._was_absent = True
            if self._stamp is None or not was_absent:
                return None
            self._stamp = None
            return BreakGlass()
        except OSError:
            self._stamp = _NOT_READ
            raise
        try:
            return self._read(number)
        finally:
            os.close(number)

    def _read(self, number: int) -> BreakGlass | None:
        before = _stamp(number)
        if before == self._stamp:
            return None
        self._stamp = _NOT_READ
        with open(number, "rb", closefd=False) as file:  # fails for a folder, and would leave it open
            data = file.read(MAX_BYTES + 1)
        if _stamp(number) != before:
            return None
        self._stamp = before
        return decode_break_glass(data, written_at_us=before[2] // 1_000)


def rewrite(path: Path, change: Callable[[bytes | None, int], bytes]) -> None:
    """Replace the file's content by `change(content, µs of its writing)`; the content is None where there is no file.

    A gate sees the old file or the new one, and two changes at once follow each other. The gate can read the file of another
    user, as `ownership` says. Raises OSError, and what `change` raises.
    """
    make_folder(path.parent)
    with open_shared(path.with_name(f"{path.name}.lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _rewrite(path, change)


def _rewrite(path: Path, change: Callable[[bytes | None, int], bytes]) -> None:
    try:
        with path.open("rb") as file:
            data, written_us = file.read(MAX_BYTES + 1), os.fstat(file.fileno()).st_mtime_ns // 1_000
    except FileNotFoundError:
        data, written_us = None, 0
    replace_shared(path, change(data, written_us))


def _stamp(number: int) -> Stamp:
    found = os.fstat(number)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
