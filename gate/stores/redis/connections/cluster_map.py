"""Which node of a Cluster serves which slot, and what its error replies mean. Pure: `cluster` asks the nodes."""

from __future__ import annotations

from binascii import crc_hqx
from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import ResponseError

from gate.stores.redis.connections.address import Endpoint

SLOTS: Final = 16_384


class Redirect(Enum):
    """What to do with a command that the node did not carry out."""

    MOVED = "send it to the node that it names, which serves the slot from now on"
    ASK = "send it to the node that it names, this once"
    WAIT = "repeat it a moment later"
    REMAP = "find out who serves the slot, and repeat it"


_BY_WORD: Final = {
    "MOVED": Redirect.MOVED,
    "ASK": Redirect.ASK,
    "TRYAGAIN": Redirect.WAIT,
    "LOADING": Redirect.WAIT,
    "CLUSTERDOWN": Redirect.REMAP,
    "MASTERDOWN": Redirect.REMAP,
    "READONLY": Redirect.REMAP,
}


def slot_of(key: bytes | str) -> int:
    """The slot of a key, by its hash tag where it has one."""
    return key_slot(key.encode() if isinstance(key, str) else key)


@lru_cache(maxsize=1)
def tags() -> tuple[str, ...]:
    """For each slot a hash tag that lies in it. Made once, in some 50 ms: before the first call, not during it."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < SLOTS:
        name = str(number)
        found.setdefault(crc_hqx(name.encode(), 0) % SLOTS, name)
        number += 1
    return tuple(found[slot] for slot in range(SLOTS))


def redirect_of(reply: ResponseError, asked: Endpoint) -> tuple[Redirect, Endpoint | None] | None:
    """What an error reply of the node `asked` says to do, and the node that it names; None if the error is final."""
    word, *rest = str(reply).split(" ")
    redirect = _BY_WORD.get(word)
    if redirect is None:
        return None
    if redirect in (Redirect.MOVED, Redirect.ASK):
        host, _, port = rest[1].rpartition(":") if len(rest) > 1 else ("", "", "")
        if not port.isdigit():
            return Redirect.REMAP, None
        return redirect, Endpoint(host or asked.host, int(port))
    return redirect, None


@dataclass(frozen=True, slots=True)
class SlotMap:
    """The masters by slot. `starts` are the first slots of ranges in ascending order, each with its end and its node."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    nodes: tuple[Endpoint, ...]

    def node(self, slot: int) -> Endpoint | None:
        """The master that serves the slot, None where none does."""
        at = bisect_right(self.starts, slot) - 1
        return self.nodes[at] if at >= 0 and slot <= self.ends[at] else None

    @property
    def masters(self) -> tuple[Endpoint, ...]:
        """Every master once."""
        return tuple(dict.fromkeys(self.nodes))

    def first_slot(self, node: Endpoint) -> int:
        """A slot that the node serves."""
        return self.starts[self.nodes.index(node)]


def read_slots(reply: Any, asked: Endpoint) -> SlotMap | None:
    """The answer of CLUSTER SLOTS from the node `asked`; None if it is none, or names no master."""
    ranges: list[tuple[int, int, Endpoint]] = []
    try:
        for start, end, (host, port, *_), *_replicas in reply:
            name = (host or b"").decode()
            ranges.append((int(start), int(end), Endpoint(asked.host if name in ("", "?") else name, int(port))))
    except (TypeError, ValueError, AttributeError):
        return None
    ranges.sort(key=lambda each: each[0])
    starts, ends, nodes = zip(*ranges, strict=True) if ranges else ((), (), ())
    return SlotMap(starts, ends, nodes) if ranges else None
