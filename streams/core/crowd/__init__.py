"""The crowd: how many distinct accounts share a network, a device, a content or a link host.

**What is counted.** Each partition counts the distinct accounts of a feature by the day of event time on which they
last showed it. An account counts for the window of its kind (30 days for devices, 7 for networks, 4 for contents and
link hosts) and then expires by itself; no account extends the time of another. A second count holds the established ones
of these accounts: old and clean, as the caller decides. An account lives in one partition, so counts add up over
partitions.

**What is published.** Key: partition and feature. Value: the day, and for each day of the window how many accounts
showed the feature on that day or later (`tails`, `record`). A reader derives the count of any later day from it, and
merges two records of one key by the larger number of each day. Before a new owner publishes, it merges the records of
the earlier owner with its own counts, so no count falls below a published one, in any order of records and restarts.

**What is missing.** Counts are lower bounds; no rule below counts an account twice.
- Counts up to the floor (3; of devices 1, of names 2) are not published: the sum is short by at most floor × partitions.
  Once a campaign is visible in a worker, all counts of that worker's partitions are published with their next batches.
- A worker that restarts or takes a partition over knows the old count but not its members. It cannot distinguish new
  accounts from these members, so the larger of both numbers counts: after `k` hand-overs within a window the count is
  at least 1 / (k + 1) of the truth. It is exact again when the accounts have shown the feature to the new owner. Records
  of campaigns name the members, so a new owner counts on from these.
- One partition counts at most 64 accounts of a feature; beyond it the 64 last ones stand for all.
- The doorkeeper forgets a lone account when another lone feature takes its slot, and a full table drops what few
  accounts share (`doorkeeper`, `rows`). Each kind has its own budget, so contents never push out devices.
- Two accounts with one number of 32 bits count once: of 64 accounts one is missing in two million features. Nobody can
  choose ids for that (`account_ids`).
- An established account that shows the feature again when it is no longer clean may count as established until the day
  ends on which it last was. While a topic gets more partitions, an account that moved may count in both for a window.

**What it takes.** A lone account on a feature takes 16 bytes, up to 2^21 of a kind (34 MB; link hosts 4 MB); 65,536 of
those that came twice are kept besides (8 MB), and as many sums of shared ones. A shared feature takes 160 bytes and 8 a
member; what is heard of it takes 160 bytes and 4 + 2 × days for each partition. Both budgets are 32 MiB a kind (link
hosts 16): 180,000 features of three accounts, and as many that are heard of in one partition (of devices 150,000). All
four kinds together stay below 500 MB when all is full; a crowd begins with 1 MB.
"""

from streams.core.crowd.account_ids import AccountNumbers, account_number
from streams.core.crowd.around import ManySurroundings, Surroundings
from streams.core.crowd.backfill import STEPS, Backfill
from streams.core.crowd.counts import MANY, Crowd
from streams.core.crowd.hot import LEVELS, MAX_HOT, HotFact, HotFacts
from streams.core.crowd.kinds import CEILING, CONTENT, DEVICE, FLOOR, HOST, IP, KINDS, WINDOW_US, Kind
from streams.core.crowd.record import CrowdCount
from streams.core.crowd.shown import ShownFeatures, column_of

__all__ = [
    "CEILING",
    "CONTENT",
    "DEVICE",
    "FLOOR",
    "HOST",
    "IP",
    "KINDS",
    "LEVELS",
    "MANY",
    "MAX_HOT",
    "STEPS",
    "WINDOW_US",
    "AccountNumbers",
    "Backfill",
    "Crowd",
    "CrowdCount",
    "HotFact",
    "HotFacts",
    "Kind",
    "ManySurroundings",
    "ShownFeatures",
    "Surroundings",
    "account_number",
    "column_of",
]
