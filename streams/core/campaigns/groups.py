"""The campaigns that the uploads of a batch show, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from streams.core.campaigns.campaign import KIND_OF


class Groups(NamedTuple):
    """Campaigns of one kind: their numbers, and the place of the upload that shows each, in the order of uploads."""

    numbers: list[int]
    places: list[int]


ShownCampaigns = dict[int, Groups]
"""All campaigns that a batch shows, by kind; an upload shows each campaign once."""


def no_campaigns() -> ShownCampaigns:
    """What a batch without campaigns shows."""
    return {kind: Groups([], []) for kind in KIND_OF}


def together(batches: Sequence[ShownCampaigns]) -> ShownCampaigns:
    """What batches of one upload each show as one batch."""
    whole = no_campaigns()
    for place, shown in enumerate(batches):
        for kind, (numbers, _) in shown.items():
            whole[kind].numbers.extend(numbers)
            whole[kind].places.extend([place] * len(numbers))
    return whole
