"""Service tokens, which a service sends with each request. A gate keeps the SHA-256 of each, never the token.

A token is 256 random bits as text, so a plain hash is enough: nobody can guess it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Final

TOKEN_BYTES: Final = 32
TOKEN_PREFIX: Final = "ugt_"
"""How each token begins, by which scanners of source code recognise one that was committed."""
MOST_OF_A_NAME: Final = 2
"""How many tokens of one name are valid at once: the one in use, and its successor during a rotation."""


class Access(StrEnum):
    """What a token opens: the check port or the admin port."""

    CHECK = "check"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """One valid token. `digest` is the SHA-256 of its text."""

    name: str
    access: Access
    digest: bytes = field(repr=False)
    made_at_us: int

    @property
    def id(self) -> str:
        """Eight hex digits by which people tell tokens of one name apart."""
        return self.digest.hex()[:8]


def token_digest(token: bytes) -> bytes:
    """The SHA-256 of a token, as the file keeps it."""
    return sha256(token).digest()


def of_name(tokens: Iterable[ServiceToken], name: str, access: Access) -> list[ServiceToken]:
    """The valid tokens of one name, the oldest first."""
    return sorted(
        (token for token in tokens if token.name == name and token.access is access), key=lambda token: token.made_at_us
    )
