"""Codec for the acknowledgement of a board, as JSON.

Unknown fields are ignored and not written again, because only the gate itself writes its entry.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gate.core.fields.parse import UNDECODABLE
from gate.errors import StateUnreadable
from gate.ports.boards import Acknowledgement
from gate.records.pause import MAX_NAME, MAX_REV, MAX_TIME_US

VERSION: Final = 1
MAX_BYTES: Final = 16 * 1024


class GateDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One gate's acknowledgement. `latest` holds the fingerprints of the newest pauses it obeys."""

    gate: str
    url: str
    rev: int
    version: int = VERSION
    boot: str = ""
    digest: str = ""
    latest: list[str] = []
    clock_us: int = 0
    policy: str = ""
    on_disk: bool = True
    left: bool = False
    unreadable: int = 0
    recent: dict[str, tuple[int, int, int]] = {}
    recent_s: int = 0
    store_us: int = 0
    lifted: list[str] = []
    salt: str = ""
    workers_salt: str = ""
    pauses_known: bool = True


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(GateDocument).decode


def encode_gate(said: Acknowledgement) -> bytes:
    """The document of an acknowledgement, without its time: the store adds that."""
    document = GateDocument(
        gate=said.gate,
        url=said.url,
        rev=said.rev,
        boot=said.boot,
        digest=said.digest,
        latest=list(said.latest),
        clock_us=said.clock_us,
        policy=said.policy,
        on_disk=said.on_disk,
        left=said.left,
        unreadable=said.unreadable,
        recent=dict(said.recent),
        recent_s=said.recent_s,
        store_us=said.store_us,
        lifted=list(said.lifted),
        salt=said.salt,
        workers_salt=said.workers_salt,
        pauses_known=said.pauses_known,
    )
    return _encode({"version": VERSION, **msgspec.to_builtins(document)})


def decode_gate(data: bytes, acknowledged_at_us: int) -> Acknowledgement:
    """The acknowledgement that the store received at `acknowledged_at_us` by its clock. Raises StateUnreadable."""
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"{len(data)} bytes, more than {MAX_BYTES}")
        read = _decode(data)
        for name in (read.gate, read.url, read.boot):
            if len(name) > MAX_NAME or not name.isprintable():
                raise ValueError("a name is too long or cannot be shown")
        if not 0 <= read.rev <= MAX_REV or not read.gate:
            raise ValueError("it has no name or no revision")
    except (*UNDECODABLE, ValueError) as error:
        raise StateUnreadable(f"an acknowledgement cannot be read: {error}") from error
    return Acknowledgement(
        read.gate,
        read.url,
        read.rev,
        acknowledged_at_us,
        boot=read.boot,
        digest=read.digest,
        latest=tuple(read.latest),
        clock_us=read.clock_us,
        policy=read.policy,
        on_disk=read.on_disk,
        left=read.left,
        unreadable=read.unreadable,
        recent=read.recent,
        recent_s=read.recent_s,
        store_us=read.store_us if 0 < read.store_us < MAX_TIME_US else 0,
        lifted=tuple(read.lifted),
        salt=read.salt,
        workers_salt=read.workers_salt,
        pauses_known=read.pauses_known,
    )
