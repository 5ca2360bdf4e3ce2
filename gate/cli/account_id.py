"""The account that is typed or given in a file, read as checks read it."""

from __future__ import annotations

from gate.core.fields.ids import identity
from gate.core.fields.reasons import Unusable
from gate.core.fields.sentinels import NO_IDS
from gate.errors import OperatorError


def account_id(given: str) -> str:
    """The account's id as checks read it. Raises OperatorError for one that no upload can have."""
    try:
        return identity(given, NO_IDS)
    except Unusable as unusable:
        raise OperatorError(
            f"no upload can have the account id {given[:80]!r} ({unusable.reason})", "give the id as uploads carry it"
        ) from None
