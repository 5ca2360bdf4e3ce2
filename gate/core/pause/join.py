"""Joins two copies of one pause into the copy that every process then obeys.

Theory: two operators may change one pause at the same moment, one in Redis and one in Kafka, and neither channel knows
of the other's revision. Each part of a pause therefore has its own order, in which changes only move upwards, and a join
takes the higher part of each. So a join is commutative, associative and idempotent, and neither change undoes what the
other has promised:

| part | order, the lower first |
|---|---|
| revision, owner, approver and the other fields | by revision, and within one revision by content |
| end | the earlier, the later |
| mode | dry run, enforce |
| proposal to set it | waits, approved |
| whose it is | a machine's, a person's |
| release | none, released; of two releases the earlier one stands |

A release is final: no extension, whatever its revision, brings a released pause back. The one exception is a machine's
release of a pause that a person took over at the same moment: a machine never clears a person's pause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Final

from gate.core.pause.entry import Pause
from gate.core.pause.scope import Exemption, PauseMode, Scope

_OWN_ORDER: Final = frozenset(
    ("id", "rev", "expires_at_us", "mode", "machine", "released_at_us", "released_by", "ramp_us", "proposal")
)
"""The fields that have an order of their own, and the id."""


def joined(left: Pause, right: Pause) -> Pause:
    """The join of two copies of one pause; `left` itself if it is as high in every part."""
    if left == right:
        return left
    base = max(left, right, key=_order)
    machine = left.machine and right.machine
    enforced = PauseMode.ENFORCE in (left.mode, right.mode)
    release = _release(left, right, machine)
    proposal = base.proposal
    if release is not None or (base.awaits_approval and not (left.awaits_approval and right.awaits_approval)):
        proposal = None
    result = replace(
        base,
        expires_at_us=max(left.expires_at_us, right.expires_at_us),
        mode=PauseMode.ENFORCE if enforced else PauseMode.DRY_RUN,
        machine=machine,
        proposal=proposal,
        released_at_us=None if release is None else release.released_at_us,
        released_by=None if release is None else release.released_by,
        ramp_us=_planned_ramp_us(left, right) if release is None else release.ramp_us,
    )
    return left if result == left else right if result == right else result


def _release(left: Pause, right: Pause, machine: bool) -> Pause | None:
    """The copy whose release stands, None where neither does."""
    released = [each for each in (left, right) if each.released_at_us is not None and (machine or not each.machine)]
    return min(released, key=lambda each: (each.released_at_us, each.ramp_us, each.released_by or ""), default=None)


def _planned_ramp_us(left: Pause, right: Pause) -> int:
    """The ramp after the expiry, which only a release changes."""
    return max((each.ramp_us for each in (left, right) if each.released_at_us is None), default=left.ramp_us)


def _order(pause: Pause) -> tuple[int, str, str]:
    # of two proposals to set it under one revision, all processes must wait with the same one
    return pause.rev, _content(pause), repr(pause.proposal) if pause.awaits_approval else ""


def _content(pause: Pause) -> str:
    # Two writers in two channels may give one revision to two contents. Every process must choose the same one.
    content = [_comparable(getattr(pause, each.name)) for each in fields(pause) if each.name not in _OWN_ORDER]
    return repr([*content, None if pause.awaits_approval else pause.proposal])


def _comparable(value: object) -> object:
    """The value in a form whose `repr` is the same in every process: sets and mappings have no order of their own."""
    if isinstance(value, Scope | Exemption):
        return [_comparable(getattr(value, each.name)) for each in fields(value)]
    if isinstance(value, frozenset):
        return sorted(value)
    return sorted(value.items()) if isinstance(value, Mapping) else value
