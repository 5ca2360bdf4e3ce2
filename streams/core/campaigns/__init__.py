"""Campaigns: contents, links, captions and names of sites that are nearly the same, from many accounts within days.

**What is one.** A campaign has pictures whose perceptual hashes are near each other (`near`), or links of one host and
path shape (on a popular host, to one page), or captions that share most of their 5-grams, or new sites whose names share
a rare run of characters (`names_alike`, within two weeks; the others within three days). Each group has a number that
follows from its first member, so all workers give an exact copy the same one. If two workers met different members
first, each reads the other's examples: both numbers become the smaller one, and the members are counted together.

**What is counted.** The crowd counts the distinct accounts of a group as it counts those of a device: by day of event
time, established ones apart, added up over partitions, with its floor and its doorkeeper (`crowd`). What its docstring
states as missing is missing here too. Besides, 5 in 100 pairs of pictures at the full distance are not found, and a third of the
pairs of captions that share half of their 5-grams. A worker that restarts or takes a partition over knows of each published
campaign the 64 members of each partition that showed it last. Another account belongs to it again when it shows it again.

**What it takes.** At most 32 MB a kind for counts, of names 48 MB; 300 MB for a million hashes of 64 bits and as much for
longer ones, taken as they fill; 95 MB for the names of hosts that were linked to; 40 MB for marks of captions; 40 MB for
popular hosts; 70 MB for sightings, accounts and exact copies.
"""

from streams.core.campaigns.campaign import CampaignKind, Feature, campaign_id, parsed_id
from streams.core.campaigns.campaigns import Campaigns, key_of
from streams.core.campaigns.groups import ShownCampaigns
from streams.core.campaigns.known import NO_CAMPAIGNS, VISIBLE, Membership
from streams.core.campaigns.names_alike import NamesAlike

__all__ = [
    "NO_CAMPAIGNS",
    "VISIBLE",
    "CampaignKind",
    "Campaigns",
    "Feature",
    "Membership",
    "NamesAlike",
    "ShownCampaigns",
    "campaign_id",
    "key_of",
    "parsed_id",
]
