"""Decides takes while the account store does not answer, by `on_store_error` of each limit.

`local` limits take from buckets of this process, `open` limits let in, `closed` limits refuse for some seconds.
`gate.app.check` still applies the pauses, the deny list, and the last score and override that the gate knows of the
account.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityBuckets, EntityLimits
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.policy import OnStoreError, Policy
from gate.core.standing import Standing

CLOSED_RETRY_US: Final = 5_000_000
"""The retry-after of a limit that refuses because the store is away."""


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

    def give(self, request: TakeRequest) -> tuple[TakeRequest, Given] | None:
        """Tokens for the upload, and the request for what remains to be taken; None where the leases do not have them."""
        ...

    def settle(self, given: Given, *, was_used: bool) -> None:
        """Note that the upload has used what it was given, or that it has not."""
        ...

    def rest_of(self, request: TakeRequest) -> TakeRequest | None:
        """The request for the store alone, of a check that failed after it got tokens from leases; None if it got none."""
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
        self._kept: dict[EntityLimits, str | EntityLimits | None] = {}

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
            self._kept.clear()
        if standing.override is not None:
            override = standing.override_in_force(now_us)
            if override is not None and override.allow:
                return TakeResult(standing, True, False, None, (), now_us)
        request, given = (request, None) if self._leases is None else self._with_leases(self._leases, request)
        closed, local, known = None, request.buckets, self._kept
        for buckets in local:
            limits = buckets.limits
            if known.get(limits) is not limits:
                closed, local = self._split(local)
                break
        if closed is None:
            refusal, shadow = self._local.take(local, request.size, now_us)
        else:
            refusal, shadow = Refusal(closed, CLOSED_RETRY_US), ()
        charged = refusal is None
        if given is not None and self._leases is not None:
            self._leases.settle(given, was_used=charged)
        return TakeResult(standing, charged, False, refusal, shadow, now_us)

    @staticmethod
    def _with_leases(leases: Leases[Given], request: TakeRequest) -> tuple[TakeRequest, Given | None]:
        """The request for what does not come from the leases, and what they give now."""
        rest = leases.rest_of(request)
        if rest is not None:
            return rest, None
        given = leases.give(request)
        return (request, None) if given is None else given

    def _split(self, all_of_it: tuple[EntityBuckets, ...]) -> tuple[str | None, tuple[EntityBuckets, ...]]:
        """The name of a closed limit, if there is one; else the buckets of the local limits."""
        local: list[EntityBuckets] = []
        for buckets in all_of_it:
            limits = buckets.limits
            kept = self._kept[limits] if limits in self._kept else self._kept_of(limits)
            if kept is limits:
                local.append(buckets)
            elif isinstance(kept, str):
                return kept, ()
            elif kept is not None:
                local.append(EntityBuckets(buckets.entity, kept))
        return None, tuple(local)

    def _kept_of(self, limits: EntityLimits) -> str | EntityLimits | None:
        """The name of a closed limit, if there is one; else the local limits, None where there are none."""
        modes = [(limit, self._modes[limit.reserve_of or limit.name]) for limit in limits.limits]
        closed = (
            limit.reserve_of or limit.name for limit, mode in modes if mode is OnStoreError.CLOSED and not limit.shadow
        )
        local = tuple(limit for limit, mode in modes if mode is OnStoreError.LOCAL)
        some = (limits if len(local) == len(modes) else EntityLimits(local)) if local else None
        self._kept[limits] = kept = next(closed, some)
        return kept
