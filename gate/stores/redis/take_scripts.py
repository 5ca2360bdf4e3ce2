"""The scripts that a gate's takes need: one for the classes of its policy, and one for those whose shared buckets are leased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from gate.core.limits.take import ClassLimits, TakeRequest
from gate.stores.redis.unrolled import Unrolled

MOST_CLASSES: Final = 48
"""Classes that one script has at most; with more, those of the batch alone are written."""


class Scripts:
    """The script for the classes that are expected, kept until a batch brings others."""

    def __init__(self) -> None:
        self._known = Unrolled(())

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Write the script for these classes and those known before."""
        others = [each for each in classes if each not in self._known.numbers]
        if others:
            before = self._known.classes if len(self._known.classes) + len(others) <= MOST_CLASSES else ()
            self._known = Unrolled((*before, *others))

    def of(self, requests: Sequence[TakeRequest]) -> Unrolled:
        """A script that has the class of each request."""
        numbers = self._known.numbers
        for request in requests:
            if request.class_limits not in numbers:
                needed = list(dict.fromkeys(each.class_limits for each in requests))
                self.expect(needed)
                if any(each not in self._known.numbers for each in needed):
                    self._known = Unrolled(tuple(needed))
                break
        return self._known


class ScriptPart(NamedTuple):
    """The requests of a batch that share a script; whether their gate takes from leases in place of shared buckets."""

    leased: bool
    requests: Sequence[TakeRequest]
    unrolled: Unrolled


class ScriptPair:
    """A script for classes with leases and one for those without. The first reads no shared bucket."""

    def __init__(self) -> None:
        self._scripts = {False: Scripts(), True: Scripts()}
        self.described: dict[bool, Unrolled] = {}
        """The scripts whose tags the server keeps, by whether they are for classes with leases."""

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Write the scripts for these classes and those known before."""
        for leased, scripts in self._scripts.items():
            scripts.expect([each for each in classes if bool(each.leased) is leased])

    def parts_of(self, requests: Sequence[TakeRequest]) -> list[ScriptPart]:
        """The requests by their script; nearly always all have the same."""
        leases = [bool(request.class_limits.leased) for request in requests]
        if all(leases) or not any(leases):
            return [ScriptPart(leases[0], requests, self._scripts[leases[0]].of(requests))]
        parts = []
        for leased, scripts in self._scripts.items():
            some = [request for request, each in zip(requests, leases, strict=True) if each is leased]
            parts.append(ScriptPart(leased, some, scripts.of(some)))
        return parts
