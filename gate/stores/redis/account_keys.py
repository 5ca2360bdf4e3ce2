"""How keys name an account, so that all keys of one account lie in one slot of a Cluster."""

from __future__ import annotations

from typing import Final

NO_TAG: Final = "\x01"


def in_key(account: str) -> str:
    """An account's id as keys have it between braces.

    A Cluster hashes what is between the first { of a key and the next }, or the whole key if that is empty. The keys of an
    account whose id begins with } would lie in different slots, so such an id is preceded by a character that no id has.
    """
    return f"{NO_TAG}{account}" if account.startswith("}") else account


def account_in(named: str) -> str:
    """The account's id, as it was given to `in_key`."""
    return named.removeprefix(NO_TAG)


def score_key(prefix: str, account: str) -> str:
    """The key of an account's score."""
    return f"{prefix}score:{{{in_key(account)}}}"


def override_key(prefix: str, account: str) -> str:
    """The key of an account's override."""
    return f"{prefix}override:{{{in_key(account)}}}"
