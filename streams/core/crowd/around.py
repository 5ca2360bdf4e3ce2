"""The numbers of accounts that share the features of one account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.core.crowd.kinds import HOST


class Surroundings(msgspec.Struct, frozen=True, gc=False):
    """Distinct accounts that share an account's addresses, devices, content and link host; 0 if it has none.

    Of several addresses or devices the one that most accounts share counts. Established accounts were old and clean
    when they last showed it. The campaigns are the largest that the account belongs to, by what is nearly the same;
    `name_odds` is what campaigns of names add to the log odds of its links.
    """

    ip_accounts: int = 0
    device_accounts: int = 0
    content_accounts: int = 0
    link_accounts: int = 0
    ip_established: int = 0
    device_established: int = 0
    content_established: int = 0
    link_established: int = 0
    content_campaign: int = 0
    link_campaign: int = 0
    text_campaign: int = 0
    name_campaign: int = 0
    content_campaign_established: int = 0
    link_campaign_established: int = 0
    text_campaign_established: int = 0
    name_campaign_established: int = 0
    name_odds: float = 0.0

    def on_popular_host(self) -> Surroundings:
        """The same surroundings where the link host is so popular that all who link to it count as established there."""
        return msgspec.structs.replace(self, link_established=self.link_accounts)

    def in_campaigns(
        self,
        content: int,
        link: int,
        text: int,
        name: int,
        content_established: int,
        link_established: int,
        text_established: int,
        name_established: int,
        name_odds: float,
    ) -> Surroundings:
        """The same surroundings with campaigns."""
        return msgspec.structs.replace(
            self,
            content_campaign=content,
            link_campaign=link,
            text_campaign=text,
            name_campaign=name,
            content_campaign_established=content_established,
            link_campaign_established=link_established,
            text_campaign_established=text_established,
            name_campaign_established=name_established,
            name_odds=name_odds,
        )


class ManySurroundings:
    """The `Surroundings` of many accounts, by their places in one order.

    `accounts` and `established` have a column for each kind of feature, of whole numbers. `campaigns` holds, by place, what
    `Surroundings.in_campaigns` is given; most accounts belong to none.
    """

    __slots__ = ("accounts", "campaigns", "established")

    def __init__(
        self, accounts: Mapping[int, NDArray[np.float64]], established: Mapping[int, NDArray[np.float64]]
    ) -> None:
        self.accounts = accounts
        self.established = established
        self.campaigns: dict[int, tuple[int, int, int, int, int, int, int, int, float]] = {}

    def on_popular_host(self, place: int) -> None:
        """All who link to the host of this account count as established there."""
        self.established[HOST][place] = self.accounts[HOST][place]

    def some(self, places: Sequence[int]) -> list[Surroundings]:
        """Those of the accounts at `places`."""
        columns = (*self.accounts.values(), *self.established.values())
        rows = zip(*[column[places].astype(np.int64).tolist() for column in columns], strict=True)
        known = self.campaigns
        return [Surroundings(*row, *known.get(place, ())) for place, row in zip(places, rows, strict=True)]
