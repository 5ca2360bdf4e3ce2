"""Writes the files of a model so that none is ever half of one: a reader finds the old file or the new one.

A fit into a directory that is in use may be killed, or find the disk full; what was there stays usable.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from gate.stores.disk.whole_file import whole_file

READABLE = 0o666
"""The mode of a model's file, before the umask."""


def packed(**arrays: Any) -> bytes:
    """The bytes of an `npz` file with these arrays. The same arrays give the same bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def write_whole(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files by name into `directory`, which is created. They take their places one after the other, once the disk
    has all of them. A symbolic link stays one. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as drafts:
        for name, content in files.items():
            file = drafts.enter_context(whole_file(Path(os.path.realpath(directory / name)), READABLE))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
