"""The scripts that run inside Redis, one act per file. Times are µs as doubles, which are exact below 2^53."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_INCLUDE: Final = re.compile(rb"^--@include (\w+)$", re.MULTILINE)


def script(name: str) -> bytes:
    """The source of script `name`, such as `take`."""
    return with_included(files(__package__).joinpath(f"{name}.lua").read_bytes())


def with_included(source: bytes) -> bytes:
    """The source with the lines of a file in the place of each line `--@include FILE`."""
    return _INCLUDE.sub(lambda mark: script(mark[1].decode()), source)
