"""The table of field rules: the valid values of each field of a check, an event and a row.

The two readers, the JSON Schema and the documentation follow from it, so that a check and an event always read a value
in the same way. If an optional field breaks its rule, only that field is dropped, with a reason of `Dropped`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from gate.core.fields.ids import MAX_ID_BYTES
from gate.core.fields.labels import MAX_LABEL_CHARS
from gate.core.fields.reasons import Dropped

MAX_TEXT_CHARS = 8_000
"""A longer caption is cut to this length."""
MAX_LINKS = 50
"""Only this many links are kept, the first ones."""
MAX_LINK_CHARS = 2_048
"""A longer link keeps its beginning, which holds its host."""
MAX_UPLOAD_BYTES = 1 << 40


class MessageType(StrEnum):
    """The kind of message that has a field: a check, one of the five types of event, or a row of a labelled stream."""

    CHECK = "check"
    ATTEMPTED = "attempted"
    COMPLETED = "completed"
    REMOVED = "removed"
    REPORTED = "reported"
    CHALLENGED = "challenged"
    ROW = "row"


EVENTS = frozenset(
    (MessageType.ATTEMPTED, MessageType.COMPLETED, MessageType.REMOVED, MessageType.REPORTED, MessageType.CHALLENGED),
)
_CHECK = frozenset((MessageType.CHECK,))
_ROW = frozenset((MessageType.ROW,))
_UPLOAD = frozenset((MessageType.CHECK, MessageType.ATTEMPTED, MessageType.ROW))
_ALL = EVENTS | _CHECK | _ROW


class FieldKind(StrEnum):
    """How a value is read. A `KEY` is an id that is never replaced; a hash replaces an `ID` that is too long."""

    KEY = "key"
    ID = "id"
    CONTENT = "content"
    PERCEPTUAL = "perceptual"
    LABEL = "label"
    WORD = "word"
    COUNTRY = "country"
    ADDRESS = "address"
    MOMENT = "moment"
    CREATION = "creation"
    SIZE = "size"
    FLAG = "flag"
    TEXT = "text"
    LINKS = "links"


@dataclass(frozen=True, slots=True)
class Rule:
    """One field: its kind, the messages that have it, those that require it, and its description for users.

    `choices` lists the only valid values; it is empty if any value is valid.
    """

    name: str
    kind: FieldKind
    on: frozenset[MessageType]
    meaning: str
    required: frozenset[MessageType] = frozenset()
    choices: tuple[str, ...] = ()

    @property
    def limit(self) -> str:
        """The bounds in words, empty if the kind has none."""
        return _LIMITS.get(self.kind, "")

    @property
    def holds(self) -> str:
        """What a valid value is, in words."""
        return ", ".join(self.choices) or _HOLDS.get(self.kind) or self.limit


_LIMITS = {
    FieldKind.KEY: f"1 to {MAX_ID_BYTES} bytes of visible UTF-8 characters",
    FieldKind.ID: f"1 to {MAX_ID_BYTES} bytes of visible UTF-8 characters; a hash replaces a longer id",
    FieldKind.CONTENT: f"64 hexadecimal digits, or any id of at most {MAX_ID_BYTES} bytes",
    FieldKind.PERCEPTUAL: f"16 or 64 hexadecimal digits, or any id of at most {MAX_ID_BYTES} bytes",
    FieldKind.LABEL: f"1 to {MAX_LABEL_CHARS} characters, compared without case",
    FieldKind.WORD: f"1 to {MAX_LABEL_CHARS} characters, compared without case",
    FieldKind.COUNTRY: "two characters of ISO 3166, compared without case",
    FieldKind.ADDRESS: "an IPv4 or IPv6 address as a proxy writes it; the first of several",
    FieldKind.MOMENT: "RFC 3339 with its zone",
    FieldKind.CREATION: "RFC 3339 with its zone, from 1990 to 5 minutes from now",
    FieldKind.SIZE: f"a whole number of bytes from 0 to {MAX_UPLOAD_BYTES}",
    FieldKind.TEXT: f"the first {MAX_TEXT_CHARS} characters are kept",
    FieldKind.LINKS: f"the first {MAX_LINKS} are kept, of each the first {MAX_LINK_CHARS} characters",
}

_HOLDS = {FieldKind.FLAG: "true or false", FieldKind.TEXT: "text", FieldKind.LINKS: "a list of links"}
_RULE_BROKEN = (Dropped.INVALID, Dropped.TYPE_WRONG, Dropped.OUT_OF_RANGE, Dropped.TOO_LONG)

RULES = (
    Rule("id", FieldKind.KEY, EVENTS, "names the event; the same id twice is one event", required=EVENTS),
    Rule("at", FieldKind.MOMENT, EVENTS, "when it happened", required=EVENTS),
    Rule("upload_id", FieldKind.KEY, EVENTS | _CHECK, "names the upload", required=_CHECK),
    Rule("account.id", FieldKind.KEY, _ALL, "names the account", required=_ALL),
    Rule(
        "account.class",
        FieldKind.LABEL,
        EVENTS | _CHECK,
        "a class of the policy, which replaces the one that `[derive]` would give. If the policy does not have it, the gate "
        "decides by the class that `[derive]` gives, and names `account.class` in `ignored` (reason `class.unknown`); a pause "
        "of that name holds the upload all the same",
    ),
    Rule("account.created_at", FieldKind.CREATION, EVENTS | _CHECK, "when the account was made"),
    Rule("account.verified", FieldKind.FLAG, EVENTS | _CHECK, "whether the platform has verified who the account is"),
    Rule("media.kind", FieldKind.WORD, _UPLOAD, "such as image or video", required=_CHECK),
    Rule("media.bytes", FieldKind.SIZE, _UPLOAD, "declared size"),
    Rule("media.sha256", FieldKind.CONTENT, _UPLOAD, "SHA-256 of the bytes"),
    Rule("media.phash", FieldKind.PERCEPTUAL, _UPLOAD, "perceptual hash of the picture"),
    Rule("surface", FieldKind.LABEL, _UPLOAD, "where it is uploaded to, such as post or avatar"),
    Rule("ip", FieldKind.ADDRESS, _UPLOAD, "the client's address"),
    Rule("device", FieldKind.ID, _UPLOAD, "names the device"),
    Rule("country", FieldKind.COUNTRY, _UPLOAD, "where the client is"),
    Rule("media_group", FieldKind.ID, frozenset((MessageType.ATTEMPTED,)), "names the album that the upload is a part of"),
    Rule(
        "started_at", FieldKind.CREATION, _CHECK,
        "when the upload began, if it is under way already; a pause that drains lets it end",
    ),
    Rule("text", FieldKind.TEXT, _UPLOAD, "the caption"),
    Rule("links", FieldKind.LINKS, _UPLOAD, "links that the upload carries"),
    Rule(
        "decision", FieldKind.WORD, frozenset((MessageType.ATTEMPTED,)), "the gate's decision; absent if the upload was let in",
        choices=("allow", "review", "throttle", "challenge", "deny", "paused"),
    ),
    Rule("bytes", FieldKind.SIZE, frozenset((MessageType.COMPLETED,)), "what was stored"),
    Rule("by", FieldKind.LABEL, frozenset((MessageType.REMOVED,)), "who took it down: staff, owner, machine"),
    Rule("reporter", FieldKind.ID, frozenset((MessageType.REPORTED,)), "names the account that reported the upload"),
    Rule(
        "reporter_created_at", FieldKind.CREATION, frozenset((MessageType.REPORTED,)),
        "when the reporter's account was made; one younger than 30 days counts less, a new one 0.05 of a reporter",
    ),
    Rule("reason", FieldKind.LABEL, frozenset((MessageType.REMOVED, MessageType.REPORTED)), "why"),
    Rule("outcome", FieldKind.WORD, frozenset((MessageType.CHALLENGED,)), "how it ended", choices=("passed", "failed")),
)  # fmt: skip

PARTS = frozenset(rule.name.partition(".")[0] for rule in RULES if "." in rule.name)
"""The fields that hold fields: `account` and `media`."""
BY_SUBJECT = MappingProxyType(
    {subject: tuple(rule for rule in RULES if subject in rule.on) for subject in MessageType},
)
FIELD_NAMES = tuple(rule.name for rule in RULES) + tuple(sorted(PARTS))
"""Every name that can occur in `dropped`: a closed list, so it can be a metric's label."""


def why_dropped(field: str, reason: Dropped) -> str:
    """The explanation of a reason, with what the field may hold where its value broke that."""
    holds = next((rule.holds for rule in RULES if rule.name == field), "")
    return f"{reason.meaning}: {holds}" if holds and reason in _RULE_BROKEN else reason.meaning
