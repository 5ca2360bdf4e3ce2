"""The request of a check: may this account upload this now? The edge decodes it once; it is immutable."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gate.core.account import Account
from gate.core.media import Media


class CheckRequest(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One check. `upload_id`, `account.id` and `media.kind` are required; the other fields sharpen the decision.

    `started_at` is when the upload began, if it is under way already: a pause that drains lets it end.
    `upload_id` is the idempotency key: an upload that was let in takes tokens once, however often it is checked.
    """

    upload_id: str
    account: Account
    media: Media
    surface: str | None = None
    ip: str | None = None
    device: str | None = None
    country: str | None = None
    text: str | None = None
    links: tuple[str, ...] = ()
    started_at: datetime | None = None
