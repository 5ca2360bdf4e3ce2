"""What scoring reads of an account's facts, so that the facts themselves can be let go once they are packed."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Sharing(Protocol):
    """The facts that features of surroundings are read with. Fields are those of `Facts`."""

    uploads: int
    created_us: int
    host_repeats: int
    suspicion: float
    networks: bytes
    devices: bytes


class Located(Protocol):
    """The facts that say what surrounds an account. Fields are those of `Facts`."""

    latest_us: int
    networks: bytes
    devices: bytes
    content: int
    host: int


class FactFeatures(msgspec.Struct, gc=False):
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
