"""Draws the live terminal view: uploads per second by decision, scores, lag, pauses, parts. `sample` reads the values.

The view fits its terminal. In a small terminal it leaves out the least important lines first, and pauses last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap

from rich.text import Text

from gate.core.duration import left_text
from gate.core.pause.entry import Pause
from gate.core.pause.wording import effect_of, narrowing, pause_counts
from gate.core.terminal import terminal_safe
from gate.local.sample import Snapshot
from gate.local.totals import RunningTotals

VERDICTS = ("allow", "review", "throttle", "challenge", "deny", "paused")
COLOURS = {
    "allow": "green", "review": "cyan", "throttle": "yellow", "challenge": "magenta", "deny": "red", "paused": "bold red",
}  # fmt: skip
WINDOW_US = 5_000_000
STILL_US = 4_000_000
"""If no score is made for so long although uploads come, the worker is stuck or Kafka does not answer."""
MESSAGES = 3
BESIDE = 5
"""Rows that the other parts of the view keep beside a long list of pauses, which is then shown in short form."""
CELL = 40
"""A screen of 80 columns shows two figures a line."""
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

    @property
    def stands_still(self) -> bool:
        """True where uploads came through the whole window, records wait, and nothing was scored."""
        pair = self._pair()
        if pair is None or pair[1].at_us - pair[0].at_us < STILL_US or not pair[1].lag:
            return False
        return self.score_rate() == 0 and any(self.decision_rates().values())

    def store_error_rate(self) -> float:
        """Failed calls of Redis per second over the window."""
        pair = self._pair()
        if pair is None:
            return 0.0
        return max(0.0, pair[1].store_errors - pair[0].store_errors) / (pair[1].at_us - pair[0].at_us) * 1e6

    def token_refusal_rate(self) -> float:
        """Requests per second over the window that the gate answered with 401."""
        pair = self._pair()
        if pair is None or pair[1].decisions is None:
            return 0.0
        return max(0.0, pair[1].without_token - pair[0].without_token) / (pair[1].at_us - pair[0].at_us) * 1e6

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
    uploads = " ".join(f"{name} {rates[name]:.1f}" for name in VERDICTS if rates.get(name)) or "none"
    lag = "?" if last.lag is None else f"{last.lag:.0f}"
    score = history.score_rate()
    pauses = ", ".join(f"{pause.id} ({pause.scope})" for pause in _in_force(last)) or "none"
    parts = [
        f"uploads/s {history.span_text}: {'?' if last.decisions is None else uploads}",
        f"scores/s: {'?' if score is None else f'{score:.1f}'}",
        f"lag: {lag}",
        f"pauses: {'unknown' if last.board is None else pauses}",
    ]
    if last.decisions is None:
        parts.append("the gate does not answer")
    if not last.redis_answers:
        parts.append("Redis does not answer")
    if last.has_worker and (trouble := _no_scores(history, last)):
        parts.append(trouble)
    if history.token_refusal_rate():
        parts.append(f"401 without a valid token: {history.token_refusal_rate():.1f} requests/s")
    if last.policy_refused:
        parts.append("the policy file has mistakes, and the last good one stays in force")
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
    give_token: str = "",
) -> Text:
    """The whole screen, at most as large as `size` (columns, rows). `status` is the command that shows every pause.

    `give_token` is the command that gives the traffic of `up` itself a token, empty if there is no such traffic.
    """
    width, height = size[0], max(size[1] - 1, 1)  # the cursor stands on a line of its own
    alarms = _alarms(history, down, (status, give_token), width)
    others = [
        *_uploads(history),
        *_streams(history, width),
        *_addresses(addresses, width),
        *(_Line(4, Text(terminal_safe(said), style="yellow")) for said in messages[-MESSAGES:]),
        _Line(BESIDE, Text("Ctrl-C stops everything", style="dim")),
    ]
    beside = height - len(alarms) - sum(other.matters >= BESIDE for other in others)
    pauses = _pauses(history.last, width, (max(beside, 2), max(height - len(alarms) - 2, 1)), status)
    kept = _fitting([*alarms, *pauses, *others], height)
    for shown in kept:
        shown.text.truncate(width, overflow="ellipsis")
    return Text("\n").join(shown.text for shown in kept)


def time_left(seconds: int) -> str:
    """How long a pause still lasts, such as `9m 12s left` or `3h 58m left`."""
    return f"{left_text(seconds * 1_000_000)} left"


def _fitting(lines: list[_Line], height: int) -> list[_Line]:
    """The most important lines that fit, in their order."""
    by_weight = sorted(range(len(lines)), key=lambda at: (-lines[at].matters, at))
    return [lines[at] for at in sorted(by_weight[:height])]


def _alarms(history: History, down: Sequence[str], commands: tuple[str, str], width: int) -> list[_Line]:
    """One sentence for each part that does not run, does not answer or is refused, with its remedy."""
    last, (status, give_token) = history.last, commands
    said = [f"not running: {', '.join(down)}"] if down else []
    if last is not None:
        if last.decisions is None:
            said.append("the gate does not answer")
        if not last.redis_answers:
            said.append("Redis does not answer: known pauses hold, scores and shared limits do not count")
        if last.has_worker and (trouble := _no_scores(history, last)):
            said.append(trouble)
        if last.policy_refused:
            said.append(f"the policy file has mistakes, and the last good one stays in force: `{status}` names them")
        said += _without_token(history, give_token)
    rows = [row for sentence in said for row in wrap(terminal_safe(sentence), width, subsequent_indent=GAP)]
    return [_Line(9, Text(row, style="bold red")) for row in rows]


def _no_scores(history: History, last: Snapshot) -> str:
    """Why no account is scored now; empty if nothing keeps the worker from it."""
    if last.events is None:
        return "the worker does not answer: scores age"
    if not last.kafka_answers:
        return "Kafka does not answer: scores age, and events wait"
    if history.stands_still:
        return "uploads come and none is scored: Kafka does not answer, or the worker is stuck; scores age"
    return ""


def _without_token(history: History, give_token: str) -> list[str]:
    """Says that the gate answers 401, and how the traffic of `up` gets a token if the gate refuses this traffic."""
    refused = history.token_refusal_rate()
    if not refused:
        return []
    if give_token and not any(history.decision_rates().values()):
        return [f"the gate refuses the simulated traffic (401), which has no valid token. Give it one: {give_token}"]
    return [f"the gate answers {refused:.1f} requests per second with 401: they carry no valid token"]


def _pauses(last: Snapshot | None, width: int, rooms: tuple[int, int], status: str) -> list[_Line]:
    """The pauses in force, one a line if that leaves room for the rest of the screen, else in short form.

    `rooms` are the rows beside everything that matters, and those of the whole screen.
    """
    if last is None or last.board is None:
        return [_Line(8, Text("pauses: unknown, the gate's admin port does not answer", style="bold red"))]
    pauses = _in_force(last)
    head = Text(GAP.join(pause_counts(last.board, last.at_us, last.board_rev)), style="bold" if pauses else "dim")
    beside, whole = rooms
    if len(pauses) + 1 <= beside:
        rows = [_pause_line(pause, last.at_us, pause.id in last.board.lifted) for pause in pauses]
    else:
        rows = _pause_columns(pauses, last.at_us, width, (beside - 1, whole - 1), status)
    return [_Line(8, head), *(_Line(8, row) for row in rows)]


def _pause_line(pause: Pause, now_us: int, lifted: bool) -> Text:
    said = terminal_safe(f"{pause.reason}: {pause.text}" if pause.text else pause.reason)
    effect = effect_of(pause.action, pause.factor, pause.mode)
    scope = [str(pause.scope), *narrowing(pause.percent, pause.exempt)]
    fields = [*(["LIFTED on this host"] if lifted else []), effect, _left(pause, now_us), *scope, pause.owner, said]
    return Text.assemble((GAP + terminal_safe(pause.id), "bold red"), GAP, GAP.join(map(terminal_safe, fields)))


def _pause_columns(pauses: Sequence[Pause], now_us: int, width: int, rooms: tuple[int, int], status: str) -> list[Text]:
    """Every pause in short form, several per line, by its id alone if necessary. Pauses without room are counted."""
    in_short = [f"{pause.id} {_left(pause, now_us)} {pause.scope}" for pause in pauses]
    forms = (_columns(in_short, width), _columns([pause.id for pause in pauses], width))
    fits = ((rows, room) for rows, room in ((forms[0], rooms[0]), (forms[1], rooms[0]), (forms[0], rooms[1])))
    rows = next((rows for rows, room in fits if len(rows) <= room), forms[1])
    room = rooms[1]
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


def _streams(history: History, width: int) -> list[_Line]:
    last = history.last
    if last is None:
        return []
    lines: list[_Line] = []
    if last.events is not None:
        score = history.score_rate()
        shown = "?" if score is None else f"{score:.1f}"
        lines += _two_a_line(6, width, (
            (f"scores per second {history.span_text}", shown, ""),
            ("lag, records behind", "?" if last.lag is None else f"{last.lag:,.0f}", ""),
        ))  # fmt: skip
        lines += _two_a_line(6 if last.dead_letters else 4, width, (
            ("events folded", f"{last.events:,.0f}", ""),
            ("dead letters", f"{last.dead_letters:,.0f}", "red" if last.dead_letters else ""),
        ))  # fmt: skip
    by_stage = ", ".join(f"{stage} {count:,.0f}" for stage, count in sorted(last.stages.items()))
    lines += _two_a_line(3, width, (("decided by stage", by_stage or "-", ""),))
    if last.store_errors:
        rate = history.store_error_rate()
        said = f"{rate:.1f} per second {history.span_text}, {last.store_errors:,.0f} in all"
        lines += _two_a_line(6, width, (("store errors", said, "red" if rate else ""),))
    return lines


def _two_a_line(matters: int, width: int, figures: Sequence[tuple[str, str, str]]) -> list[_Line]:
    """Figures as (name, value, style), side by side where the terminal is wide enough."""
    cells = [Text.assemble(f"{name:<27}", (terminal_safe(value), style)) for name, value, style in figures]
    if len(cells) < 2 or width < 2 * CELL or cells[0].cell_len >= CELL:
        return [_Line(matters, cell) for cell in cells]
    cells[0].pad_right(CELL - cells[0].cell_len)
    return [_Line(matters, Text.assemble(*cells))]


def _addresses(addresses: Sequence[tuple[str, str]], width: int) -> list[_Line]:
    """The addresses, the first as the most important; short ones and those of one name share a line."""
    cells = [
        f"{name:<9}{terminal_safe(GAP.join(address for _, address in group))}"
        for name, group in groupby(addresses, key=lambda pair: pair[0])
    ]
    rows: list[str] = []
    for cell in cells:
        if rows and len(rows[-1]) < CELL + len(GAP) and max(len(rows[-1]) + 2, CELL + 2) + len(cell) <= width:
            rows[-1] = f"{rows[-1]:<{CELL}}{GAP}{cell}"
        else:
            rows.append(cell)
    return [_Line(BESIDE if number == 0 else 3, Text(row)) for number, row in enumerate(rows)]


def _in_force(last: Snapshot) -> list[Pause]:
    if last.board is None:
        return []
    glass = [pause for pause in last.board.break_glass if pause.active(last.at_us)]
    return glass + last.board.active(last.at_us)


def _left(pause: Pause, now_us: int) -> str:
    return time_left(max(0, pause.expires_at_us - now_us) // 1_000_000)
