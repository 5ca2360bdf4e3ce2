"""Totals that go on over the restarts of a process, whose own counters begin at zero again."""

from __future__ import annotations

from dataclasses import replace

from gate.local.sample import Snapshot


class RunningTotals:
    """Adds to each counter what it had reached when its process was started again."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._before: dict[str, float] = {}

    def of(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with its totals counted on. Parts that do not answer say nothing, and so change nothing."""
        if snapshot.decisions is not None:
            snapshot = replace(
                snapshot,
                decisions=self._dict("decision", snapshot.decisions),
                stages=self._dict("stage", snapshot.stages),
                store_errors=self._on("store_errors", snapshot.store_errors),
                without_token=self._on("without_token", snapshot.without_token),
            )
        if snapshot.scores is not None:
            snapshot = replace(
                snapshot,
                scores=self._on("scores", snapshot.scores),
                events=None if snapshot.events is None else self._on("events", snapshot.events),
                dead_letters=self._on("dead_letters", snapshot.dead_letters),
            )
        return snapshot

    def _dict(self, kind: str, counted: dict[str, float]) -> dict[str, float]:
        # a label that a new process has not counted yet is absent from its page
        known = {name.partition(" ")[2] for name in self._last if name.startswith(f"{kind} ")}
        return {label: self._on(f"{kind} {label}", counted.get(label, 0.0)) for label in sorted(counted.keys() | known)}

    def _on(self, name: str, value: float) -> float:
        last = self._last.get(name, 0.0)
        if value < last:
            self._before[name] = self._before.get(name, 0.0) + last
        self._last[name] = value
        return self._before.get(name, 0.0) + value
