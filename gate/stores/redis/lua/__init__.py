"""The scripts that run inside Redis, one act per file. Times are µs as doubles, which are exact below 2^53."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

_INCLUDE: Final = re.compile(rb"^--@include (\w+)$", re.MULTILINE)


def script(name: str) -> bytes:
    """The source of script `name`, such as `take`. A line `--@include FILE` stands for the lines of that file."""
    source = files(__package__).joinpath(f"{name}.lua").read_bytes()
    return _INCLUDE.sub(lambda mark: script(mark[1].decode()), source)
