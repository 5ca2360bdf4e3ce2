"""Measures costs and latencies, one group of figures after the other, and prints them beside their baselines.

It prints a table, or with `-o json` one JSON object and nothing else on stdout; progress goes to stderr. The exit status is 1
if a contender failed. A figure that misses its bar changes no status: the reader judges it. Nor does a contender that is not
installed here: its row says so.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence

from gate.errors import UploadGateError
from tests.bench import (
    board,
    checks,
    contenders,
    cores,
    followers,
    latency,
    machine,
    near,
    pauses,
    scores,
    script,
    states,
    streams,
)
from tests.bench.mutation import group as mutation
from tests.bench.report import BenchError, Row, as_json, as_table, rows
from tests.bench.rivals import group as rivals
from tests.bench.stage import Stage

GROUPS = {
    "board": board,
    "followers": followers,
    "streams": streams,
    "contenders": contenders,
    "states": states,
    "cores": cores,
    "script": script,
    "checks": checks,
    "rivals": rivals,
    "latency": latency,
    "pauses": pauses,
    "near": near,
    "scores": scores,
    "machine": machine,
    "mutation": mutation,
}
ROUNDS = 3


def run(names: Sequence[str], rounds: int) -> list[Row]:
    """The rows of the named groups, each on a stage of its own. A group that fails yields errors, the others go on."""
    found: list[Row] = []
    for name in names:
        group = GROUPS[name]
        try:
            with Stage(say) as stage:
                found += rows(group.SPECS, group.measure(stage, rounds), absent=stage.absent)
        except (BenchError, UploadGateError, OSError, subprocess.SubprocessError, ValueError) as error:
            say(f"{name} failed: {error}")
            found += rows(group.SPECS, {}, error=f"{type(error).__name__}: {error}")
    return found


def say(line: str) -> None:
    """One line of progress."""
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="a table or JSON")
    parser.add_argument(
        "--only", nargs="+", choices=tuple(GROUPS), metavar="NAME", help=f"only these groups: {', '.join(GROUPS)}"
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, metavar="N", help="runs of each contender, of which the median counts"
    )
    given = parser.parse_args(arguments)
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _interrupt)
    try:
        found = run(given.only or tuple(GROUPS), given.rounds)
    except KeyboardInterrupt:
        say("interrupted, all stopped")
        return 130
    print(as_json(found) if given.output == "json" else as_table(found), flush=True)
    return 1 if any(row.error is not None and not row.is_absent for row in found) else 0


def _interrupt(*_: object) -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: None)  # a group gets it twice; what runs is being stopped already
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
