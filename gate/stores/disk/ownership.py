"""Whose a file is that the command line and a gate share: owner, group and mode follow the folder that holds it.

The gate of a host may run as another user than the engineer who types `sudo upload-gate pause --direct file`. A file of root
with the mode of root's umask would be one that the gate cannot read. A new file therefore belongs to the owner of its
folder, and those who may read and write in the folder may read and write the file, but never everybody.

A folder may belong to a user whom root must not trust. No file that another one laid there is given away, written through
a link, or truncated.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from gate.stores.disk.whole_file import whole_file

SHARED: Final = 0o664
"""The most that a file's mode may allow."""
GROUP_ONLY: Final = 0o660
"""The most for a file that names people."""


def make_folder(path: Path) -> None:
    """Create the folder and its missing parents. Each one belongs to the owner of the folder above. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _give(number, path.parent.stat())
    finally:
        os.close(number)


def follow_folder(number: int, folder: Path, most: int = SHARED) -> None:
    """Give the open new file `number` the owner, the group and, within `most`, the mode of `folder`. Raises OSError.

    A user who may not give files away keeps the file, and gives it the group of the folder if that is one of the user's.
    """
    above = folder.stat()
    _give(number, above)
    os.fchmod(number, file_mode(above.st_mode, most))


def file_mode(folder_mode: int, most: int = SHARED) -> int:
    """The mode of a file in a folder of this mode: as the folder's without execution, within `most`."""
    return stat.S_IMODE(folder_mode) & most | stat.S_IRUSR | stat.S_IWUSR


def open_shared(path: Path, most: int = SHARED) -> IO[bytes]:
    """Open a file to read it and to append to it, and create it if there is none. Raises OSError."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    try:
        number = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.fdopen(os.open(path, flags), "r+b", buffering=0)
    file = os.fdopen(number, "r+b", buffering=0)
    try:
        follow_folder(number, path.parent, most)
    except OSError:
        file.close()
        raise
    return file


def replace_shared(path: Path, content: bytes, most: int = SHARED) -> None:
    """Replace the file by one with this content. A reader sees the old file or the new one. Raises OSError."""
    with whole_file(path) as file:
        follow_folder(file.fileno(), path.parent, most)
        file.write(content)


def _give(number: int, above: os.stat_result) -> None:
    """Give an open file to the owner and the group of the folder above, as far as this user may."""
    if os.geteuid() == 0:
        os.fchown(number, above.st_uid, above.st_gid)
    elif os.fstat(number).st_gid != above.st_gid:
        with suppress(PermissionError):
            os.fchown(number, -1, above.st_gid)
