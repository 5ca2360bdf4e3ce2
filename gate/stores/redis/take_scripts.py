"""The scripts that a gate's takes need: for the classes of its policy, and for those whose shared buckets are leased.

A script has a branch for each class, and what Lua can jump over is bounded. So a policy with many classes and media kinds has
several scripts, and a batch that needs more than one has a call for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gate.core.limits.take import ClassLimits, TakeRequest
from gate.stores.redis.unrolled import Unrolled

MOST_CLASSES: Final = 48
"""Classes that one script has at most."""
MOST_LINES: Final = 12_000
"""Lines that a script of several classes has at most. Lua compiles about four times as many."""


class Scripts:
    """The scripts for the classes that are expected, those for the classes before, and one for further ones that batches brought.

    Each gate of a policy writes the same scripts, whatever it had before, so that the server compiles them once. `always` are
    classes that are expected with any others.
    """

    def __init__(self, always: Sequence[ClassLimits] = ()) -> None:
        self._always = tuple(always)
        self._expected: Sequence[Unrolled] = ()
        self._before: Sequence[Unrolled] = ()
        self._further: Sequence[Unrolled] = ()
        self._script_of: dict[ClassLimits, Unrolled] = {}

    @property
    def all(self) -> Sequence[Unrolled]:
        """The scripts that are kept."""
        return (*self._before, *self._further, *self._expected)

    def expect(self, classes: Iterable[ClassLimits]) -> None:
        """Write the scripts for these classes. Those of the classes before are kept for checks that are under way."""
        wanted = dict.fromkeys(classes)
        if not wanted.keys() <= self._script_of.keys():
            self._before, self._further = self._expected, ()
            self._expected = _written((*self._always, *wanted))
            self._script_of = {limits: script for script in self.all for limits in script.classes}

    def of(self, limits: ClassLimits, batch: Iterable[ClassLimits]) -> Unrolled:
        """The script that has the class. `batch` are all classes that are needed with it."""
        found = self._script_of.get(limits)
        if found is None:
            self._learn([each for each in dict.fromkeys(batch) if each not in self._script_of])
            found = self._script_of[limits]
        return found

    def _learn(self, unknown: Sequence[ClassLimits]) -> None:
        before = [each for script in self._further for each in script.classes]
        self._further = _written((*before, *unknown) if len(before) + len(unknown) <= MOST_CLASSES else tuple(unknown))
        self._script_of = {limits: script for script in self.all for limits in script.classes}


def _written(classes: tuple[ClassLimits, ...]) -> list[Unrolled]:
    """Scripts that have all the classes; the same for each gate of a policy, so that the server keeps them once."""
    script = Unrolled(classes) if len(classes) <= MOST_CLASSES else None
    if script is not None and (len(classes) == 1 or script.script.source.count(b"\n") < MOST_LINES):
        return [script]
    half = (len(classes) + 1) // 2
    return [*_written(classes[:half]), *_written(classes[half:])]


class ScriptPart(NamedTuple):
    """The requests of a batch that share a script, and their numbers in the batch."""

    unrolled: Unrolled
    requests: Sequence[TakeRequest]
    numbers: Sequence[int]


class ScriptPair:
    """Scripts for classes with leases and others for those without. The first read no shared bucket. `always` have no leases."""

    def __init__(self, always: Sequence[ClassLimits] = ()) -> None:
        self._scripts = {False: Scripts(always), True: Scripts()}
        self.described: Sequence[Unrolled] = ()
        """The scripts whose tags the server keeps."""

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Write the scripts for these classes."""
        for leased, scripts in self._scripts.items():
            scripts.expect([each for each in classes if bool(each.leased) is leased])

    def note_described(self, unrolled: Unrolled) -> None:
        """Note that the server keeps the tags of a script. Those of earlier policies are forgotten."""
        kept = [script for scripts in self._scripts.values() for script in scripts.all]
        self.described = [*(each for each in self.described if any(each is one for one in kept)), unrolled]

    def parts_of(self, requests: Sequence[TakeRequest]) -> list[ScriptPart]:
        """The requests by their script; nearly always all have the same."""
        classes = {
            leased: [r.class_limits for r in requests if bool(r.class_limits.leased) is leased]
            for leased in (False, True)
        }
        found: dict[int, tuple[Unrolled, list[int]]] = {}
        for n, request in enumerate(requests):
            leased = bool(request.class_limits.leased)
            unrolled = self._scripts[leased].of(request.class_limits, classes[leased])
            found.setdefault(id(unrolled), (unrolled, []))[1].append(n)
        return [ScriptPart(unrolled, [requests[n] for n in numbers], numbers) for unrolled, numbers in found.values()]
