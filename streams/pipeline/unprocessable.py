"""Which events of an account cannot be folded or scored: they become dead letters, and the others are folded without them.

Only the events of an account for which the fold of a batch raised come here, each on a copy of the facts; other accounts
do not have that cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from streams.core.events import malformed
from streams.core.facts import Facts, pack, unpack
from streams.core.fold import KeyedHashes, fold
from streams.core.weblinks import WebLinks
from streams.pipeline.reading import ReadEvent, ReadEvents


class Unprocessable(NamedTuple):
    """An event that could not be folded or scored, and the type of the error."""

    read: ReadEvent
    error: str


def parted(
    state: bytes | None,
    events: ReadEvents,
    hashes: KeyedHashes,
    web: WebLinks,
    check: Callable[[Facts], object],
) -> tuple[ReadEvents, list[Unprocessable]]:
    """The events of one account that can be folded, and those that cannot, or after which `check` of the facts raises.

    An event that was folded before is among the former. Raises msgspec.DecodeError for a state that cannot be read.
    """
    facts = unpack(state)
    good: list[int] = []
    bad: list[Unprocessable] = []
    for place, (read, caption, link_odds) in enumerate(zip(*events, strict=True)):
        before = pack(facts)
        broken = malformed(read.dropped) if read.dropped else 0
        try:
            if fold(
                facts, read.event, read.at_us, read.offset, read.value, hashes, web, broken, caption, link_odds, None,
                read.may_link,
            ):  # fmt: skip
                check(facts)
        except Exception as error:  # an error that an event causes must not stop its partition
            bad.append(Unprocessable(read, type(error).__name__))
            facts = unpack(before)
        else:
            good.append(place)
    return events.only(good), bad
