"""Adds the campaigns that a batch's uploads show to the accounts, and the hosts that they link to to the popular ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from streams.core.campaigns import Campaigns, Feature, Upload
from streams.core.crowd import HOST, account_number
from streams.core.established import is_established
from streams.pipeline.touched import Touched


def show_campaigns(
    campaigns: Campaigns,
    uploads: Sequence[tuple[str, Upload]],
    touched: Mapping[str, Touched],
    hosts: Mapping[str, int],
) -> list[tuple[int, Iterable[Feature]]]:
    """Add to each account the campaigns that its uploads show, of the whole batch at once; the same by account's hash.

    `hosts` has the number of each link host.
    """
    popular = campaigns.popular
    popular.know(hosts)
    linking = [(account, one) for account, one in touched.items() if one.facts.host]
    established = {account for account, one in linking if is_established(one.facts)}
    for account, one in linking:
        number = account_number(account)
        for (kind, value), at_us in one.shown.items():
            if kind == HOST:
                popular.note(value, number, at_us, account in established)
    by_account: dict[str, tuple[Feature, ...] | dict[Feature, None]] = {}
    found = campaigns.read([upload for _, upload in uploads], hosts, established)
    for (account, (_, at_us)), shown in zip(uploads, found, strict=True):
        if shown:
            before = by_account.get(account)
            if before is None:  # most accounts show campaigns with one upload of a batch
                by_account[account] = shown
            elif isinstance(before, dict):
                before.update(dict.fromkeys(shown))
            else:
                by_account[account] = dict.fromkeys(before + shown)
            times = touched[account].shown
            for feature in shown:
                times[feature] = at_us
    return [*zip(map(account_number, by_account), by_account.values(), strict=True)]
