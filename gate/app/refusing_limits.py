"""The limits of classes as they are while a pause refuses from some risk on: the store then takes nothing from it on."""

from __future__ import annotations

from dataclasses import replace as copy_with

from msgspec.structs import replace

from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.policy import Policy


class RefusingLimits:
    """Returns the same object for the same limits, because the limits of a class are compared by identity."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, float], tuple[ClassLimits, ClassLimits]] = {}

    def clear(self) -> None:
        """Forget all, as the policy or the pauses have changed."""
        self._known.clear()

    def of(self, limits: ClassLimits, risk: float) -> ClassLimits:
        """The limits under which the store takes nothing from `risk` on."""
        if limits.refuse_at is not None and limits.refuse_at <= risk:
            return limits
        found = self._known.get((id(limits), risk))
        if found is None:
            # the original is kept beside the copy, so that its id stays its own
            found = self._known[id(limits), risk] = limits, copy_with(limits, refuse_at=risk)
        return found[1]

    def by_override(self, policy: Policy, request: TakeRequest, limits_class: str) -> TakeRequest:
        """The request with the limits that a staff override gives, and refused from the same risk on as before."""
        given, risk = policy.with_limits_of(request, limits_class), request.class_limits.refuse_at
        return given if risk is None else replace(given, class_limits=self.of(given.class_limits, risk))
