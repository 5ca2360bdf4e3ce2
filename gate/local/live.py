"""Draws the live terminal view: uploads per second by decision, scores, lag, pauses, parts. `sample` reads the values.

The view fits its terminal. In a small terminal it leaves out the least important lines first, and pauses last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text

from gate.core.pause.board import Pause
from gate.core.terminal import terminal_safe
from gate.local.sample import Snapshot
from gate.local.totals import RunningTotals

VERDICTS = ("allow", "review", "throttle", "challenge", "deny", "paused")
COLOURS = {
    "allow": "green", "review": "cyan", "throttle": "yellow", "challenge": "magenta", "deny": "red", "paused": "bold red",
}  # fmt: skip
WINDOW_US = 5_000_000
MESSAGES = 3
SCREEN = (80, 24)
GAP = "  "


class History:
    """The snapshots of the last seconds, and rates over them. Totals go on when a process was started again."""

    def __init__(self) -> None:
        self._snapshots: deque[Snapshot] = deque(maxlen=64)
        self._totals = RunningTotals()

    def add(self, snapshot: Snapshot) -> None:
        """Add one more snapshot."""
        self._snapshots.append(self._totals.of(snapshot))
        while len(self._snapshots) > 2 and self._snapshots[0].at_us < snapshot.at_us - WINDOW_US:
            self._snapshots.popleft()

    @property
    def last(self) -> Snapshot | None:
        """The newest snapshot."""
        return self._snapshots[-1] if self._snapshots else None

    @property
    def span_text(self) -> str:
        """The span over which rates are averaged, such as `over 5 s`."""
        pair = self._pair()
        return "over 0 s" if pair is None else f"over {(pair[1].at_us - pair[0].at_us) / 1e6:.0f} s"

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

    def store_error_rate(self) -> float:
        """Failed calls of Redis per second over the window."""
        pair = self._pair()
        if pair is None:
            return 0.0
        return max(0.0, pair[1].store_errors - pair[0].store_errors) / (pair[1].at_us - pair[0].at_us) * 1e6

    def _pair(self) -> tuple[Snapshot, Snapshot] | None:
        if len(self._snapshots) < 2 or self._snapshots[-1].at_us <= self._snapshots[0].at_us:
            return None
        return self._snapshots[0], self._snapshots[-1]


@dataclass(frozen=True, slots=True)
class _Line:
    """One line and its importance. Of two equally important lines the lower on the screen is left out first."""

    matters: int
    text: Text


def line(history: History, down: Sequence[str]) -> str:
    """The view as one line, for a terminal that cannot be redrawn and for log files."""
    last = history.last
    if last is None:
        return "waiting for the first figures"
    rates = history.decision_rates()
    uploads = " ".join(f"{name} {rates[name]:.1f}" for name in VERDICTS if rates.get(name))
    lag = "?" if last.lag is None else f"{last.lag:.0f}"
    score = history.score_rate()
    pauses = ", ".join(f"{pause.id} ({pause.scope})" for pause in _in_force(last)) or "none"
    parts = [
        f"uploads/s {history.span_text}: {uploads or 'none'}",
        f"scores/s: {'?' if score is None else f'{score:.1f}'}",
        f"lag: {lag}",
        f"pauses: {'unknown' if last.board is None else pauses}",
    ]
    if not last.redis_answers:
        parts.append("Redis does not answer")
    if down:
        parts.append(f"DOWN: {', '.join(down)}")
    return terminal_safe(" · ".join(parts))


def draw(
    history: History,
    down: Sequence[str],
    addresses: Sequence[tuple[str, str]],
    messages: Sequence[str],
    size: tuple[int, int] = SCREEN,
    status: str = "upload-gate status",
) -> Text:
    """The whole screen, at most as large as `size` (columns, rows). `status` is the command that shows every pause."""
    width, height = size[0], max(size[1] - 1, 1)  # the cursor stands on a line of its own
    lines = [
        *_parts(history.last, down),
        *_pauses(history.last, width, height, status),
        *_uploads(history),
        *_streams(history),
        *_addresses(addresses),
        *(_Line(3, Text(terminal_safe(said), style="yellow")) for said in messages[-MESSAGES:]),
        _Line(5, Text("Ctrl-C stops everything", style="dim")),
    ]
    kept = _fitting(lines, height)
    for shown in kept:
        shown.text.truncate(width, overflow="ellipsis")
    return Text("\n").join(shown.text for shown in kept)


def time_left(seconds: int) -> str:
    """How long a pause still lasts, such as `9m 12s left`."""
    return f"{seconds // 60}m {seconds % 60}s left" if seconds >= 60 else f"{seconds}s left"


def _fitting(lines: list[_Line], height: int) -> list[_Line]:
    """The most important lines that fit, in their order."""
    by_weight = sorted(range(len(lines)), key=lambda at: (-lines[at].matters, at))
    return [lines[at] for at in sorted(by_weight[:height])]


def _parts(last: Snapshot | None, down: Sequence[str]) -> list[_Line]:
    """A line on each part that does not run or does not answer."""
    said = [f"not running: {', '.join(down)}"] if down else []
    if last is not None:
        if last.decisions is None:
            said.append("the gate does not answer")
        if not last.redis_answers:
            said.append("Redis does not answer: known pauses hold, scores and shared limits do not count")
        if last.has_worker and last.events is None:
            said.append("the worker does not answer: scores age")
    return [_Line(9, Text(sentence, style="bold red")) for sentence in said]


def _pauses(last: Snapshot | None, width: int, height: int, status: str) -> list[_Line]:
    if last is None or last.board is None:
        return [_Line(8, Text("pauses: unknown, the gate's admin port does not answer", style="bold red"))]
    pauses = _in_force(last)
    if not pauses:
        return [_Line(8, Text("pauses: none", style="dim"))]
    room = max(height - 3, 1)
    if len(pauses) + 1 <= room:
        rows = [_pause_line(pause, last.at_us) for pause in pauses]
    else:
        rows = _pause_columns(pauses, last.at_us, width, room - 1, status)
    return [_Line(8, Text(f"pauses: {len(pauses)}", style="bold")), *(_Line(8, row) for row in rows)]


def _pause_line(pause: Pause, now_us: int) -> Text:
    said = terminal_safe(f"{pause.reason}: {pause.text}" if pause.text else pause.reason)
    fields = [pause.action.value, str(pause.scope), _left(pause, now_us), pause.owner, said]
    return Text.assemble((GAP + terminal_safe(pause.id), "bold red"), GAP, GAP.join(map(terminal_safe, fields)))


def _pause_columns(pauses: Sequence[Pause], now_us: int, width: int, room: int, status: str) -> list[Text]:
    """Every pause in short form, several per line, by its id alone if necessary. Pauses without room are counted."""
    in_short = [f"{pause.id} {_left(pause, now_us)} {pause.scope}" for pause in pauses]
    rows = _columns(in_short, width)
    if len(rows) > room:
        rows = _columns([pause.id for pause in pauses], width)
    if len(rows) > room:
        shown = sum(len(row) for row in rows[: room - 1])
        rows = [*rows[: room - 1], [f"and {len(pauses) - shown} more: see `{status}`"]]
    return [Text(GAP + GAP.join(row).rstrip(), style="red") for row in rows]


def _columns(cells: Sequence[str], width: int) -> list[list[str]]:
    """The cells in rows of equal columns. A cell wider than half of the width is cut."""
    inner = width - len(GAP)
    column = min(max(map(len, cells)), inner // 2 - len(GAP))
    across = max((inner + len(GAP)) // (column + len(GAP)), 1)
    padded = [terminal_safe(cell)[:column].ljust(column) for cell in cells]
    return [padded[at : at + across] for at in range(0, len(padded), across)]


def _uploads(history: History) -> list[_Line]:
    rates = history.decision_rates()
    totals = history.last.decisions if history.last is not None else None
    if totals is None:
        return []
    most = max(rates.values(), default=0.0) or 1.0
    lines = [_Line(7, Text(f"uploads per second by decision, {history.span_text}", style="bold"))]
    for name in VERDICTS:
        rate, total = rates.get(name, 0.0), totals.get(name, 0.0)
        bar = ("█" * round(24 * rate / most)).ljust(24)
        text = Text.assemble((f"{GAP}{name:<10}", COLOURS[name]), f"{rate:8.1f}  ", (bar, COLOURS[name]))
        lines.append(_Line(7 if total else 2, text.append(f"  {total:,.0f} in all")))
    return lines


def _streams(history: History) -> list[_Line]:
    last = history.last
    if last is None:
        return []
    rows: list[tuple[int, str, str, str]] = []
    if last.events is not None:
        score = history.score_rate()
        shown = "?" if score is None else f"{score:.1f}"
        rows.append((6, f"scores per second {history.span_text}", shown, ""))
        rows.append((6, "lag, records behind", "?" if last.lag is None else f"{last.lag:,.0f}", ""))
        rows.append((4, "events folded", f"{last.events:,.0f}", ""))
        rows.append(
            (
                6 if last.dead_letters else 4,
                "dead letters",
                f"{last.dead_letters:,.0f}",
                "red" if last.dead_letters else "",
            )
        )
    by_stage = ", ".join(f"{stage} {count:,.0f}" for stage, count in sorted(last.stages.items()))
    rows.append((3, "decided by stage", by_stage or "-", ""))
    if last.store_errors:
        rate = history.store_error_rate()
        rows.append(
            (6, "store errors", f"{rate:.1f} per second {history.span_text}, {last.store_errors:,.0f} in all", "red")
        )
    return [
        _Line(matters, Text.assemble(f"{name:<29}", (terminal_safe(value), style)))
        for matters, name, value, style in rows
    ]


def _addresses(addresses: Sequence[tuple[str, str]]) -> list[_Line]:
    """The addresses, the first as the most important. Addresses of one name share a line."""
    lines: list[_Line] = []
    for name, group in groupby(addresses, key=lambda pair: pair[0]):
        value = GAP.join(address for _, address in group)
        lines.append(_Line(5 if not lines else 3, Text(f"{name:<9}{terminal_safe(value)}")))
    return lines


def _in_force(last: Snapshot) -> list[Pause]:
    if last.board is None:
        return []
    glass = [pause for pause in last.board.break_glass if pause.active(last.at_us)]
    return glass + last.board.active(last.at_us)


def _left(pause: Pause, now_us: int) -> str:
    return time_left(max(0, pause.expires_at_us - now_us) // 1_000_000)
