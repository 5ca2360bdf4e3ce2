"""What happened to an account: five immutable kinds of event, told apart by `type`.

The structs are the contract of the topic `uploads.events.v1`; bytes are read and written by `streams.core.events`.
Times are timezone-aware datetimes here and integer microseconds since 1970 (UTC) everywhere behind the wire.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from gate.core.account import Account
from gate.core.media import Media


class Attempted(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="attempted"):
    """A user tried to upload. `decision` is the gate's decision; if it is absent, the upload was let in.

    Uploads with one `media_group` are the parts of one album.
    """

    id: str
    at: datetime
    account: Account
    upload_id: str | None = None
    media: Media | None = None
    surface: str | None = None
    ip: str | None = None
    device: str | None = None
    country: str | None = None
    text: str | None = None
    links: tuple[str, ...] = ()
    decision: str | None = None
    media_group: str | None = None


class Completed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="completed"):
    """An upload arrived in full. `bytes` is the stored size."""

    id: str
    at: datetime
    account: Account
    upload_id: str | None = None
    bytes: int | None = None


class Removed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="removed"):
    """An upload was taken down. `by` says by whom: staff, the owner or a machine."""

    id: str
    at: datetime
    account: Account
    upload_id: str | None = None
    by: str | None = None
    reason: str | None = None


class Reported(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="reported"):
    """Somebody complained about an upload of the account. A complaint of a reporter who was created lately counts less."""

    id: str
    at: datetime
    account: Account
    upload_id: str | None = None
    reporter: str | None = None
    reason: str | None = None
    reporter_created_at: datetime | None = None


class Challenged(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="challenged"):
    """The account was given a challenge to prove that a person uses it. `outcome` is `passed` or `failed`."""

    id: str
    at: datetime
    account: Account
    upload_id: str | None = None
    outcome: str | None = None


Event = Attempted | Completed | Removed | Reported | Challenged
