"""Adds the campaigns that a batch's uploads show to the accounts, and the hosts that they link to to the popular ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.core.campaigns import Campaigns, Upload
from streams.core.crowd import HOST, account_number
from streams.core.established import is_established
from streams.pipeline.touched import Touched


def show_campaigns(
    campaigns: Campaigns,
    uploads: Sequence[tuple[str, Upload]],
    touched: Mapping[str, Touched],
    hosts: Mapping[str, int],
) -> list[tuple[int, tuple[tuple[int, int], ...]]]:
    """Add to each account the campaigns that its uploads show, of the whole batch at once; the same by account's hash.

    `hosts` has the number of each link host.
    """
    popular = campaigns.popular
    popular.know(hosts)
    established = {account for account, one in touched.items() if one.facts.host and is_established(one.facts)}
    for account, one in touched.items():
        if one.facts.host:
            number = account_number(account)
            for (kind, value), at_us in one.shown.items():
                if kind == HOST:
                    popular.note(value, number, at_us, account in established)
    by_account: dict[str, dict[tuple[int, int], int]] = {}
    found = campaigns.read([upload for _, upload in uploads], hosts, established)
    for (account, (_, at_us)), shown in zip(uploads, found, strict=True):
        if shown:
            of_account = by_account.get(account)
            if of_account is None:
                of_account = by_account[account] = {}
            for feature in shown:
                of_account[feature] = at_us
    for account, features_shown in by_account.items():
        touched[account].shown.update(features_shown)
    return [(account_number(account), tuple(features_shown)) for account, features_shown in by_account.items()]
