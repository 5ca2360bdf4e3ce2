"""The numbers of accounts that share the features of one account."""

from __future__ import annotations

import msgspec


class Surroundings(msgspec.Struct, frozen=True, gc=False):
    """Distinct accounts that share an account's addresses, devices, content and link host; 0 if it has none.

    Of several addresses or devices the one that most accounts share counts. Established accounts were old and clean
    when they last showed it. The campaigns are the largest that the account belongs to, by what is nearly the same.
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
    content_campaign_established: int = 0
    link_campaign_established: int = 0
    text_campaign_established: int = 0

    def on_popular_host(self) -> Surroundings:
        """The same surroundings where the link host is so popular that all who link to it count as established there."""
        return msgspec.structs.replace(self, link_established=self.link_accounts)

    def in_campaigns(
        self, content: int, link: int, text: int, content_established: int, link_established: int, text_established: int
    ) -> Surroundings:
        """The same surroundings with campaigns."""
        return msgspec.structs.replace(
            self,
            content_campaign=content,
            link_campaign=link,
            text_campaign=text,
            content_campaign_established=content_established,
            link_campaign_established=link_established,
            text_campaign_established=text_established,
        )
