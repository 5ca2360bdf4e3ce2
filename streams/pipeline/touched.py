"""The changes of a batch to one account: its facts, how many events were folded, and the features that they showed.

If folding an event or scoring after it raises, the account keeps its facts from before that event. Such an account is
folded again from its state before the batch, with a copy before every event; other accounts do not have that cost. No
event is kept: those of such an account are read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from copy import copy
from typing import Final, NamedTuple

from gate.core.event import Event
from streams.core.crowd import CONTENT, DEVICE, HOST, IP
from streams.core.established import is_established
from streams.core.events import Dropping, kind_of, malformed
from streams.core.facts import Facts, pack, unpack
from streams.core.features import FactFeatures
from streams.core.fold import KeyedHashes, fold
from streams.core.models.marks import CaptionNumbers
from streams.core.weblinks import WebLinks


class ReadEvent(NamedTuple):
    """An event with its time in µs, the offset and the bytes of its record, how many of its fields no event of its type
    has, which of its fields were dropped, and whether it may hold a link."""

    event: Event
    at_us: int
    offset: int
    value: bytes
    unknown_fields: int
    dropped: Dropping
    is_attempt: bool
    may_link: bool


ReadsFacts = Callable[[Facts], FactFeatures]
_NO_FACTS: Final = Facts()
_NO_FEATURES: Final = FactFeatures(b"", 0, -1, 0, 0, 0, 0, 0.0, b"", b"", 0, 0)
COLUMNS: Final = (IP, DEVICE, CONTENT, HOST)
"""The kinds of features that an upload shows, in the order of a row of `Touched.shown`, behind its time."""

ReadUpload = tuple[ReadEvent, CaptionNumbers | None, int | None]
"""An event with the numbers of its caption where captions are read, and the log odds of its worst link where a link model
reads them."""


class Unprocessable(NamedTuple):
    """An event that could not be folded or scored, and the type of the error."""

    read: ReadEvent
    error: str


class Touched:
    """One account in one batch.

    `shown` holds what its uploads showed the crowd, in rows: when (µs), then one feature of each of `COLUMNS`, 0 where
    there is none. `attempted` and `others` count the folded events, those that are
    no attempts by type. Once all events are folded, `packed` is the account's state, `features` is what it is scored by, and
    `is_established` is known; the facts themselves are let go, so that those of the next account take their place in the
    processor's cache.
    """

    __slots__ = (
        "_facts", "_hashes", "_read", "_web", "attempted", "dropped", "duplicates", "failed", "features",
        "is_established", "late", "others", "packed", "shown", "unknown_fields",
    )  # fmt: skip

    def __init__(self, state: bytes | None, hashes: KeyedHashes, web: WebLinks, read: ReadsFacts) -> None:
        """`state` is the account's state before the batch, `read` gives its features. Raises msgspec.DecodeError if the
        state cannot be read."""
        self._hashes = hashes
        self._web = web
        self._read = read
        self._begin(unpack(state))

    def _begin(self, facts: Facts) -> None:
        self._facts = facts
        self.features = _NO_FEATURES
        self.late = -facts.late
        self.attempted = self.duplicates = self.unknown_fields = 0
        self.others: Counter[str] | None = None
        self.dropped: Counter[tuple[str, str]] | None = None
        self.shown: list[int] = []
        self.packed = b""
        self.is_established = False
        self.failed = False

    @property
    def is_changed(self) -> bool:
        """Whether any event was folded."""
        return self.attempted > 0 or self.others is not None

    def add(self, events: Iterable[ReadUpload]) -> None:
        """Fold the account's events. If one raises, the account has `failed`: `again` then decides about it."""
        try:
            for read, caption, link_odds in events:
                self._fold(read, caption, link_odds)
            self._end()  # while the processor's cache holds the facts
        except Exception:  # an error that an event causes must not stop its partition
            self.failed = True

    def again(
        self, state: bytes | None, events: Iterable[ReadUpload], check: Callable[[FactFeatures], object]
    ) -> list[Unprocessable]:
        """Fold all events again, each on a copy that is kept if neither folding nor `check` raises; returns the rest."""
        self._begin(unpack(state))
        bad: list[Unprocessable] = []
        for read, caption, link_odds in events:
            facts = pack(self._facts)
            before = {name: copy(getattr(self, name)) for name in self.__slots__}
            try:
                self._fold(read, caption, link_odds)
                check(self._read(self._facts))
            except Exception as error:  # as above
                bad.append(Unprocessable(read, type(error).__name__))
                for name, value in before.items():
                    setattr(self, name, value)
                self._facts = unpack(facts)
        if self.is_changed:
            self._end()
        else:  # no score is due, and a damaged state may give no features
            self.packed, self.late, self._facts = pack(self._facts), 0, _NO_FACTS
        return bad

    def _end(self) -> None:
        """All events are folded."""
        facts, self._facts = self._facts, _NO_FACTS
        self.packed = pack(facts)
        self.is_established = is_established(facts)
        self.late += facts.late
        self.features = self._read(facts)

    def _fold(self, read: ReadEvent, caption: CaptionNumbers | None, link_odds: int | None) -> None:
        event, at_us, offset, value, unknown_fields, dropped, is_attempt, may_link = read
        broken = malformed(dropped) if dropped else 0
        hashes, web = self._hashes, self._web
        facts, shown = self._facts, self.shown
        if not fold(facts, event, at_us, offset, value, hashes, web, broken, caption, link_odds, shown, may_link):
            self.duplicates += 1
            return
        if is_attempt:
            self.attempted += 1
        else:
            self.others = self.others or Counter()
            self.others[kind_of(event)] += 1
        if unknown_fields or dropped:
            self.unknown_fields += unknown_fields
            self.dropped = self.dropped or Counter()
            self.dropped.update(dropped.items())
