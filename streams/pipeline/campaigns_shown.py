"""Adds the campaigns that a batch's uploads show to the accounts, and the hosts that they link to to the popular ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.core.campaigns import Campaigns, Feature, Upload
from streams.core.crowd import account_number
from streams.pipeline.touched import Touched


def show_campaigns(
    campaigns: Campaigns,
    uploads: Sequence[tuple[str, Upload]],
    touched: Mapping[str, Touched],
    hosts: Mapping[str, int],
) -> list[tuple[int, tuple[Feature, ...]]]:
    """Add to each account the campaigns that its uploads show, of the whole batch at once; those of each upload, by its
    account's number.

    `hosts` has the number of each link host.
    """
    popular = campaigns.popular
    popular.know(hosts)
    for account, one in touched.items():
        if one.hosts:
            number = account_number(account)
            for host, at_us in one.hosts.items():
                popular.note(host, number, at_us, one.is_established)
    linking = {account for account, (upload, _) in uploads if upload.links}
    established = {account for account in linking if touched[account].facts.host and touched[account].is_established}
    found = campaigns.read([upload for _, upload in uploads], hosts, established)
    joined: list[tuple[int, tuple[Feature, ...]]] = []
    for (account, (_, at_us)), shown in zip(uploads, found, strict=True):
        if shown:
            times = touched[account].shown
            for feature in shown:
                times[feature] = at_us
            joined.append((account_number(account), shown))
    return joined
