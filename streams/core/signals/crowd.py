"""Crowd: how many other accounts spread the same content, or link to the same host over and over."""

from __future__ import annotations

from math import log2

from streams.core.features import Features

PLAIN_WORTH = 0.1
"""What a shared host says that looks like any other, of an account that is not new."""


def read(of: Features) -> tuple[float, float]:
    """`crowd.content_accounts` reaches 1 at 16 accounts, for a newborn account or one that goes on uploading: everybody
    passes on a picture once. `crowd.link_accounts` too, weighed by how often this account repeats its hosts, for a
    newborn account or hosts that look suspicious: half of a platform links to the same few big sites.
    """
    content = link = 0.0
    uploads = of.uploads
    if of.content_accounts > 2 and uploads:
        worth = max(of.freshness, (uploads - 1.0) / (uploads + 1.0))
        content = worth * min(1.0, log2(of.content_accounts / 2.0) / 3.0)
    if of.link_accounts > 2 and of.host_repeats:
        worth = PLAIN_WORTH + (1.0 - PLAIN_WORTH) * max(of.freshness, min(1.0, of.suspicion))
        link = of.host_repeats / uploads * worth * min(1.0, log2(of.link_accounts / 2.0) / 3.0)
    return content, link
