"""A script in Redis, and one call of it as bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import hiredis

from gate.stores.redis.lua import script

Argument = bytes | str | int
"""One argument of a command. The command's name is the first argument."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script's source and its SHA-1, by which the server names it."""

    source: bytes
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode())

    @classmethod
    def named(cls, name: str) -> Script:
        """The script `lua/NAME.lua`."""
        return cls(script(name))

    def packed(self, known: bool, key_count: int, keys: bytes, argument: bytes) -> bytes:
        """`ScriptCall.packed` of a call with one argument, whose keys are packed already."""
        verb, body = (b"$7\r\nEVALSHA", self.sha) if known else (b"$4\r\nEVAL", self.source)
        number = b"%d" % key_count
        return b"*%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n%b$%d\r\n%b\r\n" % (
            key_count + 4, verb, len(body), body, len(number), number, keys, len(argument), argument,
        )  # fmt: skip


class ScriptCall(Protocol):
    """One call of a script."""

    @property
    def first_key(self) -> Argument:
        """The key that says which node of a Cluster carries it out."""
        ...

    def packed(self, known: bool) -> bytes:
        """The bytes to send: the name of a script that the server knows, else its source, which the server keeps."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """A ScriptCall with any keys and arguments."""

    script: Script
    keys: Sequence[Argument]
    args: Sequence[Argument]

    @property
    def first_key(self) -> Argument:
        """See ScriptCall."""
        return self.keys[0]

    def packed(self, known: bool) -> bytes:
        """See ScriptCall."""
        verb: tuple[bytes, bytes] = (b"EVALSHA", self.script.sha) if known else (b"EVAL", self.script.source)
        call = (*verb, len(self.keys), *self.keys, *self.args)
        packed: bytes = hiredis.pack_command(call)  # type: ignore[arg-type]  # its stub takes tuples of one only
        return packed
