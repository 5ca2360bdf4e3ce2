"""What is uploaded: kind, size and hashes, as the caller declares them."""

from __future__ import annotations

import msgspec


class Media(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What is uploaded. `bytes` is the declared size; `sha256` and `phash` are opaque strings."""

    kind: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    phash: str | None = None
