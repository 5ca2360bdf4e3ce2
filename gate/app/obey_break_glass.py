"""Obeys the break-glass file of this host: its pauses are in force within a second and override everything else.

A file that cannot be read changes nothing. If an entry cannot be read, the earlier entries stay in force, so that a
typing error never ends a pause. The log says which entries are obeyed and which are not.
"""

from __future__ import annotations

from collections.abc import Callable

from gate.app.board_in_force import BoardInForce
from gate.core.pause.entry import Pause
from gate.errors import StateUnreadable
from gate.ports.clock import Clock
from gate.records.break_glass_document import BreakGlass
from gate.stores.disk.break_glass import BreakGlassFile


class ObeyBreakGlass:
    """Reads `file` at each call of `read`. `unreadable` counts the files and entries that it could not read."""

    def __init__(
        self,
        file: BreakGlassFile,
        in_force: BoardInForce,
        clock: Clock,
        say: Callable[[str], None],
        unreadable: Callable[[int], None],
    ) -> None:
        self._file = file
        self._in_force = in_force
        self._clock = clock
        self._say = say
        self._unreadable = unreadable
        self._problem: str | None = None
        self._refused: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the file is not obeyed, in whole or in part; empty where it is."""
        if self._problem is not None:
            return (f"{self._place} cannot be read, its last good state is kept: {self._problem}",)
        return tuple(f"{self._place}: this gate does not obey {entry}" for entry in self._refused)

    def read(self) -> None:
        """Read the file if it has changed, and obey it. Never raises."""
        try:
            read = self._file.changed()
        except (OSError, StateUnreadable) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                self._unreadable(1)
                self._say(*self.problems)
            return
        if read is not None:
            self._problem = None
            self._obey(read)

    @property
    def _place(self) -> str:
        return f"break-glass file {self._file.path}"

    def _obey(self, read: BreakGlass) -> None:
        pauses = read.pauses
        self._refused = read.refused
        if read.refused:
            self._unreadable(len(read.refused))
            named = {pause.id for pause in pauses}
            pauses += tuple(pause for pause in self._in_force.board.break_glass if pause.id not in named)
            self._say(f"{self._place} has entries that cannot be read: {'; '.join(read.refused)}")
        self._in_force.adopt_break_glass(pauses, read.releases)
        if read.releases:
            self._say(f"{self._place} lifts {', '.join(sorted(read.releases))}: this gate does not obey them")
        if not pauses and not read.releases:
            self._say(f"{self._place} is removed or empty: no pause of it is in force")
        elif pauses:
            self._say(f"{self._place}: {_in_force(pauses, self._clock.now_us())}")


def _in_force(pauses: tuple[Pause, ...], now_us: int) -> str:
    active = [f"{pause.id} ({pause.action.value} {pause.scope})" for pause in pauses if pause.active(now_us)]
    others = len(pauses) - len(active)
    rest = f"; {others} of {len(pauses)} entries are over or have not begun" if others else ""
    return f"this gate obeys above all else: {', '.join(active) or 'NOTHING'}{rest}"
