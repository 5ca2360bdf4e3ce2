"""The numbers of accounts that share the features of one account."""

from __future__ import annotations

import msgspec


class Surroundings(msgspec.Struct, frozen=True, gc=False):
    """Distinct accounts that share an account's addresses, devices, content and link host; 0 if it has none.

    Of several addresses or devices the one that most accounts share counts. Established accounts were old and clean
    when they last showed it.
    """

    ip_accounts: int = 0
    device_accounts: int = 0
    content_accounts: int = 0
    link_accounts: int = 0
    ip_established: int = 0
    device_established: int = 0
    content_established: int = 0
    link_established: int = 0
