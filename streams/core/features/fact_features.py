"""What scoring reads of an account's facts, so that the facts themselves can be let go once they are packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from streams.core.crowd import Surroundings


class Sharing(Protocol):
    """The facts that features of surroundings are read with. Fields are those of `Facts`."""

    @property
    def uploads(self) -> int: ...
    @property
    def created_us(self) -> int: ...
    @property
    def host_repeats(self) -> int: ...
    @property
    def suspicion(self) -> float: ...
    @property
    def networks(self) -> bytes: ...
    @property
    def devices(self) -> bytes: ...


class Located(Protocol):
    """The facts that say what surrounds an account. Fields are those of `Facts`."""

    @property
    def latest_us(self) -> int: ...
    @property
    def networks(self) -> bytes: ...
    @property
    def devices(self) -> bytes: ...
    @property
    def content(self) -> int: ...
    @property
    def host(self) -> int: ...


ReadsSharing = Callable[[Sharing, Surroundings, int], tuple[float, ...]]
"""The reader of a family that looks at what an account shares, and at few of its facts."""


class FactFeatures(NamedTuple):
    """What an account is scored by, as of its last event.

    `row` holds the features that facts alone give, those that the scorecard looks at, as packed doubles: they take few
    bytes, where a list of numbers would push other accounts out of the processor's cache. `evidence_us` is the time of
    the last evidence against the account, the other fields are those of `Facts`.
    """

    row: bytes
    evidence_us: int
    offset: int
    latest_us: int
    uploads: int
    created_us: int
    host_repeats: int
    suspicion: float
    networks: bytes
    devices: bytes
    content: int
    host: int


class FactColumns(NamedTuple):
    """The same of many accounts, one at least, each field as a column: a look at thousands of accounts waits for memory, so
    it is taken once."""

    each: Sequence[FactFeatures]
    row: tuple[bytes, ...]
    evidence_us: tuple[int, ...]
    offset: tuple[int, ...]
    latest_us: tuple[int, ...]
    uploads: tuple[int, ...]
    created_us: tuple[int, ...]
    host_repeats: tuple[int, ...]
    suspicion: tuple[float, ...]
    networks: tuple[bytes, ...]
    devices: tuple[bytes, ...]
    content: tuple[int, ...]
    host: tuple[int, ...]

    @classmethod
    def of(cls, each: Sequence[FactFeatures]) -> FactColumns:
        """The columns of these accounts."""
        return cls(each, *zip(*each, strict=True))
