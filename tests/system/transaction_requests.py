"""Which of Kafka's requests a message is, as a proxy sees it pass."""

from __future__ import annotations

import struct

PRODUCE = 0
ADD_PARTITIONS = 24
ADD_OFFSETS = 25
END_TXN = 26
TXN_OFFSET_COMMIT = 28
STEERING = frozenset((ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT))
"""Requests of a client that steer a transaction."""
BROKERS_OWN = 4
"""From this version on, partitions are added by brokers only."""


def api_key(message: bytes) -> int:
    """The number of the request, -1 for one that only brokers send to each other."""
    key, release = struct.unpack_from(">hh", message)
    return -1 if key == ADD_PARTITIONS and release >= BROKERS_OWN else int(key)
