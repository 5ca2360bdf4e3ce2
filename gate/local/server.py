"""One embedded server on 127.0.0.1: what starting, watching and ending it have in common, whatever runs inside.

Decides how a server is brought up and down. Leaves to `kafka` and `redis` what is run and when it is ready.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from gate.errors import LocalServerError
from gate.local.free_port import is_free
from gate.local.process import Child, await_ready, end_leftover


class LocalServer:
    """A server whose data lives in `home`. Blocking; usable from any thread, one at a time."""

    name: ClassVar[str]
    """What it is called on screen, and what its log and pid file are called."""
    title: ClassVar[str]
    """What it is called in a sentence."""
    stop_within_s: ClassVar[float]
    """How long it gets to end by itself, seconds."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home.absolute()
        self.port = port
        self._child: Child | None = None

    @property
    def log(self) -> Path:
        return self.home / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._child.pid if self._child is not None else None

    def poll(self) -> int | None:
        """The exit status once it has ended, None while it runs or before its first start."""
        return self._child.poll() if self._child is not None else None

    def stop(self) -> None:
        """End it with its data on disk, so that the next start need not check it. Nothing when it does not run."""
        if self._child is not None:
            self._child.stop(self.stop_within_s)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._child is not None:
            self._child.kill()

    def _clear_the_way(self) -> None:
        """End what an earlier run left behind. Raises LocalServerError where it runs already, the port is taken, or
        the data in use."""
        if self.pid is not None:
            raise LocalServerError(f"{self.title} runs already (pid {self.pid})")
        self.home.mkdir(parents=True, exist_ok=True)
        end_leftover(self._pid_file, str(self.home), self.title)
        if not is_free(self.port):
            raise LocalServerError(f"port {self.port} for {self.title} is taken: choose another one")

    def _run(self, child: str, argv: Sequence[str], ready: Callable[[], bool], within_s: float) -> None:
        """Start `argv`, called `child` in messages, and wait until `ready`. Raises LocalServerError with the log's end."""
        self._child = Child(child, argv, log=self.log, pid_file=self._pid_file)
        self._child.start()
        await_ready(self._child, ready, within_s)

    @property
    def _pid_file(self) -> Path:
        return self.home / f"{self.name}.pid"
