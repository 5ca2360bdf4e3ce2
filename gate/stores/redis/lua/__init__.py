"""The scripts that run inside Redis, one act per file. Times are µs as doubles, which are exact below 2^53."""

from __future__ import annotations

from importlib.resources import files


def script(name: str) -> bytes:
    """The source of script `name`, such as `take`."""
    return files(__package__).joinpath(f"{name}.lua").read_bytes()
