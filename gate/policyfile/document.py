"""The text of a policy file → a `Policy`, or a complaint with line, key and remedy for each mistake.

The hash of a policy depends on its effective content only: comments, layout, the order of tables other than classes, the
spelling of a value and defaults that are written out do not change it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gate.core.duration import DAY_US, HOUR_US
from gate.core.fields import ids
from gate.core.fields.labels import fold_country, fold_label
from gate.core.fields.reasons import Unusable
from gate.core.limits.limit import MOST_BUCKETS, Rate
from gate.core.pause.four_eyes import ALONE_BY_DEFAULT_US, BY_DEFAULT, TwoPersonRule
from gate.core.policy import (
    KnownValues,
    LimitRule,
    Mode,
    OnStoreError,
    PausesUnknown,
    Policy,
    Subject,
    Thresholds,
    Unit,
    Unreported,
)
from gate.errors import PolicyInvalid
from gate.policyfile.leases import read_lease, read_reserved
from gate.policyfile.places import TomlPlaces, error_line
from gate.policyfile.table import MAX_IN_FLIGHT, Complaints, TomlTable, nearest

DEFAULT_REASONS = ("raid", "scam-wave", "bot-wave", "legal", "capacity", "drill", "other")
MAX_LIFETIME_US = 31 * DAY_US
MOST_LIMITS = 100
"""Limits that one class may have. With more, their numbers no longer fit into one script of the store."""
MAX_NAME_BYTES: Final = 128
"""Longest name of a class or a limit in UTF-8 bytes."""
MAX_REFILL_US = 366 * DAY_US
"""Longest time that a bucket may take to fill. With a longer one the store's arithmetic would lose digits."""


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """The content of one file: the policy, and the `document` that says the same with every default written out."""

    policy: Policy
    document: Mapping[str, object]


def parse_policy(text: str, file: str) -> Policy:
    """The policy in `text`. Raises PolicyInvalid for the first mistake, with the others in its message."""
    return parse_policy_file(text, file).policy


def parse_policy_file(text: str, file: str) -> PolicyFile:
    """As `parse_policy`, with its document."""
    read, complaints = check_policy_file(text, file)
    if read is not None:
        return read
    first, *others = complaints
    if others:
        raise PolicyInvalid(first.file, first.line, first.key, "\n".join([_problem(first), *map(str, others)]))
    raise first


def check_policy(text: str, file: str) -> tuple[Policy | None, list[PolicyInvalid]]:
    """The policy, or None and every complaint in the order of the file's lines."""
    read, complaints = check_policy_file(text, file)
    return (None if read is None else read.policy), complaints


def check_policy_file(text: str, file: str) -> tuple[PolicyFile | None, list[PolicyInvalid]]:
    """As `check_policy`, with its document."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [PolicyInvalid(file, error_line(str(error)), "", f"is not TOML: {error}")]
    except RecursionError:
        return None, [PolicyInvalid(file, None, "", "is nested too deeply; a policy has tables of four levels")]
    except ValueError as error:  # such as a number of 5,000 digits
        return None, [PolicyInvalid(file, None, "", f"holds a value that cannot be read: {error}")]
    complaints = Complaints(file, TomlPlaces(text))
    top = TomlTable(document, (), complaints)
    policy = _policy(top)
    return (None, complaints.sorted()) if complaints.found else (PolicyFile(policy, top.effective), [])


def content_hash(document: Mapping[str, object]) -> str:
    """12 hex digits that name the meaning of a policy's document. Of all orders in it that of the classes means something:
    overload refuses the first ones first."""
    classes = document.get("classes")
    content = [_without_order(document), list(classes) if isinstance(classes, Mapping) else []]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return sha256(canonical.encode()).hexdigest()[:12]


def _without_order(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_order(each) for key, each in value.items()}
    return sorted(set(map(str, value))) if isinstance(value, list | tuple) else value


def _policy(top: TomlTable) -> Policy:
    top.effective["version"] = 1
    if top.value("version") != 1:
        top.complain("version", "must be 1, the only version there is; write version = 1 as the first line")
    thresholds, assumed_bytes = _classes(top.table("classes"))
    default_class = _class(top, "default_class", thresholds)
    if "default_class" not in top:
        top.complain("default_class", "is missing; write the class of accounts of which nothing else is known")
    derive = top.table("derive")
    new_class = _class(derive, "new_class", thresholds)
    new_below_us = derive.duration_us("new_below", 7 * DAY_US) or 0
    unverified_class = _class(derive, "unverified_class", thresholds)
    derive.end()
    deadline_us, lifetime_us, gives_back = _reservations(top)
    score = top.table("score")
    max_age_us = score.duration_us("max_age", 7 * DAY_US) or 0
    score.end()
    deny_accounts = _denied(top.table("deny"))
    reasons = top.texts("reasons", DEFAULT_REASONS) or ()
    for reason in reasons:
        _check_folded(top, "reasons", reason)
    known = _known_values(top.table("known"))
    limits = _limits(top.table("limits"), thresholds, known)
    controls = _controls(top.table("controls"))
    top.end()
    return Policy(
        hash=content_hash(top.effective),
        classes=tuple(thresholds),
        default_class=default_class or "",
        new_class=new_class,
        new_below_us=new_below_us,
        unverified_class=unverified_class,
        thresholds=thresholds,
        limits=limits,
        deny_accounts=deny_accounts,
        reasons=reasons,
        max_score_age_us=max_age_us,
        upload_lifetime_us=lifetime_us,
        deadline_us=deadline_us,
        second_person=controls[0],
        machines_platform_wide=controls[1],
        alone_us=controls[2],
        pauses_unknown=controls[3],
        known=known,
        unreported_returns=gives_back,
        assumed_bytes=assumed_bytes,
    )


def _reservations(top: TomlTable) -> tuple[int, int, bool]:
    """A check's deadline, a reservation's lifetime, and whether tokens of unreported uploads are given back."""
    check = top.table("check")
    deadline_us = check.duration_us("deadline", 50_000) or 0
    older_us = check.duration_us("upload_lifetime", HOUR_US) or 0
    check.end()
    table = top.table("reservations")
    lifetime_us = table.duration_us("lifetime", older_us) or 0
    if "upload_lifetime" in check and lifetime_us != older_us:
        table.complain("lifetime", "is not what check.upload_lifetime says; remove the latter, which is its older name")
    check.effective["upload_lifetime"] = table.effective.get("lifetime")
    if lifetime_us > MAX_LIFETIME_US:
        table.complain("lifetime", "is longer than 31 days; a reservation is open no longer than an upload takes")
    unreported = table.choice("unreported", Unreported, Unreported.KEEP)
    table.end()
    return deadline_us, lifetime_us, unreported is Unreported.GIVE_BACK


def _denied(table: TomlTable) -> frozenset[str]:
    """The accounts that are always refused, their ids read as checks read them."""
    accounts: dict[str, None] = {}
    for given in table.texts("accounts", ()) or ():
        try:
            accounts[ids.key(given)] = None
        except Unusable as unusable:
            table.complain("accounts", f"no upload can have the account id {given[:80]!r} ({unusable.reason})")
    table.effective["accounts"] = list(accounts)
    table.end()
    return frozenset(accounts)


def _controls(table: TomlTable) -> tuple[frozenset[TwoPersonRule], bool, int, PausesUnknown]:
    """The changes of the kill switch that need two persons, whether machines may pause the whole platform, how long the
    one who set a pause acts alone: not at all where the file lists rules of its own and does not say; and what becomes of
    uploads while a gate does not know the pauses."""
    alone_us = table.duration_us("alone_for", 0 if "second_person" in table else ALONE_BY_DEFAULT_US, zero=True) or 0
    if alone_us > DAY_US:
        table.complain("alone_for", "is longer than 24h, which one person may pause at most")
    named = table.texts("second_person", tuple(sorted(BY_DEFAULT))) or ()
    known = {rule.value: rule for rule in TwoPersonRule}
    for name in named:
        if name not in known:
            table.complain("second_person", f"there is no rule {name!r}; there are {', '.join(known)}")
    permitted = table.flag("machines_platform_wide", False)
    unknown = table.choice("pauses_unknown", PausesUnknown, PausesUnknown.OPEN) or PausesUnknown.OPEN
    table.end()
    return frozenset(known[name] for name in named if name in known), permitted, alone_us, unknown


def _known_values(table: TomlTable) -> KnownValues:
    """The values that uploads may name. Without a list, or with `*` in it, every value is known."""
    found: dict[str, frozenset[str]] = {}
    for key, fold in (("kinds", fold_label), ("surfaces", fold_label), ("countries", fold_country)):
        values = table.texts(key, ("*",)) or ()
        for value in values:
            if fold(value) != value:
                table.complain(key, f"{value!r} would match nothing, as it is compared as {fold(value)!r}; write that")
        found[key] = frozenset(values)
    table.end()
    return KnownValues(found["kinds"], found["surfaces"], found["countries"])


def _classes(table: TomlTable) -> tuple[dict[str, Thresholds], dict[str, int]]:
    """The thresholds of each class, and the size of an upload whose check states none."""
    found: dict[str, Thresholds] = {}
    assumed: dict[str, int] = {}
    for name in table.names():
        _check_folded(table, name, name)
        _check_length(table, name)
        entry = table.table(name)
        score = entry.table("score")
        found[name] = Thresholds(score.share("review"), score.share("challenge"), score.share("deny"))
        rising = [t for t in (found[name].review, found[name].challenge, found[name].deny) if t is not None]
        if rising != sorted(rising):
            entry.complain("score", "review, challenge and deny must not fall; a stricter step needs a higher score")
        score.end()
        if "assumed_bytes" in entry and (size := entry.amount("assumed_bytes", True)):
            assumed[name] = size
        entry.end()
    if not found:
        table.complaints.add(table.path, "no class is declared; write at least [classes.regular]")
    return found, assumed


def _check_folded(table: TomlTable, key: str, name: str) -> None:
    """Add a complaint about a name that matches no upload and no pause, because their names are folded."""
    folded = fold_label(name)
    if folded != name:
        remedy = f"write {folded!r}" if folded else "write a name that can be seen"
        table.complain(key, f"{name!r} would match nothing, as names are compared without regard to case; {remedy}")


def _check_length(table: TomlTable, name: str) -> None:
    """Add a complaint about a name that is too long for what the store keeps of each upload."""
    if len(name.encode()) > MAX_NAME_BYTES:
        table.complain(name, f"is a name of {len(name.encode())} bytes; {MAX_NAME_BYTES} are the most")


def _class(table: TomlTable, key: str, classes: Mapping[str, Thresholds]) -> str | None:
    name = table.text(key)
    if name is not None and name not in classes:
        table.complain(key, f"class {name!r} is not declared; add [classes.{name}] or name one of {', '.join(classes)}")
    return name


def _limits(table: TomlTable, classes: Mapping[str, Thresholds], known: KnownValues) -> tuple[LimitRule, ...]:
    found: list[LimitRule] = []
    for name in table.names():
        _check_length(table, name)
        entry = table.table(name)
        subject = entry.choice("on", Subject, None) or Subject.ACCOUNT
        unit = entry.choice("unit", Unit, Unit.UPLOADS) or Unit.BYTES  # a wrong unit is one complaint, not several
        per_us = 1 if unit is Unit.IN_FLIGHT else entry.duration_us("per", None)
        mode = entry.choice("mode", Mode, Mode.ENFORCE) or Mode.ENFORCE
        on_store_error = entry.choice("on_store_error", OnStoreError, OnStoreError.LOCAL) or OnStoreError.LOCAL
        rates = _rates(entry.table("rates"), per_us or 1, unit, classes)
        lease = read_lease(entry, subject, unit, rates)
        reserved = read_reserved(entry, subject, rates)
        kinds = entry.texts("kinds") or ()
        for kind in kinds:
            _check_folded(entry, "kinds", kind)
            if fold_label(kind) == kind and not known.has_kind(kind):
                entry.complain("kinds", f"{kind!r} is not among the kinds of [known]; {nearest(kind, known.kinds)}")
        if unit is Unit.IN_FLIGHT and subject in (Subject.CLASS, Subject.PLATFORM):
            entry.complain("unit", "in_flight is counted for an account, ip or device; a class has too many at once")
        if unit is Unit.IN_FLIGHT and any(rate.burst > MAX_IN_FLIGHT for rate in rates.values()):
            entry.complain("rates", f"at most {MAX_IN_FLIGHT} in flight can be counted")
        entry.end()
        found.append(LimitRule(name, subject, unit, mode, on_store_error, rates, frozenset(kinds), lease, reserved))
    for class_ in classes:
        count = sum(class_ in rule.rates for rule in found)
        if count > MOST_LIMITS:
            table.complaints.add(table.path, f"class {class_!r} has {count} limits; {MOST_LIMITS} are the most")
    for subject in Subject:
        of_subject = [rule for rule in found if rule.subject is subject and rule.unit is not Unit.IN_FLIGHT]
        buckets = sum(1 + len(rule.reserved) for rule in of_subject)
        if buckets > MOST_BUCKETS:
            counted = "limits, each reserved part counted" if buckets > len(of_subject) else "limits"
            table.complaints.add(
                table.path, f'on "{subject}" there are {buckets} {counted}; {MOST_BUCKETS} are the most'
            )
    return tuple(found)


def _rates(table: TomlTable, per_us: int, unit: Unit, classes: Mapping[str, Thresholds]) -> dict[str, Rate]:
    found: dict[str, Rate] = {}
    for class_ in table.names():
        if class_ not in classes:
            table.complain(class_, f"a rate for a class that is not declared; add [classes.{class_}] or remove it")
        entry = table.table(class_)
        rate = 0 if unit is Unit.IN_FLIGHT else entry.amount("rate", unit is Unit.BYTES)
        amounts = rate, entry.amount("burst", unit is Unit.BYTES)
        entry.end()
        if amounts[0] is None or amounts[1] is None:
            continue
        found[class_] = Rate(amounts[0], per_us, amounts[1])
        if found[class_].tolerance_us > MAX_REFILL_US:
            table.complain(class_, "takes more than a year to fill again; raise the rate or lower the burst")
    if not found and not table.complaints.found:
        table.complaints.add(table.path, "no class has a rate; write for example regular = { rate = 10, burst = 15 }")
    return found


def _problem(complaint: PolicyInvalid) -> str:
    return str(complaint).split(f"{complaint.key}: " if complaint.key else ": ", 1)[1]
