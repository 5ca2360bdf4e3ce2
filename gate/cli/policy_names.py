"""Warns of classes and reasons that the policy does not have. The pause is set all the same.

The names come from the running gate's policy, else from the policy file UPLOAD_GATE_POLICY, else from the packaged
policy. In an incident all of them may be wrong: the gate does not answer, or the file is of another version.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gate.cli.addresses import Addresses
from gate.cli.http_json import admin_token, get_json
from gate.core.fields.labels import fold_label
from gate.core.pause.four_eyes import ALONE_BY_DEFAULT_US, BY_DEFAULT, TwoPersonRule
from gate.core.pause.scope import Scope
from gate.errors import PolicyInvalid, UploadGateError

FETCH_WITHIN_S = 0.5
KINDS = ("image", "video", "audio", "document", "file", "sticker")
SURFACES = ("post", "comment", "message", "avatar", "story", "profile", "album", "chat")


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """The names of a policy, its source, and the problems of the sources before it.

    `kinds` and `surfaces` are those that the policy lists, or usual ones where it lists none; a `*` is a pattern.
    `hash` is that of a policy from a file, which need not be the policy in force; None for the gate's.
    """

    classes: tuple[str, ...]
    reasons: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()
    second_person: frozenset[TwoPersonRule] = BY_DEFAULT
    machines_platform_wide: bool = False
    alone_us: int = ALONE_BY_DEFAULT_US
    kinds: tuple[str, ...] = KINDS
    surfaces: tuple[str, ...] = SURFACES
    hash: str | None = None

    def warnings(self, classes: Iterable[str], reason: str) -> list[str]:
        """One sentence for each name that the policy does not have, with the nearest name that it has."""
        unknown = [("class", name, self.classes) for name in classes] + [("reason", reason, self.reasons)]
        return [
            f"warning: the {kind} {name} is not in {self.source}; pausing all the same. {nearest(name, known)}"
            for kind, name, known in unknown
            if known and fold_label(name) not in map(fold_label, known)
        ]


def policy_names(addresses: Addresses) -> PolicyNames:
    """The names of the policy of the system at `addresses`, from the best source that can be read."""
    try:
        if addresses.admin is not None:
            answer = get_json(f"{addresses.admin}/v1/policy", FETCH_WITHIN_S, admin_token())
            if isinstance(answer, dict) and answer.get("classes") and answer.get("reasons"):
                known = answer.get("known")
                kinds, surfaces = (
                    _texts(known.get(key) or ()) if isinstance(known, dict) else () for key in ("kind", "surface")
                )
                return PolicyNames(
                    _texts(answer["classes"]), _texts(answer["reasons"]), "the gate's policy",
                    kinds=_listed(kinds, KINDS), surfaces=_listed(surfaces, SURFACES),
                    second_person=_rules(answer.get("second_person")),
                    machines_platform_wide=answer.get("machines_platform_wide") is True,
                    alone_us=_alone_us(answer.get("alone_us")),
                )  # fmt: skip
    except UploadGateError:
        pass
    from gate.policyfile import load_policy

    file = os.environ.get("UPLOAD_GATE_POLICY")
    source = f"the policy file {file}" if file else "the shipped policy"
    try:
        policy = load_policy(Path(file).expanduser() if file else None)
    except PolicyInvalid as error:
        return PolicyNames((), (), source, (f"warning: names are not checked, {source} cannot be used: {error}",))
    note = f"note: no gate's admin port returns the policy in force; names are compared with {source}"
    return PolicyNames(
        policy.classes, policy.reasons, source, (note,),
        kinds=_listed(policy.known.kinds, KINDS), surfaces=_listed(policy.known.surfaces, SURFACES),
        second_person=policy.second_person, machines_platform_wide=policy.machines_platform_wide,
        alone_us=policy.alone_us, hash=policy.hash,
    )  # fmt: skip


def unknown_class(name: str, addresses: Addresses) -> str | None:
    """A warning if the policy of the system has no such class, with the nearest one that it has."""
    names = policy_names(addresses)
    if not names.classes or fold_label(name) in map(fold_label, names.classes):
        return None
    advice = nearest(name, names.classes)
    return f"warning: the class {name} is not in {names.source}, so the account keeps its own limits. {advice}"


def rare_labels(scope: Scope, names: PolicyNames) -> list[str]:
    """A sentence for each kind or surface of the scope that the policy does not list, or that looks mistyped."""
    return [
        f"warning: {name} is not a usual {what}; pausing all the same. {hint}"
        for what, name, hint in unlisted(scope.kinds, scope.surfaces, names)
    ]


def unlisted(kinds: Iterable[str], surfaces: Iterable[str], names: PolicyNames) -> list[tuple[str, str, str]]:
    """Each kind and surface that the policy does not list: what it is, its name, and the nearest one that is listed."""
    from difflib import get_close_matches
    from fnmatch import fnmatchcase

    given = [("kind", name, names.kinds) for name in kinds] + [("surface", name, names.surfaces) for name in surfaces]
    found = []
    for what, name, usual in sorted(given):
        if any(fnmatchcase(name, known.replace("[", "[[]").replace("?", "[?]")) for known in usual):
            continue
        near = get_close_matches(name, usual, n=1)
        found.append((what, name, f"Did you mean {near[0]}?" if near else f"Usual ones are: {', '.join(usual)}"))
    return found


def _rules(given: object) -> frozenset[TwoPersonRule]:
    """The rules that a gate's policy names; a gate of an older release names none, and the default holds."""
    if not isinstance(given, list):
        return BY_DEFAULT
    return frozenset(rule for rule in TwoPersonRule if rule in given)


def _alone_us(given: object) -> int:
    """How long one person acts alone. A gate of an older release does not say, and the default holds."""
    return given if isinstance(given, int) and not isinstance(given, bool) and given >= 0 else ALONE_BY_DEFAULT_US


def _listed(values: Iterable[str], usual: tuple[str, ...]) -> tuple[str, ...]:
    """The values that a policy lists; the usual ones where it lists none or all."""
    listed = tuple(sorted(values))
    return usual if not listed or "*" in listed else listed


def _texts(names: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(name) for name in names)


def nearest(name: str, known: tuple[str, ...]) -> str:
    """The name among `known` that is nearest to `name`, as a question; all of them where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(fold_label(name), known, n=1)
    return f"Did you mean {near[0]}?" if near else f"It has: {', '.join(known)}"
