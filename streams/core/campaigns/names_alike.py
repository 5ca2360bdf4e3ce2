"""Groups sites whose names share a rare run of characters, as lookalikes of one brand do.

When an upload links to a site that nobody has linked to lately, some runs of its name that are no words are counted: the
crowd counts the accounts that brought a new name with the run, as it counts those of a device. Many accounts that link to
one site count once, and so do names that one hosting provider handed out, which it may have made itself. A run is that
of a campaign where so many strangers brought names with it that chance does not explain it (`name_model`). The number
of all new sites is counted in the same way: by days, over partitions, with the same floor and the same hand-overs. So
what is missing in the one is missing in the other.

An account belongs to a campaign if it brought one of the names, or links to one while the campaign is known.

Words that popular sites of this platform share are learnt beside those of the model (`local_vocabulary`), and make no campaign.

**What is missing.** Two workers that do not know of each other's uploads both count a site as new. A name in the news that
many honest sites take up at once is in no count of the past: it makes a campaign, and the scorecard caps what that adds.

Growth: 65,536 hosts with their runs (80 MB), as many runs by provider (10 MB), 16,384 runs of campaigns (3 MB), as many that
popular sites made words (2 MB), and what `local_vocabulary` holds (6 MB).
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from gate.core.make_room import make_room
from streams.core.campaigns.known import NAMES_VISIBLE
from streams.core.campaigns.local_vocabulary import LocalVocabulary
from streams.core.campaigns.mixing import number_of
from streams.core.crowd import Crowd
from streams.core.crowd.kinds import NAME_CAMPAIGN
from streams.core.models.name_model import NameModel
from streams.core.weblinks import WebLinks

LEAST_ODDS: Final = 1.0
"""Log odds from which a run is that of a campaign."""
LEAST_SITES: Final = 1_000
"""New sites that are expected at least within the window, so that the first names of a quiet platform prove nothing."""
MAX_MET: Final = 1 << 16
MAX_LIVE: Final = 1 << 14
AGED_A_TURN: Final = 2_000
LEVELS: Final = 16
BUCKETS: Final = 8
ENOUGH: Final = 64
"""Sites of a level from which on its sample tells the number of all."""
K = TypeVar("K")
V = TypeVar("V")
_BUCKET_BITS: Final = BUCKETS.bit_length() - 1


class NewName(NamedTuple):
    """The numbers under which the crowd counts a new site, those of its runs first; `example` is its hash."""

    runs: tuple[int, ...]
    sample: tuple[int, ...]
    example: str


class SiteName(NamedTuple):
    """The site of a host, the label of it that somebody chose, and the hosting provider that handed it out, `` for none."""

    site: str
    label: str
    provider: str


def site_name(host: str, web: WebLinks) -> SiteName | None:
    """What is read of a host; None for an address."""
    own, is_hosted = web.own_name(host)
    if is_hosted:
        label, provider = own.rpartition(".")[2], host[len(own) + 1 :]
        return SiteName(f"{label}.{provider}", label, provider)
    site = web.registrable(host)
    label, _, ending = site.partition(".")
    return None if not ending or site[0] == "[" or ending.rpartition(".")[2].isdigit() else SiteName(site, label, "")


class NamesAlike:
    """The new names of sites and their runs. Mutable, used by the crowd's one thread."""

    def __init__(self, crowd: Crowd, model: NameModel, web: WebLinks) -> None:
        self._crowd = crowd
        self._model = model
        self._web = web
        self._met: dict[str, tuple[int, ...]] = {}
        self._handed_out: dict[tuple[str, int], bool] = {}
        self._noted: dict[int, None] = {}
        self._showing: list[tuple[int, tuple[int, ...]]] = []
        self._live: dict[int, None] = {}
        """The runs of campaigns."""
        self._aged: list[int] = []
        self._local = LocalVocabulary()
        self._honest: dict[int, None] = {}
        """The runs that popular sites made words."""
        self._day: int | None = None
        self._new_sites: float | None = None

    def is_met(self, host: str) -> bool:
        """Whether the host was linked to lately."""
        return host in self._met

    def show(self, host: str, account: int, is_new: bool) -> NewName | None:
        """An account (32-bit number) links to the host. Returns what to count if its site is new.

        `is_new` says that nobody else is known to have linked to the host.
        """
        met = self._met
        runs = met.pop(host, None)
        brought = None
        if runs is None:
            runs, brought = self._meet(host, is_new)
        _keep(met, host, runs)  # the host that was linked to longest ago makes room
        if brought is not None or (runs and not self._live.keys().isdisjoint(runs)):
            self._showing.append((account, runs))
        return brought

    def may_say_more(self, host: str) -> bool:
        """Whether the host was linked to lately and nobody has said that it is popular."""
        return bool(self._met.get(host))

    def pass_by(self, host: str) -> None:
        """The host is popular, so it is no evidence. A run of characters that its name shares with others becomes a word."""
        self._met.pop(host, None)
        _keep(self._met, host, ())
        read = site_name(host, self._web)
        for run in () if read is None else self._local.learn(read.label):
            number = _run_number(run)
            _keep(self._honest, number, None, MAX_LIVE)
            self._live.pop(number, None)

    def _meet(self, host: str, is_new: bool) -> tuple[tuple[int, ...], NewName | None]:
        read = site_name(host, self._web)
        if read is None:
            return (), None
        runs = self._met.pop(read.site, None)
        if runs is None:
            runs = tuple([_run_number(run) for run in self._model.runs(read.label, self._local.has)])
        else:
            is_new = False
        _keep(self._met, read.site, runs)
        return runs, self._counted(read, runs) if is_new else None

    def _counted(self, read: SiteName, runs: tuple[int, ...]) -> NewName:
        counted = []
        for number in runs:
            if read.provider:
                key = read.provider, number
                was_handed_out = self._handed_out.pop(key, False)
                _keep(self._handed_out, key, True)
                if was_handed_out:
                    continue
            self._noted[number] = None
            counted.append(number)
        site = number_of(read.site)
        return NewName(tuple(counted), _samples(site), f"{site:016x}")

    def heard(self, number: int) -> None:
        """Another worker knows a campaign with this run."""
        if number not in self._live and number not in self._honest:
            _keep(self._live, number, None, MAX_LIVE)

    def is_live(self, number: int) -> bool:
        """Whether the run is that of a campaign."""
        return number in self._live

    @property
    def has_more(self) -> bool:
        """Whether runs of campaigns wait to be looked at because a day began."""
        return bool(self._aged)

    def look(self) -> list[tuple[int, int]]:
        """Take in what was noted. Returns the accounts that link to names of campaigns, each with the run that says most.

        Because a day began, runs may be no longer those of campaigns: each call looks at `AGED_A_TURN` of them.
        """
        today, live = self._crowd.today, self._live
        if self._noted or today != self._day:
            self._new_sites = None
        if today != self._day:
            self._day = today
            self._aged = list(live)
        for number in self._aged[-AGED_A_TURN:]:
            if self.odds(number) < LEAST_ODDS:
                live.pop(number, None)
        del self._aged[-AGED_A_TURN:]
        for number in self._noted:
            if self._odds(number) >= LEAST_ODDS:
                live.pop(number, None)
                _keep(live, number, None, MAX_LIVE)
        self._noted.clear()
        joined = []
        for account, runs in self._showing:
            odds, number = max(((self.odds(number), number) for number in runs if number in live), default=(0.0, 0))
            if odds >= LEAST_ODDS:
                joined.append((account, number))
        self._showing.clear()
        return joined

    def odds(self, number: int) -> float:
        """What the campaign with this run adds to the log odds of its names; 0 if there is none."""
        return self._odds(number) if number in self._live else 0.0

    def _odds(self, number: int) -> float:
        if number in self._honest:
            return 0.0
        accounts, established = self._crowd.counts(NAME_CAMPAIGN, number)
        strangers = accounts - established
        if strangers < NAMES_VISIBLE:
            return 0.0
        return self._model.log_odds(strangers - 1, self._model.share * self.new_sites())

    def new_sites(self) -> float:
        """How many new sites there were within the window, over all partitions.

        The level `n` counts one site in 2^n, so that one of them does not exceed what a partition counts.
        """
        if self._new_sites is None:
            count, most = self._crowd.count, float(LEAST_SITES)
            for level in range(LEVELS):
                first = 1 + (level << _BUCKET_BITS)
                sites = sum([count(NAME_CAMPAIGN, number) for number in range(first, first + BUCKETS)])
                if sites < ENOUGH:
                    break
                most = max(most, float(sites << level))
            self._new_sites = most
        return self._new_sites


def _run_number(run: str) -> int:
    """The number under which the crowd counts a run."""
    return number_of(f"run {run}")


def _samples(site: int) -> tuple[int, ...]:
    """The numbers under which a new site is counted as one of all: those of each level that it belongs to."""
    bucket, rest = site & BUCKETS - 1, site >> _BUCKET_BITS | 1 << LEVELS - 1
    levels = (rest & -rest).bit_length()
    return tuple([1 + (level << _BUCKET_BITS | bucket) for level in range(levels)])


def _keep(kept: dict[K, V], key: K, value: V, most: int | None = None) -> None:
    """Keep the value; of a full table the one that was kept longest ago makes room."""
    make_room(kept, key, most or MAX_MET)
    kept[key] = value
