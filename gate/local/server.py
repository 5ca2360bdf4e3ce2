"""The base class of embedded servers on 127.0.0.1: it starts, watches and ends them.

`kafka` and `redis` define the command line and the readiness check.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from gate.errors import LocalServerError
from gate.local.free_port import is_free
from gate.local.process import Child, await_ready, end_leftover


class LocalServer:
    """A server with its data in `home`. Its calls block; use it from any thread, one at a time."""

    name: ClassVar[str]
    """Its name on screen, and the name of its log and pid file."""
    title: ClassVar[str]
    """Its name in a sentence."""
    stop_within_s: ClassVar[float]
    """Seconds between SIGTERM and SIGKILL."""

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
        """End it after it has written its data, so that the next start skips the check. Nothing if it does not run."""
        if self._child is not None:
            self._child.stop(self.stop_within_s)

    def kill(self) -> None:
        """End it with SIGKILL, like a crash."""
        if self._child is not None:
            self._child.kill()

    def _clear_the_way(self) -> None:
        """End the leftover server of an earlier run. Raises LocalServerError if this server runs already, its port is
        taken, or its data is in use."""
        if self.pid is not None:
            raise LocalServerError(f"{self.title} runs already (pid {self.pid})")
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
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
