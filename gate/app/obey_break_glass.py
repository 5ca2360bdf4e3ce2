"""Obeys the break-glass file of this host: its pauses are in force within a second and override everything else.

A file that cannot be read changes nothing. If an entry cannot be read, the earlier entries stay in force, so that a
typing error never ends a pause. The log says which entries are obeyed and which are not. A disk that hangs holds up no check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gate.app.board_in_force import BoardInForce
from gate.core.pause.entry import Pause
from gate.errors import StateUnreadable
from gate.ports.clock import Clock
from gate.records.break_glass_document import BreakGlass
from gate.stores.disk.break_glass import BreakGlassFile

LOOK_WITHIN_S: Final = 1.0

_Look = BreakGlass | OSError | StateUnreadable | None


class ObeyBreakGlass:
    """Reads `file` at each call of `read` or `read_beside`. `unreadable` counts the files and entries that it could not read."""

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
        self._looking: asyncio.Future[_Look] | None = None
        self._hangs = False

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the file is not obeyed, in whole or in part; empty where it is."""
        if self._hangs:
            return (f"{self._place} cannot be read, its last good state is kept: the disk does not answer",)
        if self._problem is not None:
            return (f"{self._place} cannot be read, its last good state is kept: {self._problem}",)
        return tuple(f"{self._place}: this gate does not obey {entry}" for entry in self._refused)

    def read(self) -> None:
        """Read the file if it has changed, and obey it. Never raises. The caller waits for the disk."""
        self._take(self._look())

    async def read_beside(self) -> None:
        """`read` in a thread, so that checks go on. If the disk takes longer than LOOK_WITHIN_S, the next call waits again."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look))
        await asyncio.wait((self._looking,), timeout=LOOK_WITHIN_S)
        if not self._looking.done():
            if not self._hangs:
                self._hangs = True
                self._unreadable(1)
                self._say(*self.problems)
            return
        ended, self._looking, self._hangs = self._looking, None, False
        self._take(ended.result())

    def _look(self) -> _Look:
        try:
            return self._file.changed()
        except (OSError, StateUnreadable) as error:
            return error

    def _take(self, read: _Look) -> None:
        if isinstance(read, BreakGlass):
            self._problem = None
            self._obey(read)
        elif read is not None and str(read) != self._problem:
            self._problem = str(read)
            self._unreadable(1)
            self._say(*self.problems)

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
