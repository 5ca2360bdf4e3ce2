"""Reads acknowledgements of many gates as a store keeps them, without holding up what else the process does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from gate.errors import StateUnreadable
from gate.ports.boards import Acknowledgement, Gates, UnreadableAcknowledgement
from gate.records.gate import decode_gate

AT_ONCE: Final = 50
"""How many are read in one turn of the event loop, about a millisecond: a gate answers checks in between."""


async def gates_of(entries: Iterable[tuple[str, bytes, int]], now_us: int, known_since_us: int = 0) -> Gates:
    """`entries` are process, document and the time at which the store received it, in µs, in the order of the processes."""
    read: list[Acknowledgement] = []
    unreadable: list[UnreadableAcknowledgement] = []
    for number, (process, document, at_us) in enumerate(entries):
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        try:
            read.append(decode_gate(document, at_us))
        except StateUnreadable as error:
            unreadable.append(UnreadableAcknowledgement(process, str(error), at_us))
    return Gates(now_us, tuple(read), tuple(unreadable), known_since_us)
