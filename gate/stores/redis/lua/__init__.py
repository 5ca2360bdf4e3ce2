"""The scripts that run inside Redis, one act a file. Times in them are µs as doubles, exact below 2^53."""

from __future__ import annotations

from importlib.resources import files


def script(name: str) -> bytes:
    """The source of script `name`, such as `take`."""
    return files(__package__).joinpath(f"{name}.lua").read_bytes()
