"""One child process: it runs in its own session, logs to a file, and ends with its parent, however the parent ends.

Decides how a child starts and ends. Callers decide when it is ready and what to do after it has ended.

A parent that is killed with SIGKILL runs no code, so the kernel has to end the children: each child requests a signal
at its parent's death. For the kernel the parent is the *thread* that forked, so each child is forked by a thread of its
own that lives exactly as long as the child. `start()` can therefore be called from any thread, which may end later.
Only Linux sends such a signal; on other systems the next start ends a leftover process by its pid file.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gate.errors import LocalServerError

LOG_ROTATE_BYTES = 4 << 20
STALE_GRACE_S = 5.0
_CALL = re.compile(r"\s+(?:at|\.\.\.) \S")
"""A line of a trace of Java, which follows the line that says what is wrong."""

# Run by a bare interpreter between fork and exec: `preexec_fn` may deadlock in a process that has threads.
# If the parent died before the child requested the signal, the child has another parent and ends itself.
_WRAPPER = """
import os, sys
signum, parent = int(sys.argv[1]), int(sys.argv[2])
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signum, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Child:
    """A child process. After it has ended, `start` starts a new one with the same arguments."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        pid_file: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """`argv[0]` is a program on PATH or a path. Output is appended to `log`. `env` replaces the environment.
        The kernel kills the child when this process ends."""
        self.name = name
        self.log = log
        self._argv = list(argv)
        self._pid_file = pid_file
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    @property
    def pid(self) -> int | None:
        """The process id while it runs, None before and after."""
        return self._process.pid if self._process is not None and self.poll() is None else None

    def start(self) -> None:
        """Start it. Raises LocalServerError if it runs already or the program does not exist."""
        if self.pid is not None:
            raise LocalServerError(f"{self.name} runs already (pid {self.pid})")
        program = shutil.which(self._argv[0])
        if program is None:
            raise LocalServerError(f"cannot start {self.name}: {self._argv[0]} is not there or not executable")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(self.log)
        self._ended = threading.Event()
        forked = _Forked()
        threading.Thread(
            target=self._own,
            args=(str(Path(program).absolute()), forked, self._ended),
            name=f"owns-{self.name}",
            daemon=True,
        ).start()
        self._process = forked.result()
        if self._pid_file is not None:
            with contextlib.suppress(OSError):  # on a full disk it runs without: a restart would find it running
                _write_pid_file(self._pid_file, self._process.pid)

    def _own(self, program: str, forked: "_Forked", ended: threading.Event) -> None:
        wrapped = [sys.executable, "-I", "-S", "-c", _WRAPPER, str(int(signal.SIGKILL)), str(os.getpid())]
        try:
            with self.log.open("ab") as out:
                process = subprocess.Popen(
                    [*wrapped, program, *self._argv[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                )
        except OSError as error:
            forked.fail(LocalServerError(f"cannot start {self.name}: {error}"))
            return
        forked.succeed(process)
        process.wait()
        ended.set()

    def poll(self) -> int | None:
        """The exit status once it has ended (minus the signal's number if a signal ended it), None while it runs or
        before it was started."""
        return self._process.poll() if self._process is not None else None

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end at most `timeout_s` seconds. Returns the exit status, or None if it still runs."""
        if self._process is not None:
            self._ended.wait(timeout_s)
        return self.poll()

    def stop(self, grace_s: float) -> int | None:
        """End it: SIGTERM, then after `grace_s` seconds SIGKILL to its whole session. Returns the exit status.
        Does nothing when it does not run."""
        self.signal(signal.SIGTERM)
        if self._process is not None and self.wait(grace_s) is None:
            return self.kill()
        self._forget()
        return self.poll()

    def kill(self) -> int | None:
        """End it and its own children at once, with SIGKILL. Does nothing if it does not run."""
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self._ended.wait()
        self._forget()
        return self.poll()

    def signal(self, signum: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP. Does nothing if it does not run."""
        if self._process is not None:
            self._process.send_signal(signum)  # polls first, so a reused pid is never hit

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log, indented, for an error message."""
        return tail(self.log, lines)

    def _forget(self) -> None:
        if self._pid_file is not None:
            _remove_pid_file(self._pid_file)


class _Forked:
    """The result of the forking thread for the thread that called `start`: the process, or the error."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._error: LocalServerError | None = None

    def succeed(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._done.set()

    def fail(self, error: LocalServerError) -> None:
        self._error = error
        self._done.set()

    def result(self) -> subprocess.Popen[bytes]:
        self._done.wait()
        if self._process is None:
            raise self._error or LocalServerError("the process did not start")
        return self._process


def tail(log: Path, lines: int = 12) -> str:
    """The last `lines` lines of a log file, indented by two, without the calls of Java's traces; empty if there is no file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    told = [line for line in text.splitlines() if not _CALL.match(line)]
    return "\n".join(f"  {line}" for line in told[-lines:])


def await_ready(child: Child, ready: Callable[[], bool], timeout_s: float) -> None:
    """Poll `ready` until it is true. Raises LocalServerError with the log's last lines if the child ends before, or
    if `timeout_s` seconds pass; then it also ends the child."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        status = child.wait(0.05)
        if status is not None:
            why = f"{child.name} ended while starting (exit status {status})"
        elif time.monotonic() > deadline:
            why = f"{child.name} gave no answer within {timeout_s:.0f} s"
        else:
            continue
        child.kill()
        raise LocalServerError(f"{why}; its log is {child.log}, last lines:\n{child.tail()}")


def end_leftover(pid_file: Path, marker: str, name: str) -> None:
    """End the process that `pid_file` names if its command line contains `marker` and its owner has ended.
    Raises LocalServerError if the owner still runs: then the process is in use."""
    noted = _noted(pid_file)
    if noted is None:
        return
    pid, owner, owner_born = noted
    if marker not in _command_line(pid):
        _remove_pid_file(pid_file)
        return
    if owner != os.getpid() and owner_born and _born(owner) == owner_born:
        raise LocalServerError(
            f"{name} in {pid_file.parent} is in use by process {owner}: stop that first, or use another state directory"
        )
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        deadline = time.monotonic() + STALE_GRACE_S
        while marker in _command_line(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
    _remove_pid_file(pid_file)


def _write_pid_file(path: Path, pid: int) -> None:
    """The pid alone, as `kill $(cat FILE)` takes it; the process that owns the child goes into a file beside it."""
    owner = os.getpid()
    _owner_file(path).write_text(json.dumps({"owner": owner, "owner_born": _born(owner)}))
    path.write_text(f"{pid}\n")


def _remove_pid_file(path: Path) -> None:
    path.unlink(missing_ok=True)
    _owner_file(path).unlink(missing_ok=True)


def _owner_file(pid_file: Path) -> Path:
    return pid_file.with_suffix(".owner")


def _noted(pid_file: Path) -> tuple[int, int, str] | None:
    """The child, its owner and when the owner was born; None if that cannot be read. An earlier release wrote all three
    into the pid file."""
    try:
        child = json.loads(pid_file.read_text())
        whole = child if isinstance(child, dict) else {"pid": child, **json.loads(_owner_file(pid_file).read_text())}
        return int(whole["pid"]), int(whole["owner"]), str(whole["owner_born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _command_line(pid: int) -> str:
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    return _ps(pid, "command=")


def _born(pid: int) -> str:
    """When a process started, in the system's own format; empty if there is no such process."""
    if sys.platform == "linux":
        try:
            # the second field is a name with arbitrary characters, so count from its closing bracket
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        except (OSError, IndexError):
            return ""
    return _ps(pid, "lstart=")


def _ps(pid: int, column: str) -> str:
    listed = subprocess.run(["ps", "-p", str(pid), "-o", column], capture_output=True, text=True, check=False)
    return listed.stdout.strip()


def _rotate(log: Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_ROTATE_BYTES:
            log.replace(log.with_name(log.name + ".1"))
