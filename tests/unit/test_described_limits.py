"""What reservations refer to in Redis: descriptions of limits, which a damaged server may hold in any form."""

from __future__ import annotations

import pytest

from gate.errors import StateUnreadable
from gate.stores.redis.layout import read_described


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\x92\xa1\xff\x90", b"\x92\xa1a\x91\x92\x01\xa1\xff"])
def test_a_damaged_description_is_unreadable_and_no_other_error(data: bytes) -> None:
    with pytest.raises(StateUnreadable, match="not the limits of a class"):
        read_described(data)
