"""The live terminal view: uploads per second by decision, scores, lag, pauses, parts. Drawing only; `sample` reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gate.local.sample import Snapshot

VERDICTS = ("allow", "review", "throttle", "challenge", "deny", "paused")
COLOURS = {
    "allow": "green", "review": "cyan", "throttle": "yellow", "challenge": "magenta", "deny": "red", "paused": "bold red",
}  # fmt: skip
WINDOW_US = 5_000_000
MESSAGES = 6


class History:
    """The snapshots of the last seconds, and rates from them. A counter that fell (a part started again) counts as 0."""

    def __init__(self) -> None:
        self._seen: deque[Snapshot] = deque(maxlen=64)

    def add(self, snapshot: Snapshot) -> None:
        """Remember one more look."""
        self._seen.append(snapshot)
        while len(self._seen) > 2 and self._seen[0].at_us < snapshot.at_us - WINDOW_US:
            self._seen.popleft()

    @property
    def last(self) -> Snapshot | None:
        """The newest look."""
        return self._seen[-1] if self._seen else None

    def decision_rates(self) -> dict[str, float]:
        """Uploads per second by decision over the window."""
        pair = self._pair()
        if pair is None or pair[0].decisions is None or pair[1].decisions is None:
            return {}
        first, last = pair[0].decisions, pair[1].decisions
        span = (pair[1].at_us - pair[0].at_us) / 1e6
        return {name: max(0.0, last.get(name, 0.0) - first.get(name, 0.0)) / span for name in last}

    def score_rate(self) -> float | None:
        """Scores per second over the window."""
        pair = self._pair()
        if pair is None or pair[0].scores is None or pair[1].scores is None:
            return None
        return max(0.0, pair[1].scores - pair[0].scores) / (pair[1].at_us - pair[0].at_us) * 1e6

    def _pair(self) -> tuple[Snapshot, Snapshot] | None:
        if len(self._seen) < 2 or self._seen[-1].at_us <= self._seen[0].at_us:
            return None
        return self._seen[0], self._seen[-1]


def line(history: History, down: Sequence[str]) -> str:
    """The view as one line, for a terminal that cannot be redrawn and for log files."""
    last = history.last
    if last is None:
        return "waiting for the first figures"
    rates = history.decision_rates()
    uploads = " ".join(f"{name} {rates[name]:.1f}" for name in VERDICTS if rates.get(name))
    lag = "?" if last.lag is None else f"{last.lag:.0f}"
    score = history.score_rate()
    parts = [
        f"uploads/s: {uploads or 'none'}",
        f"scores/s: {'?' if score is None else f'{score:.1f}'}",
        f"lag: {lag}",
        f"pauses: {', '.join(f'{p.id} ({p.covers})' for p in last.pauses) or 'none'}",
    ]
    if down:
        parts.append(f"DOWN: {', '.join(down)}")
    return " · ".join(parts)


def draw(history: History, down: Sequence[str], addresses: Sequence[tuple[str, str]], messages: Sequence[str]) -> Group:
    """The whole screen."""
    return Group(
        Panel(_uploads(history), title="uploads per second, by decision", title_align="left"),
        Panel(_streams(history, down), title="scores", title_align="left"),
        Panel(_pauses(history.last), title="pauses", title_align="left"),
        Panel(_addresses(addresses), title="where everything is", title_align="left"),
        Text("\n".join(messages[-MESSAGES:]), style="yellow"),
        Text("Ctrl-C stops everything", style="dim"),
    )


def _uploads(history: History) -> Table:
    rates = history.decision_rates()
    totals = history.last.decisions if history.last is not None else None
    most = max(rates.values(), default=0.0) or 1.0
    table = Table.grid(padding=(0, 2))
    if totals is None:
        table.add_row(Text("the gate does not answer", style="bold red"))
        return table
    for name in VERDICTS:
        rate = rates.get(name, 0.0)
        bar = Text("█" * round(30 * rate / most), style=COLOURS[name])
        table.add_row(Text(name, style=COLOURS[name]), f"{rate:7.1f}", bar, f"{totals.get(name, 0.0):,.0f} in all")
    return table


def _streams(history: History, down: Sequence[str]) -> Table:
    last = history.last
    table = Table.grid(padding=(0, 2))
    if down:
        table.add_row(Text(f"not running: {', '.join(down)}", style="bold red"))
    if last is None:
        return table
    score = history.score_rate()
    if last.events is None:
        table.add_row(Text("the worker does not answer: scores age", style="bold red"))
    else:
        table.add_row("scores per second", "?" if score is None else f"{score:.1f}")
        table.add_row("events folded", f"{last.events:,.0f}")
        table.add_row("lag, records behind", "?" if last.lag is None else f"{last.lag:,.0f}")
    table.add_row("dead letters", Text(f"{last.dead_letters:,.0f}", style="red" if last.dead_letters else ""))
    by_stage = ", ".join(f"{stage} {count:,.0f}" for stage, count in sorted(last.stages.items()))
    table.add_row("decided by stage", by_stage or "-")
    if last.store_errors:
        table.add_row("store errors", Text(f"{last.store_errors:,.0f}", style="red"))
    return table


def _pauses(last: Snapshot | None) -> Table:
    table = Table.grid(padding=(0, 2))
    if last is None or not last.pauses:
        table.add_row(Text("none", style="dim"))
        return table
    for pause in last.pauses:
        left = time_left(int(pause.seconds_left))
        said = f"{pause.reason}: {pause.text}"
        table.add_row(Text(pause.id, style="bold red"), pause.action, pause.covers, said, pause.owner, left)
    return table


def time_left(seconds: int) -> str:
    """How long a pause still lasts, such as `9m 12s left`."""
    return f"{seconds // 60}m {seconds % 60}s left" if seconds >= 60 else f"{seconds}s left"


def _addresses(addresses: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, address in addresses:
        table.add_row(name, address)
    return table
