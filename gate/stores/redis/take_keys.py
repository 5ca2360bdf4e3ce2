"""The keys of takes as a command carries them, made of parts that many checks share.

A check has six keys. One format of ready parts costs half of what it costs to make a string of each key and to pack them one by
one. The parts are made once for each length of an account's id. Lengths on the wire count bytes, so text here has one character
for each byte; see `raw`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from gate.core.limits.take import TakeRequest
from gate.stores.redis.account_keys import in_key

KEPT_LENGTHS: Final = 1_024
"""The length of ids up to which the parts are kept. Ids of checks are shorter."""

AccountParts = tuple[str, str, str, str, int, str]
"""The parts around an account's id: before its first key, between its three keys, after the last; then, for the key of
an upload, its length without the beginning and the upload's id, and the part between the two ids.
"""


class Begins(dict[int, str]):
    """The first bytes of a key that starts with `start`, by the length of the rest."""

    def __init__(self, start: str) -> None:
        self.start = start

    def __missing__(self, length: int) -> str:
        begin = f"${len(self.start) + length}\r\n{self.start}"
        if length < KEPT_LENGTHS:
            self[length] = begin
        return begin


class TakeKeys(dict[int, AccountParts]):
    """The parts of the keys under one prefix, by the length of an account's id in ASCII."""

    def __init__(self, prefix: str) -> None:
        self._prefix = raw(prefix)
        self.networks, self.devices = Begins(f"{self._prefix}2b:ip:"), Begins(f"{self._prefix}2b:device:")
        self.uploads = Begins(f"{self._prefix}2r:{{")

    def __missing__(self, length: int) -> AccountParts:
        parts = self.parts(length, length)
        if length < KEPT_LENGTHS:
            self[length] = parts
        return parts

    def parts(self, length: int, characters: int) -> AccountParts:
        """The parts for an account's id of so many bytes and characters."""
        first, second, third = (Begins(f"{self._prefix}{kind}:{{")[length + 1] for kind in ("2a", "score", "override"))
        between = f"}}{characters}:"
        return first, f"}}\r\n{second}", f"}}\r\n{third}", "}\r\n", length + len(between), between

    def packed(self, key: str) -> str:
        """A key as an argument."""
        return f"${len(key)}\r\n{key}\r\n"

    def in_flight(self, subject: str, request: TakeRequest) -> str:
        """The key of what is in flight for the subject, as an argument; empty where its entity is unknown."""
        if subject.startswith("="):
            return self.packed(f"{self._prefix}2f:{raw(subject[1:])}")
        if (subject == "ip" and request.ip is None) or (subject == "device" and request.device is None):
            return ""
        own = {"account": f"{{{request.account}}}", "ip": request.ip, "device": request.device}
        return self.packed(f"{self._prefix}2f:{subject}:{own[subject]}")


@lru_cache(maxsize=64)
def keys_under(prefix: str) -> TakeKeys:
    """The parts of the keys under a prefix."""
    return TakeKeys(prefix)


@lru_cache(maxsize=1_024)
def shared_keys(prefix: str, entities: tuple[str, ...], due: str | None) -> tuple[str, str]:
    """The first of the keys that all checks of a script share, and all of them packed: those of entities, and what is due."""
    names = [*(f"{prefix}2b:{entity}" for entity in entities), due or f"{prefix}2due"]
    return names[0], "".join(keys_under(prefix).packed(raw(name)) for name in names)


def raw(text: str) -> str:
    """Text that has for each byte of `text` in UTF-8 the character of that number. ASCII stays as it is."""
    return text if text.isascii() else text.encode().decode("latin-1")


def with_raw_names(requests: Sequence[TakeRequest]) -> list[TakeRequest]:
    """The same requests with `raw` names, those of accounts as keys have them."""
    return [
        replace(
            each,
            account=raw(in_key(each.account)),
            upload_id=raw(each.upload_id),
            ip=None if each.ip is None else raw(each.ip),
            device=None if each.device is None else raw(each.device),
            class_=raw(each.class_),
            kind=None if each.kind is None else raw(each.kind),
        )
        for each in requests
    ]
