"""Decides takes while the account store does not answer, by `on_store_error` of each limit.

`local` limits take from buckets of this process, `open` limits let in, `closed` limits refuse for some seconds.
`gate.app.check` still applies the pauses, the deny list, and the last score and override that the gate knows of the
account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as copy_with
from typing import Any, Final, Protocol, TypeVar

from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityBuckets, EntityLimits
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.policy import OnStoreError, Policy
from gate.core.standing import Standing

CLOSED_RETRY_US: Final = 5_000_000
"""The retry-after of a limit that refuses because the store is away."""
MOST_CLASSES: Final = 1_024
"""Classes whose limits are kept worked out; a pause by risk and a lease make further ones of a class."""


class LocalTake(Protocol):
    """Buckets of this process, each with this gate's share of its limit, for the time the store does not answer."""

    def take(self, buckets: Sequence[EntityBuckets], size: int, now_us: int) -> tuple[Refusal | None, tuple[str, ...]]:
        """Take from all buckets or from none.

        Returns the refusal with the longest wait, and the names of shadow limits that would have refused.
        """
        ...


Given = TypeVar("Given")


class Leases(Protocol[Given]):
    """The leases of this gate."""

    def give(self, request: TakeRequest) -> tuple[ClassLimits, Given] | None:
        """Tokens for the upload, and the limits that remain to be taken from; None where the leases do not have them."""
        ...

    def settle(self, given: Given, *, was_used: bool) -> None:
        """Note that the upload has used what it was given, or that it has not."""
        ...

    def rest_of(self, attempt: int) -> ClassLimits | None:
        """The limits for the store alone, of a check that failed after it got tokens from leases; None if it got none."""
        ...


class WithoutStore:
    """Replaces the store in takes. `local` makes the buckets for a given number of gates that share each limit.

    Checks use the tokens of the gate's `leases` first, which were taken from the store before.
    """

    def __init__(self, local: Callable[[int], LocalTake], leases: Leases[Any] | None = None) -> None:
        self._leases = leases
        self._make_local = local
        self._instances = 1
        self._local = local(1)
        self._policy: Policy | None = None
        self._modes: Mapping[str, OnStoreError] = {}
        self._local_limits: dict[ClassLimits, _LocalLimits] = {}

    @property
    def instances(self) -> int:
        """How many gates share the limits, as far as this gate knows."""
        return self._instances

    @instances.setter
    def instances(self, instances: int) -> None:
        if instances != self._instances:
            self._instances = instances
            self._local = self._make_local(instances)

    def take(self, policy: Policy, request: TakeRequest, standing: Standing, now_us: int) -> TakeResult:
        """Decide the take by the failure modes of `policy`, which made the request.

        An account that a staff override lets in is not refused, as with the store.
        """
        if policy is not self._policy:
            self._policy, self._modes = policy, {limit.name: limit.on_store_error for limit in policy.limits}
            self._local_limits.clear()
        if standing.override is not None:
            override = standing.override_in_force(now_us)
            if override is not None and override.allow:
                return TakeResult(standing, True, False, None, (), now_us)
        limits, given = request.class_limits, None
        if self._leases is not None:
            limits, given = self._with_leases(self._leases, request)
        left = self._local_limits.get(limits) or self._learn(limits)
        account, ip, device = request.account, request.ip, request.device
        closed = left.closed_for(limits.buckets_of(account, ip, device)) if left.closed else None
        if closed is None:
            refusal, shadow = self._local.take(left.limits.buckets_of(account, ip, device), request.size, now_us)
        else:
            refusal, shadow = Refusal(closed, CLOSED_RETRY_US), ()
        charged = refusal is None
        if given is not None and self._leases is not None:
            self._leases.settle(given, was_used=charged)
        return TakeResult(standing, charged, False, refusal, shadow, now_us)

    @staticmethod
    def _with_leases(leases: Leases[Given], request: TakeRequest) -> tuple[ClassLimits, Given | None]:
        """The limits on what does not come from the leases, and what they give now."""
        rest = leases.rest_of(request.attempt)
        if rest is not None:
            return rest, None
        given = leases.give(request)
        return (request.class_limits, None) if given is None else given

    def _learn(self, limits: ClassLimits) -> _LocalLimits:
        """What is left of the limits of a class. Limits of an entity that are all local stay the same object."""
        if len(self._local_limits) >= MOST_CLASSES:
            self._local_limits.clear()
        closed: dict[EntityLimits, str] = {}

        def local_of(whole: EntityLimits | None) -> EntityLimits | None:
            if whole is None:
                return None
            modes = [(limit, self._modes[limit.reserve_of or limit.name]) for limit in whole.limits]
            for limit, mode in modes:
                if mode is OnStoreError.CLOSED and not limit.shadow:
                    closed.setdefault(whole, limit.reserve_of or limit.name)
            local = tuple(limit for limit, mode in modes if mode is OnStoreError.LOCAL)
            return whole if len(local) == len(modes) else EntityLimits(local) if local else None

        shared = [(each.entity, local_of(each.limits)) for each in limits.shared]
        left = copy_with(
            limits,
            account=local_of(limits.account),
            ip=local_of(limits.ip),
            device=local_of(limits.device),
            shared=tuple(EntityBuckets(entity, local) for entity, local in shared if local is not None),
        )
        self._local_limits[limits] = found = _LocalLimits(left, closed)
        return found


@dataclass(frozen=True, slots=True)
class _LocalLimits:
    """Of the limits of a class those that are local, and the first closed one of each entity that has one."""

    limits: ClassLimits
    closed: Mapping[EntityLimits, str]

    def closed_for(self, buckets: Sequence[EntityBuckets]) -> str | None:
        """The name of the closed limit that refuses an upload from these buckets; None if none does."""
        return next((self.closed[each.limits] for each in buckets if each.limits in self.closed), None)
