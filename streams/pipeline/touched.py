"""The changes of a batch to one account: its facts, the folded events, and the features that they showed.

If folding an event or scoring after it raises, the account keeps its facts from before that event. Such an account is
folded again from its state before the batch, with a copy before every event; other accounts do not have that cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gate.core.duration import DAY_US
from gate.core.event import Attempted, Event
from streams.core.crowd import CONTENT, DEVICE, HOST, IP
from streams.core.events import Dropping, malformed
from streams.core.facts import Facts, pack, unpack
from streams.core.fold import KeyedHashes, fold
from streams.core.models.marks import CaptionNumbers
from streams.core.weblinks import WebLinks

ReadEvent = tuple[int, bytes | None, bytes, Event, int, int, Dropping, CaptionNumbers | None]
"""A record's offset, key and value, the event it holds, its time in µs, how many of its fields no event of its type has,
which of its fields were dropped, and the numbers of its caption where captions are read."""


class Unprocessable(NamedTuple):
    """An event that could not be folded or scored, and the type of the error."""

    read: ReadEvent
    error: str


class Touched:
    """One account in one batch. `shown` maps each feature for the crowd, as (kind, value), to its time in µs."""

    __slots__ = ("_before", "_last", "duplicates", "facts", "failed", "folded", "late", "read", "shown")

    def __init__(self, state: bytes | None) -> None:
        """`state` is the account's state before the batch. Raises msgspec.DecodeError if it cannot be read."""
        self._before = state
        self.read: list[ReadEvent] = []
        self._begin(unpack(state))

    def _begin(self, facts: Facts) -> None:
        self.facts = facts
        self.folded: list[ReadEvent] = []
        self.shown: dict[tuple[int, int], int] = {}
        self._last: tuple[str | None, str | None, int, int, int] = (None, None, 0, 0, -1)
        self.duplicates = 0
        self.late = -facts.late
        self.failed = False

    def add(self, read: ReadEvent, hashes: KeyedHashes, web: WebLinks) -> None:
        """Fold one more event. If that raises, the account has `failed` and waits for `again`."""
        self.read.append(read)
        if not self.failed:
            try:
                self._fold(read, hashes, web)
            except Exception:  # an error that an event causes must not stop its partition
                self.failed = True

    def again(self, hashes: KeyedHashes, web: WebLinks, check: Callable[[Facts], object]) -> list[Unprocessable]:
        """Fold all events again, each on a copy that is kept if neither folding nor `check` raises; returns the rest."""
        self._begin(unpack(self._before))
        bad: list[Unprocessable] = []
        for read in self.read:
            before, shown, last, duplicates = pack(self.facts), dict(self.shown), self._last, self.duplicates
            try:
                self._fold(read, hashes, web)
                check(self.facts)
            except Exception as error:  # as above
                bad.append(Unprocessable(read, type(error).__name__))
                self.facts, self.shown, self.duplicates = unpack(before), shown, duplicates
                self._last = last
                if self.folded and self.folded[-1] is read:
                    self.folded.pop()
        return bad

    def _fold(self, read: ReadEvent, hashes: KeyedHashes, web: WebLinks) -> None:
        facts = self.facts
        uploads = facts.uploads
        offset, _, value, event, at_us, _, dropped, caption = read
        if not fold(facts, event, at_us, offset, value, hashes, web, malformed(dropped), caption):
            self.duplicates += 1
            return
        self.folded.append(read)
        if facts.uploads != uploads and isinstance(event, Attempted):
            self._show(event, at_us, hashes)

    def _show(self, event: Attempted, at_us: int, hashes: KeyedHashes) -> None:
        """Only an upload that was let in shows features: a refusal must not lead to further refusals."""
        shown, facts = self.shown, self.facts
        ip, device, content, host = event.ip, event.device, facts.content, facts.host
        day = at_us // DAY_US
        was_ip, was_device, was_content, was_host, was_day = self._last
        again = day == was_day  # most uploads come from where the last one came from
        if ip is not None and not (again and ip == was_ip):
            try:
                shown[IP, hashes.networks[ip]] = at_us
            except ValueError:
                pass  # folding has counted it as malformed
        if device is not None and not (again and device == was_device):
            shown[DEVICE, hashes.devices[device]] = at_us
        if content and not (again and content == was_content):
            shown[CONTENT, content] = at_us
        if host and not (again and host == was_host):
            shown[HOST, host] = at_us
        self._last = (ip, device, content, host, day)
