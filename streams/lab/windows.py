"""Cuts a labelled stream into the windows of a replay, and knows which devices and addresses many accounts share.

A window ends before it would hold more than `REPEATS` uploads of one account and, once it has `FULL_ENOUGH` rows, before it
would hold more than that of one device, address, content or link. So a check misses at most the last `REPEATS - 1` uploads of
its account. A window also ends before it would hold a second account of a device that at most `FEW_KNOWN` accounts have
used: gates hear of a device within a second, and streams that are recorded to the minute do not show that its accounts came
one after another. No window spans more than `SPAN_US` of recorded time: counts of what accounts share last for days, and would
be gone at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from gate.core.duration import DAY_US
from gate.core.request import CheckRequest
from streams.core.crowd import DEVICE, IP, LEVELS
from streams.lab.rows import Recorded

WINDOW: Final = 250
REPEATS: Final = 3
FULL_ENOUGH: Final = 24
FEW_KNOWN: Final = 8
SPAN_US: Final = 3 * DAY_US
_COUNTED_TO: Final = {DEVICE: max(LEVELS[DEVICE], FEW_KNOWN + 1), IP: LEVELS[IP]}


class Sharers:
    """The accounts of each device and address, as many of each as anything depends on."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[int, str], set[str]] = {}

    def add(self, request: CheckRequest) -> None:
        """Add an upload."""
        for kind, value in _places(request):
            accounts = self._accounts.setdefault((kind, value), set())
            if len(accounts) < _COUNTED_TO[kind]:
                accounts.add(request.account.id)

    def of(self, kind: int, value: str) -> frozenset[str] | set[str]:
        """The first accounts of a device or address."""
        return self._accounts.get((kind, value), frozenset())

    def may_be_hot(self, window: Sequence[Recorded]) -> bool:
        """Whether so many accounts share a device or an address of the window that it may be a hot fact."""
        return any(
            len(self.of(kind, value)) >= LEVELS[kind] for upload in window for kind, value in _places(upload.request)
        )


def windows(
    uploads: Iterable[Recorded],
    sharers: Sharers,
    size: int = WINDOW,
    repeats: int = REPEATS,
    span_us: int = SPAN_US,
) -> Iterator[list[Recorded]]:
    """The windows of the stream, by the rules of the module. No window spans more recorded time than `span_us`.

    `sharers` knows the uploads of all windows up to the last one, and none of the next.
    """
    window: list[Recorded] = []
    accounts: Counter[str] = Counter()
    shared: Counter[tuple[str, str]] = Counter()
    last_on: dict[str, str] = {}  # the last account of each device of this window
    for upload in uploads:
        account, features = upload.request.account.id, _features(upload.request)
        full = len(window) >= size or accounts[account] >= repeats
        crowded = len(window) >= FULL_ENOUGH and any(shared[feature] >= repeats for feature in features)
        long = bool(window) and upload.at_us - window[0].at_us > span_us
        if full or crowded or long or _follows_another(upload.request, last_on, sharers):
            yield window
            window = []
            accounts.clear()
            shared.clear()
            last_on.clear()
        window.append(upload)
        accounts[account] += 1
        shared.update(features)
        sharers.add(upload.request)
        if upload.request.device is not None:
            last_on[upload.request.device] = account
    if window:
        yield window


def _follows_another(request: CheckRequest, last_on: Mapping[str, str], sharers: Sharers) -> bool:
    """Whether another account of the device, which few have used, is in the window."""
    device, account = request.device, request.account.id
    if device is None or last_on.get(device, account) == account:
        return False
    known = sharers.of(DEVICE, device)
    return account not in known and len(known) <= FEW_KNOWN


def _places(request: CheckRequest) -> Iterator[tuple[int, str]]:
    if request.device is not None:
        yield DEVICE, request.device
    if request.ip is not None:
        yield IP, request.ip


def _features(request: CheckRequest) -> list[tuple[str, str]]:
    named = (("device", request.device), ("ip", request.ip), ("content", request.media.sha256))
    return [(kind, value) for kind, value in named if value is not None] + [("link", link) for link in request.links]
