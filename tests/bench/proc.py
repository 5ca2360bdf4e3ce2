"""What processes have used, from /proc: CPU seconds and memory, of a process and everything below it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.report import BenchError

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _UTIME, _CSTIME = 1, 11, 14  # places in /proc/PID/stat behind the name, which may itself hold blanks


def cpu_s(pid: int) -> float:
    """User and system CPU seconds of `pid`, of its children that live and of those it has waited for.

    Raises BenchError where it has ended: a crashed contender must not look cheap.
    """
    stats = _stats()
    if pid not in stats:
        raise BenchError(f"process {pid} has ended")
    ticks = sum(sum(map(int, stats[one][_UTIME : _CSTIME + 1])) for one in _tree(pid, stats))
    return ticks / _TICKS


def waited_s(pid: int) -> float:
    """Seconds for which the threads of `pid` could have run and had no core. Raises BenchError where it has ended."""
    try:
        threads = [(each / "schedstat").read_text().split() for each in Path(f"/proc/{pid}/task").iterdir()]
    except OSError as error:
        raise BenchError(f"process {pid} has ended") from error
    return sum(int(waited_ns) for _, waited_ns, _ in threads) / 1e9


def pss_mb(pid: int) -> float:
    """Memory in MB (10^6 bytes) of `pid` and all below it; pages that are shared count once among those who share."""
    return sum(_rollup(one, "Pss:") for one in _tree(pid, _stats())) * 1024 / 1e6


def tree(pid: int) -> list[int]:
    """`pid` and all living processes below it."""
    return _tree(pid, _stats())


def title(pid: int) -> str:
    """The start of its command line, for a line of progress."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return "(ended)"
    return " ".join([Path(words[0]).name, *(word for word in words[1:] if not word.startswith("-XX"))])[:60]


def _stats() -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            found[int(entry.name)] = text.rpartition(")")[2].split()
    return found


def _tree(root: int, stats: dict[int, list[str]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found


def _rollup(pid: int, key: str) -> int:
    """A line of /proc/PID/smaps_rollup in KiB; 0 for a process that ended meanwhile."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)
