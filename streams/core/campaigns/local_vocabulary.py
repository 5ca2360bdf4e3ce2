"""Words that the names of a platform's own established sites share, beside those of the name model.

The model knows words of sites all over the world. A platform has words of its own, as the name of a city, and ten new
sites with such a word are no campaign. A run of characters is a word once the names of three sites have it that established
accounts made popular (`popular`). One site is not enough: a brand has one name, under many endings, and its lookalikes share
that. To make a word takes three popular sites with different names, so at least five established accounts for each.

A worker learns words from its own events since it started: after a restart a word is unknown until links to those sites come.

Growth: 32,768 runs with at most three names each (6 MB). The one that came up longest ago makes room.
"""

from __future__ import annotations

from typing import Final

from gate.core.make_room import make_room
from streams.core.campaigns.mixing import number_of
from streams.core.models.name_model import checksum, runs_of

WORD_FROM: Final = 3
"""Names of popular sites from which a run is a word."""
MAX_RUNS: Final = 1 << 15


class LocalVocabulary:
    """The runs in names of popular sites. Mutable, used by the crowd's one thread."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[int, ...]] = {}
        """The names that have each run, by checksum; as many as make a word."""

    def learn(self, name: str) -> list[str]:
        """Take in the name of a popular site. Returns the runs that it made words."""
        learnt, names, number = [], self._names, number_of(name)
        for run in dict.fromkeys(runs_of(name)):
            key = checksum(run)
            known = names.pop(key, ())
            make_room(names, key, MAX_RUNS)
            if len(known) < WORD_FROM and number not in known:
                known = (*known, number)
                if len(known) == WORD_FROM:
                    learnt.append(run)
            names[key] = known
        return learnt

    def has(self, key: int) -> bool:
        """Whether the run with this checksum is a word."""
        return len(self._names.get(key, ())) >= WORD_FROM
