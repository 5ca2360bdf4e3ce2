"""Says what a check by hand holds that the gate does not use: an ignored field and why, a kind that no policy names."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from gate.cli.addresses import Addresses
from gate.cli.policy_names import PolicyNames, nearest, policy_names, unlisted
from gate.core.fields import Dropped, why_dropped
from gate.core.fields.labels import fold_label
from gate.errors import RequestRejected

CLASS = "account.class"


def check_notes(upload: Mapping[str, object], decision: Mapping[str, object], addresses: Addresses) -> list[str]:
    """A sentence for each field that the decision names as ignored, and for a kind or surface that the policy does not list.

    The policy is that of the decision. Where only another one can be read, no kind, surface or class is compared with it.
    """
    ignored, names = decision.get("ignored"), policy_names(addresses)
    is_in_force = names.hash in (None, decision.get("policy", names.hash))
    fields = [str(field) for field in ignored] if isinstance(ignored, list) else []
    kinds = [fold_label(_text(upload, "media", "kind"))]
    surfaces = [fold_label(_text(upload, "surface"))] if "surface" in upload and "surface" not in fields else []
    return [
        f"note: the gate ignores {field}: {_why(field, upload, names if is_in_force else None)}" for field in fields
    ] + [
        f"note: {names.source} lists no {what} {name}; only a pause or limit of exactly this name holds such uploads. {hint}"
        for what, name, hint in (unlisted(kinds, surfaces, names) if is_in_force else ())
    ]


def _why(field: str, upload: Mapping[str, object], names: PolicyNames | None) -> str:
    """Why the gate did not use a field, from the code that reads it there."""
    from gate.records.check import decode_check

    class_ = _text(upload, "account", "class")
    if field == CLASS and class_ and names is None:
        return f"its policy has no class {class_}"
    if field == CLASS and class_ and names is not None and fold_label(class_) not in map(fold_label, names.classes):
        return f"{names.source} has no class {class_}. {nearest(class_, names.classes)}"
    try:
        reason = decode_check(json.dumps(upload).encode(), time.time_ns() // 1_000)[1].get(field)
    except RequestRejected:
        reason = None
    return "it breaks the field's rule" if reason is None else why_dropped(field, Dropped(reason))


def _text(upload: Mapping[str, object], *path: str) -> str:
    value: object = upload
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""
